"""One recording: packets and cuts in, files on disk out. No sockets, and time is passed in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from server.media import messages
from server.recorder import fmp4, playlist, rtp
from server.recorder.card import Card
from server.recorder.composer import Composer, Patience
from server.recorder.frames import VideoSource
from server.recorder.mixer import ASC, Mixer
from server.recorder.presentation import Presentation
from server.recorder.segments import Pace, Segments
from server.recorder.timeline import Timeline
from server.recorder.transcoding import TranscodedSource

SOUND_LAG_US = 250_000
LAG_US = 320_000
"""how far the picture is composed behind what has come; packets may be late by the reorder window, and
the sound must be encoded first"""
KEYFRAME_INTERVAL_US = 500_000
STEP_US = 1_000_000
MAX_SOURCES = 200
REST_US = 2_000_000
"""so long after the last packet of sound, while the card stands, a crash would leave out nothing else"""
_SCREEN = Patience(keyframe_us=8_000_000, silence_us=2_000_000)


class _Stage:
    """The composer's stage, written as segments and noted in the time line."""

    def __init__(self, segments: Segments, timeline: Timeline) -> None:
        self._segments, self._timeline = segments, timeline

    def cut(self, at_us: int, source: str | None) -> None:
        self._timeline.cut((at_us - self._timeline.zero_us) // 1000, source)
        self._timeline.publish()

    def frame(self, at_us: int, data: bytes, key: bool) -> None:
        self._segments.frame((at_us - self._timeline.zero_us) * 9 // 100, data, key)


class Recording:
    """Begins, or goes on with, the recording that ``wanted`` describes.

    Raises: OSError when the disk refuses.
    """

    def __init__(self, wanted: messages.Recording, font_path: Path | None = None) -> None:
        self.id = wanted.id
        folder = Path(wanted.folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._timeline = Timeline.load(folder / "timeline.json", wanted.zero_us)
        self._sources: dict[str, VideoSource] = {}
        zero_us = self._zero_us = self._timeline.zero_us
        if self._timeline.ended:
            return
        card = Card(wanted.title, font_path)
        parameters = fmp4.leading_parameters(card.frames[0])
        self._segments = Segments(folder, "stage", parameters, ASC, Pace())
        self._mixer = Mixer(zero_us, self._segments.audio_frames)
        self._timeline.close(self._segments.end // 90)
        self._presentation = Presentation(folder, self._timeline)
        playlist.publish(folder / "master.m3u8", playlist.master("stage.m3u8"))
        position_us = zero_us - (-self._segments.end * 100 // 9)
        stage = _Stage(self._segments, self._timeline)
        sources = self._sources
        self._composers = {
            "stage": Composer("stage", stage, sources, card, Patience(), position_us),
            "presentation": Composer(
                "presentation", self._presentation, sources, None, _SCREEN, position_us
            ),
        }
        self._horizon_us = position_us
        self._finish_us: int | None = None
        self._asked: dict[str, int] = {}

    @property
    def ended(self) -> bool:
        """Is it finished, with its playlists ended?"""
        return self._timeline.ended

    @property
    def duration_ms(self) -> int:
        """What is on disk, from time zero."""
        return self._timeline.duration_ms if self.ended else self._segments.end // 90

    def rests(self, now_us: int) -> bool:
        """Is there neither a picture nor sound, but the card?"""
        shows = any(composer.showing is not None for composer in self._composers.values())
        return not shows and now_us - self._mixer.heard_us > REST_US

    def show(self, message: messages.Show) -> None:
        """A cut; an unknown track is ignored."""
        if not self.ended and message.track in self._composers:
            self._composers[message.track].show(message.at_us, message.source)

    def media(self, media: messages.Media) -> None:
        """RTP packets; what is none is ignored."""
        if self.ended:
            return
        source = None if media.codec == "opus" else self._source(media.source, media.codec)
        numbers = media.sequence_shift, media.timestamp_shift, media.ssrc
        for data in media.packets:
            try:
                packet = rtp.parse(data, *numbers)
            except ValueError:
                continue
            if source is not None:
                source.push(packet, media.at_us)
            elif media.codec == "opus":
                self._mixer.push(media.source, packet, media.at_us)

    def _source(self, name: str, codec: str) -> VideoSource | None:
        """The one of this name, made where there is room for it."""
        kind = TranscodedSource if codec == "VP8" else VideoSource
        source = self._sources.get(name)
        if type(source) is not kind:  # a new one, or another browser in the same room
            if source is None and len(self._sources) >= MAX_SOURCES:
                return None
            if source is not None:
                source.close()
            source = self._sources[name] = kind(self._composers)
        return source

    def finish(self, at_us: int) -> None:
        """End it at ``at_us``, which ``advance`` does when that time has come."""
        if not self.ended:
            self._finish_us = at_us

    def advance(self, now_us: int) -> None:
        """Write what is due when all is told that came until ``now_us``."""
        if self.ended:
            return
        if self._finish_us is not None and self._finish_us <= now_us:
            self._end(max(self._finish_us, self._horizon_us))
            return
        for source in self._sources.values():
            source.take(now_us)
        while self._horizon_us < now_us - LAG_US:
            self._horizon_us = min(self._horizon_us + STEP_US, now_us - LAG_US)
            self._compose(self._horizon_us, self._horizon_us + LAG_US - SOUND_LAG_US, now_us)
        self._prune()

    def _compose(self, horizon_us: int, sound_us: int, now_us: int) -> None:
        for frame in self._mixer.advance(sound_us, now_us):
            self._segments.sound(frame)
        for composer in self._composers.values():
            composer.advance(horizon_us)
        self._segments.keep((horizon_us - self._zero_us) * 9 // 100, calm=self.rests(now_us))
        self._presentation.keep(horizon_us)

    def _prune(self) -> None:
        """Frames of sources that nobody shows are kept only until no cut can reach them."""
        for name, source in self._sources.items():
            for track, frames in source.frames.items():
                if not self._composers[track].uses(name):
                    while frames and frames[0].time_us < self._horizon_us - STEP_US:
                        frames.popleft()

    def _end(self, at_us: int) -> None:
        whole_us = 1 << 62  # wait for no packet any more
        for source in self._sources.values():
            source.take(whole_us)
        while self._horizon_us < at_us:
            self._horizon_us = min(self._horizon_us + STEP_US, at_us)
            self._compose(self._horizon_us, self._horizon_us + LAG_US - SOUND_LAG_US, whole_us)
        self._segments.finish((at_us - self._zero_us) * 9 // 100)
        self._presentation.finish(at_us)
        self._timeline.duration_ms = self._segments.end // 90
        self._timeline.close(self._timeline.duration_ms)
        self._timeline.ended = True
        self._timeline.publish()

    def save(self) -> None:
        """Write the time line as it stands, now and then."""
        if not self.ended:
            self._timeline.duration_ms = self.duration_ms
            self._presentation.save()
            self._timeline.close(max(self.duration_ms, self._timeline.stage[-1]["start_ms"]))
            self._timeline.publish()

    def stop(self) -> None:
        """Leave it so that it can be taken up again."""
        if not self.ended:
            self._segments.stop((self._horizon_us - self._zero_us) * 9 // 100)
            self._presentation.stop(self._horizon_us)
            self.save()

    def close(self) -> None:
        """End what runs for it."""
        for source in self._sources.values():
            source.close()

    def keyframes(self, now_us: int) -> Iterator[str]:
        """Sources to ask for a keyframe now, each at most twice a second."""
        if self.ended:
            return
        for composer in self._composers.values():
            for source in composer.wanted_keyframes(now_us):
                if now_us - self._asked.get(source, 0) >= KEYFRAME_INTERVAL_US:
                    self._asked[source] = now_us
                    yield source
