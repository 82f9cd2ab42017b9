"""RTP packets back in order: parsing (RFC 3550 section 5.1) and a short reorder window."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

_HEADER = struct.Struct(">BBHII")
WINDOW_US = 270_000
"""how long a missing packet is waited for; the worker keeps what has come for up to 80 ms of it"""
_RESTART_DISTANCE = 3000
"""packets; RFC 3550 A.1 MAX_DROPOUT: a jump this far is a new beginning, not a loss"""


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One RTP packet, its header extensions and padding taken off."""

    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse(data: bytes) -> Packet:
    """Parse one RTP packet.

    Raises: ValueError when it is none.
    """
    if len(data) < _HEADER.size or data[0] >> 6 != 2:
        raise ValueError("not RTP version 2")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    start = _HEADER.size + 4 * (first & 0x0F)
    if first & 0x10:
        if len(data) < start + 4:
            raise ValueError("header extension is cut off")
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    end = len(data)
    if first & 0x20:
        end -= data[-1]
        if not data[-1]:
            raise ValueError("padding of no length")
    if start > end:
        raise ValueError("header is longer than the packet")
    return Packet(bool(second & 0x80), sequence, timestamp, ssrc, data[start:end])


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A packet in its turn; ``lost`` when packets are missing just before it."""

    packet: Packet
    at_us: int
    lost: bool


class Reorder:
    """Gives packets of one stream in order; waits ``window_us`` for a missing one, then goes on."""

    def __init__(self, window_us: int = WINDOW_US) -> None:
        self._window_us = window_us
        self._next: int | None = None
        self._held: dict[int, tuple[Packet, int]] = {}
        self._broken = False

    def push(self, packet: Packet, at_us: int) -> None:
        """Take a packet that arrived at ``at_us``; doubles and stragglers are dropped."""
        if self._next is None:
            self._next = packet.sequence
        distance = (packet.sequence - self._next + 0x8000 & 0xFFFF) - 0x8000
        if abs(distance) > _RESTART_DISTANCE:
            self._held.clear()
            self._next, distance, self._broken = packet.sequence, 0, True
        if distance >= 0:
            self._held.setdefault(packet.sequence, (packet, at_us))

    def take(self, now_us: int) -> Iterator[Arrival]:
        """Yield what is due: all in order, and past a gap once its window is over."""
        while self._held and self._next is not None:
            if self._next not in self._held:
                if now_us - min(at for _, at in self._held.values()) < self._window_us:
                    return
                origin = self._next
                self._next = min(self._held, key=lambda number: number - origin & 0xFFFF)
                self._broken = True
            packet, at_us = self._held.pop(self._next)
            self._next = self._next + 1 & 0xFFFF
            broken, self._broken = self._broken, False
            yield Arrival(packet, at_us, broken)
