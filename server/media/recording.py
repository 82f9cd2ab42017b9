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
from server.media.bursts import Burst
from server.media.layer import Layer
from server.media.rewrite import Part
from server.media.switching import Switch
from server.media.track import Track

log = logging.getLogger(__name__)

RECORDED_CODECS = ("H264", "VP8")
LINGER_S = 1.0
"""so long the source that left the stage is still fed, to bridge to the next one's keyframe"""


def wall_us() -> int:
    """The server's wall clock in µs."""
    return time.time_ns() // 1000


class Tap(Switch):
    """Follows the largest layer of a track that flows, as one stream of plain RTP."""

    patient = True

    def __init__(self, track: Track, take: Callable[[messages.Media], None]) -> None:
        super().__init__(track.clock_rate_hz, plain=True)
        self._source = track.publication.source
        self._codec = track.codec if track.kind == "video" else "opus"
        self._track, self._take = track, take
        # The recorder begins anew with a new SSRC: numbers that were rewritten never come twice.
        several = len(track.layers) > 1
        self._ssrc = random.randrange(1, 1 << 31) if several else 0

    def follow(self, now_s: float) -> None:
        """Take the largest layer there is."""
        self.want(self._track.top(now_s), now_s)

    def forward(self, burst: Burst, now_s: float) -> None:
        """To the recorder, all at once where they are only shifted."""
        part = self.rewriter.part
        if part is None or burst.lowest < part.even_from:
            super().forward(burst, now_s)
            return
        self.rewriter.advance(part, burst.highest_number, burst.highest_timestamp, now_s)
        packets = tuple([packet.data for packet in burst.packets])
        self._tell(packets, part.shift, part.timestamp_shift, now_s)

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
        shifts = sequence - header.sequence, timestamp - header.timestamp
        self._tell((packet,), *shifts, now_s)

    def _tell(
        self, packets: tuple[bytes, ...], sequence_shift: int, timestamp_shift: int, now_s: float
    ) -> None:
        sequence_shift, timestamp_shift = sequence_shift & 0xFFFF, timestamp_shift & 0xFFFFFFFF
        numbers = sequence_shift, timestamp_shift, self._ssrc
        at_us = wall_us() - max(0, round((time.monotonic() - now_s) * 1e6))
        self._take(messages.Media(self._source, self._codec, at_us, packets, *numbers))


class Feed:
    """Feeds one recording. ``send`` takes messages for the recorder, and may drop media."""

    def __init__(
        self, recording: messages.Recording, send: Callable[[msgspec.Struct], None]
    ) -> None:
        self.recording = recording
        self._send = send
        self._shows: dict[str, messages.Show] = {}
        self._wanted: set[Track] = set()
        self._lingering: dict[Track, float] = {}
        """until when"""
        self._taps: dict[Track, Tap] = {}
        self._refused: set[Track] = set()
        """what was last said not to be recorded"""
        send(messages.Record(recording))

    def announce(self) -> None:
        """Say everything again to a recorder that has just come, and let pictures begin."""
        self._send(messages.Record(self.recording))
        for show in self._shows.values():
            self._send(show)
        for track in self._wanted:
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
        wanted = set(floor)
        for track in (stage, presentation):
            if track is None:
                continue
            if track.codec in RECORDED_CODECS:
                wanted.add(track)
            elif track not in self._refused:
                self._refused = {track}
                source = track.publication.source
                log.warning("not recorded: source=%s is %s", source, track.codec)
        for track in self._wanted - wanted:
            if track.kind == "video":
                self._lingering[track] = now_s + LINGER_S
        for track in wanted:
            self._lingering.pop(track, None)
            if track not in self._wanted and track in self._taps:
                track.want_keyframe()
        self._wanted = wanted
        self._tap(now_s)

    def tick(self, now_s: float) -> None:
        """End what has lingered."""
        if any(until_s <= now_s for until_s in self._lingering.values()):
            self._tap(now_s)

    def follow(self, now_s: float) -> None:
        """Twice a second, and when layers begin: take the largest."""
        for tap in self._taps.values():
            tap.follow(now_s)

    def _tap(self, now_s: float) -> None:
        for track, until_s in list(self._lingering.items()):
            if until_s <= now_s:
                del self._lingering[track]
        taken = self._wanted | self._lingering.keys()
        for track in self._taps.keys() - taken:
            self._taps.pop(track).close()
        for track in taken - self._taps.keys():
            self._taps[track] = Tap(track, self._media)
        self.follow(now_s)

    def _media(self, media: messages.Media) -> None:
        self._send(messages.Packets(self.recording.id, media.at_us, (media,)))

    def wants_keyframe(self, source: str) -> None:
        """The recorder has lost its way in ``source``."""
        for track in self._wanted:
            if track.kind == "video" and track.publication.source == source:
                track.want_keyframe()

    def finish(self) -> messages.Finish:
        """Stop feeding; the message that ends the recording."""
        self._wanted.clear()
        self._lingering.clear()
        self._tap(0.0)
        end_us = self.recording.end_us
        return messages.Finish(self.recording.id, wall_us() if end_us is None else end_us)
