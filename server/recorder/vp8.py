"""RTP to frames of VP8 (RFC 7741). After a loss everything up to the next keyframe is dropped."""

from __future__ import annotations

from collections.abc import Iterator

from server.recorder import rtp
from server.recorder.frames import MAX_FRAME_BYTES, Frame


def descriptor_length(payload: bytes) -> int:
    """Bytes of the payload descriptor (section 4.2). Raises: ValueError when it is cut off."""
    if not payload:
        raise ValueError("no payload descriptor")
    at = 1
    if payload[0] & 0x80:
        present = payload[1] if len(payload) > 1 else 0
        at = 2
        if present & 0x80:
            at += 2 if len(payload) > 2 and payload[2] & 0x80 else 1
        at += (present & 0x40 != 0) + (present & 0x30 != 0)
    if at >= len(payload):
        raise ValueError("payload descriptor is cut off")
    return at


class Assembler:
    """Makes frames of one source's packets, given in order."""

    def __init__(self) -> None:
        self.waiting = True
        """nothing can be decoded until the next keyframe"""
        self._timestamp: int | None = None
        self._time_us = 0
        self._parts: list[bytes] = []
        self._bytes = 0

    def feed(self, packet: rtp.Packet, time_us: int, lost: bool) -> Iterator[Frame]:
        """Take the next packet; yield the frames that it completes."""
        if lost:
            self._break()
        if not packet.payload:
            return  # padding, as bandwidth probes send
        if packet.timestamp != self._timestamp:
            yield from self._finish()
            self._timestamp, self._time_us = packet.timestamp, time_us
        if not self._append(packet.payload):
            self._break()
        elif packet.marker:
            yield from self._finish()

    def _append(self, payload: bytes) -> bool:
        """False if it is not as RFC 7741 says, or its frame's beginning is missing."""
        try:
            start = descriptor_length(payload)
        except ValueError:
            return False
        begins = payload[0] & 0x17 == 0x10  # S, and partition 0
        if begins == bool(self._parts):
            return False
        self._parts.append(payload[start:])
        self._bytes += len(payload) - start
        return self._bytes <= MAX_FRAME_BYTES

    def _break(self) -> None:
        self.waiting = True
        self._parts, self._bytes = [], 0

    def _finish(self) -> Iterator[Frame]:
        data = b"".join(self._parts)
        self._parts, self._bytes = [], 0
        if not data:
            return
        key = not data[0] & 1  # section 4.3
        self.waiting = self.waiting and not key
        if not self.waiting:
            yield Frame(self._time_us, data, key)
