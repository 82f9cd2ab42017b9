"""RTP to access units: depacketizes H.264 (RFC 6184: single NAL unit, STAP-A, FU-A).

After a loss everything up to the next IDR is dropped, for it could not be decoded. Parameter sets are
remembered and put before every IDR; access unit delimiters and SEI are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from server.recorder import h264, rtp
from server.recorder.clock import Clock

MAX_FRAME_BYTES = 4 << 20
MAX_FRAMES = 900
"""queued frames of one source; more means that nobody takes them, and the oldest go"""


@dataclass(frozen=True, slots=True)
class Frame:
    """One access unit as an MP4 sample (length-prefixed NAL units)."""

    time_us: int
    """on the server's clock"""
    data: bytes
    key: bool
    """an IDR with its parameter sets before it"""


class Depacketizer(Protocol):
    """Makes frames of one source's packets, given in order."""

    waiting: bool
    """nothing can be decoded until the next keyframe"""

    def feed(self, packet: rtp.Packet, time_us: int, lost: bool) -> Iterable[Frame]:
        """Take the next packet; the frames that it completes."""


class Assembler:
    """Makes access units of one source's packets, given in order."""

    def __init__(self) -> None:
        self.waiting = True
        """nothing can be decoded until the next IDR"""
        self._timestamp: int | None = None
        self._time_us = 0
        self._damaged = False
        """part of the access unit at hand is missing: the rest of it is of no use"""
        self._nals: list[bytes] = []
        self._bytes = 0
        self._fragments: list[bytes] | None = None
        self._sps: dict[int, bytes] = {}
        self._pps: dict[int, bytes] = {}

    def feed(self, packet: rtp.Packet, time_us: int, lost: bool) -> Iterable[Frame]:
        """Take the next packet; the frames that it completes."""
        before = None
        if lost:
            self._break()
        if packet.timestamp != self._timestamp:
            before = self._finish()
            self._timestamp, self._time_us = packet.timestamp, time_us
            self._damaged = False
        elif lost:
            self._damaged = True
        if not self._damaged and not self._unpack(packet.payload):
            self._break()
            self._damaged = True
        after = self._finish() if packet.marker else None
        if before is None and after is None:
            return ()
        return [frame for frame in (before, after) if frame is not None]

    def _unpack(self, payload: bytes) -> bool:
        """Append the NAL units of a payload; False if it is not as RFC 6184 says."""
        if not payload:
            return True  # padding, as bandwidth probes send
        kind = payload[0] & 0x1F
        if kind == h264.FU_A:
            return len(payload) > 2 and self._unpack_fragment(payload)
        if self._fragments is not None:
            return False
        if 1 <= kind <= 23:
            return self._append(payload)
        return kind == h264.STAP_A and self._unpack_aggregate(payload)

    def _unpack_aggregate(self, payload: bytes) -> bool:
        at = 1
        while at + 2 < len(payload):
            size = int.from_bytes(payload[at : at + 2], "big")
            nal = payload[at + 2 : at + 2 + size]
            if not size or len(nal) < size or not self._append(nal):
                return False
            at += 2 + size
        return at == len(payload)

    def _unpack_fragment(self, payload: bytes) -> bool:
        header = payload[1]
        if header & 0x80:
            if self._fragments is not None:
                return False
            self._fragments = [bytes([payload[0] & 0xE0 | header & 0x1F])]
        if self._fragments is None:
            return False
        self._fragments.append(payload[2:])
        self._bytes += len(payload)
        if header & 0x40:
            nal, self._fragments = b"".join(self._fragments), None
            return self._append(nal)
        return self._bytes <= MAX_FRAME_BYTES

    def _append(self, nal: bytes) -> bool:
        self._nals.append(nal)
        self._bytes += len(nal)
        return self._bytes <= 2 * MAX_FRAME_BYTES

    def _break(self) -> None:
        self.waiting = True
        self._clear()

    def _clear(self) -> None:
        self._nals, self._fragments, self._bytes = [], None, 0

    def _finish(self) -> Frame | None:
        if self._fragments is not None:
            self._break()
            return None
        nals = self._nals
        if not nals:
            return None
        self._clear()
        for nal in nals:
            self._remember(nal)
        slices = [nal for nal in nals if h264.nal_type(nal) in (h264.SLICE, h264.IDR)]
        if not slices:
            return None
        if len(slices[0]) < 2 or not slices[0][1] & 0x80:
            self.waiting = True  # first_mb_in_slice is not 0: the beginning was lost
            return None
        key = any(h264.nal_type(nal) == h264.IDR for nal in slices)
        if key and self._sps and self._pps:
            self.waiting = False
            slices = [*self._sps.values(), *self._pps.values(), *slices]
        return None if self.waiting else Frame(self._time_us, h264.sample(slices), key)

    def _remember(self, nal: bytes) -> None:
        kind = h264.nal_type(nal)
        try:
            if kind == h264.SPS:
                self._sps[h264.parse_sps(nal).id] = nal
            elif kind == h264.PPS:
                self._pps[h264.pps_id(nal)] = nal
        except ValueError:
            self.waiting = True


class VideoSource:
    """One source's video: packets in, frames on the server's time line out, a queue for each track."""

    def __init__(self, tracks: Iterable[str] = ("stage",)) -> None:
        self.frames: dict[str, deque[Frame]] = {track: deque() for track in tracks}
        self.last_us = 0
        """time of the newest frame"""
        self.last_key_us = 0
        self.interval_us = 33_000
        """between frames, smoothed"""
        self._begin(None)

    def _begin(self, ssrc: int | None) -> None:
        self._ssrc = ssrc
        self._reorder = rtp.Reorder()
        self._assembler = self.make_assembler()
        self._clock = Clock(90_000)
        self._timestamp: int | None = None
        self._time_us = 0

    def make_assembler(self) -> Depacketizer:
        """What makes frames of its packets."""
        return Assembler()

    @property
    def waiting(self) -> bool:
        """It lost something and cannot go on without a keyframe."""
        return self._assembler.waiting

    def push(self, packet: rtp.Packet, at_us: int) -> None:
        """Take one packet; a new SSRC is a new beginning."""
        if packet.ssrc != self._ssrc:
            self._begin(packet.ssrc)
        self._reorder.push(packet, at_us)

    def take(self, now_us: int) -> None:
        """Move what is in order into ``frames``."""
        for frame in self.ready(now_us):
            self.queue(frame)

    def ready(self, now_us: int) -> Iterator[Frame]:
        """Frames as they were sent, in order."""
        for arrival in self._reorder.take(now_us):
            packet = arrival.packet
            if packet.timestamp != self._timestamp:  # the first of a frame came soonest
                self._timestamp = packet.timestamp
                self._time_us = self._clock.time_us(packet.timestamp, arrival.at_us)
            yield from self._assembler.feed(packet, self._time_us, arrival.lost)

    def close(self) -> None:
        """It is not needed any more."""

    def queue(self, frame: Frame) -> None:
        """A frame of H.264, for every track."""
        gap_us = frame.time_us - self.last_us
        if 0 < gap_us < 5_000_000:
            self.interval_us += (gap_us - self.interval_us) // 8
        self.last_us = max(self.last_us, frame.time_us)
        if frame.key:
            self.last_key_us = self.last_us
        for frames in self.frames.values():
            if len(frames) >= MAX_FRAMES:
                frames.popleft()
            frames.append(frame)
