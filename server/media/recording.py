"""What a recorder is told of one conference: its recording, what its tracks show, and packets.

The recorder is one more subscriber, on a local socket. Everything here can be said again at any
time; ``announce`` does so after either side's restart.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

import msgspec

from server.media import messages, rtp
from server.media.rewrite import Part
from server.media.switching import Switch
from server.media.track import Layer, Track

log = logging.getLogger(__name__)

RECORDED_CODECS = ("H264", "VP8")
LINGER_S = 1.0
"""so long the source that left the stage is still fed, to bridge to the next one's keyframe"""


def wall_us() -> int:
    """The server's wall clock in µs."""
    return time.time_ns() // 1000


class Tap(Switch):
    """Follows the largest layer of a track that flows, as one stream of plain RTP."""

    def __init__(self, track: Track, take: Callable[[Track, bytes], None]) -> None:
        super().__init__(track.clock_rate_hz, plain=True)
        self.track = track
        self._take = take
        # The recorder begins anew with a new SSRC: numbers that were rewritten never come twice.
        several = len(track.layers) > 1
        self._ssrc = random.randrange(1, 1 << 31) if several else None

    def follow(self, now_s: float) -> None:
        """Take the largest layer there is."""
        self.want(self.track.top(now_s), now_s)

    def deliver(
        self,
        part: Part[Layer],
        header: rtp.Header,
        packet: bytes,
        sequence: int,
        timestamp: int,
        now_s: float,
        *,
        newest: bool,
    ) -> None:
        """To the recorder."""
        head = rtp.head(
            padding=False,
            marker=header.marker,
            payload_type=header.payload_type,
            sequence=sequence,
            timestamp=timestamp,
            ssrc=self._ssrc or header.ssrc,
        )
        self._take(self.track, head + packet[header.payload_start : header.payload_end])


class Feed:
    """Feeds one recording. ``send`` takes messages for the recorder, and may drop media."""

    def __init__(
        self, recording: messages.Recording, send: Callable[[msgspec.Struct], None]
    ) -> None:
        self.recording = recording
        self._send = send
        self._shows: dict[str, messages.Show] = {}
        self._kinds: dict[Track, tuple[str, ...]] = {}
        self._lingering: dict[Track, tuple[float, tuple[str, ...]]] = {}
        self._taps: dict[Track, Tap] = {}
        self._refused: set[Track] = set()
        """what was last said not to be recorded"""
        send(messages.Record(recording))

    def announce(self) -> None:
        """Say everything again to a recorder that has just come, and let pictures begin."""
        self._send(messages.Record(self.recording))
        for show in self._shows.values():
            self._send(show)
        for track in self._kinds:
            track.want_keyframe()

    def show(self, name: str, source: str | None) -> None:
        """``stage`` or ``presentation`` shows ``source`` from now on."""
        present = self._shows.get(name)
        if present is None or present.source != source:
            show = messages.Show(self.recording.id, name, source, wall_us())
            self._shows[name] = show
            self._send(show)

    def take(
        self, stage: Track | None, presentation: Track | None, floor: list[Track], now_s: float
    ) -> None:
        """Feed these tracks from now on."""
        wanted: dict[Track, tuple[str, ...]] = {track: ("audio",) for track in floor}
        for track, kind in ((stage, "video"), (presentation, "screen")):
            if track is None:
                continue
            if track.codec not in RECORDED_CODECS:
                if track not in self._refused:
                    self._refused = {track}
                    log.warning(
                        "not recorded: source=%s is %s", track.publication.source, track.codec
                    )
                continue
            wanted[track] = wanted.get(track, ()) + (kind,)
        for track, kinds in self._kinds.items():
            if track not in wanted and "audio" not in kinds:
                self._lingering[track] = (now_s + LINGER_S, kinds)
        for track in wanted:
            self._lingering.pop(track, None)
            if track not in self._kinds and track in self._taps:
                track.want_keyframe()
        self._kinds = wanted
        self._tap(now_s)

    def tick(self, now_s: float) -> None:
        """End what has lingered."""
        if any(until_s <= now_s for until_s, _ in self._lingering.values()):
            self._tap(now_s)

    def follow(self, now_s: float) -> None:
        """Twice a second, and when layers begin: take the largest."""
        for tap in self._taps.values():
            tap.follow(now_s)

    def _tap(self, now_s: float) -> None:
        for track, (until_s, _) in list(self._lingering.items()):
            if until_s <= now_s:
                del self._lingering[track]
        taken = self._kinds.keys() | self._lingering.keys()
        for track in self._taps.keys() - taken:
            self._taps.pop(track).close()
        for track in taken - self._taps.keys():
            self._taps[track] = Tap(track, self._packet)
        self.follow(now_s)

    def _packet(self, track: Track, data: bytes) -> None:
        kinds = self._kinds.get(track) or self._lingering[track][1]
        at_us = wall_us()
        source = track.publication.source
        codec = "VP8" if track.codec == "VP8" else "H264"
        for kind in kinds:
            self._send(messages.Media(self.recording.id, source, kind, at_us, data, codec))

    def wants_keyframe(self, source: str) -> None:
        """The recorder has lost its way in ``source``."""
        for track in self._kinds:
            if track.kind == "video" and track.publication.source == source:
                track.want_keyframe()

    def finish(self) -> messages.Finish:
        """Stop feeding; the message that ends the recording."""
        self._kinds.clear()
        self._lingering.clear()
        self._tap(0.0)
        end_us = self.recording.end_us
        return messages.Finish(self.recording.id, wall_us() if end_us is None else end_us)
