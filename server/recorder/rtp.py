"""RTP packets back in order: parsing (RFC 3550 section 5.1) and a short reorder window."""

from __future__ import annotations

import struct

import msgspec

_HEADER = struct.Struct(">BBHII")
WINDOW_US = 190_000
"""how long a missing packet is waited for: by what had come until then, however late that is told"""
_RESTART_DISTANCE = 3000
"""packets; RFC 3550 A.1 MAX_DROPOUT: a jump this far is a new beginning, not a loss"""


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One RTP packet, its header extensions and padding taken off."""

    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse(
    data: bytes, sequence_shift: int = 0, timestamp_shift: int = 0, ssrc_instead: int = 0
) -> Packet:
    """Parse one RTP packet, and number it anew (see ``messages.Media``).

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
    return Packet(
        second >= 0x80,
        sequence + sequence_shift & 0xFFFF,
        timestamp + timestamp_shift & 0xFFFFFFFF,
        ssrc_instead or ssrc,
        data[start:end],
    )


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
        self._ready: list[Arrival] = []
        self._held: dict[int, tuple[Packet, int]] = {}
        """by number: those after a missing one"""
        self._broken = False

    def push(self, packet: Packet, at_us: int) -> None:
        """Take a packet that arrived at ``at_us``; doubles and stragglers are dropped."""
        if packet.sequence == self._next and not self._held:  # the rule
            self._give(packet, at_us)
            return
        if self._next is None:
            self._next = packet.sequence
        distance = (packet.sequence - self._next + 0x8000 & 0xFFFF) - 0x8000
        if abs(distance) > _RESTART_DISTANCE:
            self._held.clear()
            self._next, distance, self._broken = packet.sequence, 0, True
        if distance >= 0:
            self._held.setdefault(packet.sequence, (packet, at_us))

    def take(self, now_us: int) -> list[Arrival]:
        """What is due: all in order, and past a gap once its window is over."""
        while self._held and self._next is not None:
            if self._next not in self._held:
                if now_us - min(at for _, at in self._held.values()) < self._window_us:
                    break
                origin = self._next
                self._next = min(self._held, key=lambda number: number - origin & 0xFFFF)
                self._broken = True
            self._give(*self._held.pop(self._next))
        ready, self._ready = self._ready, []
        return ready

    def _give(self, packet: Packet, at_us: int) -> None:
        self._ready.append(Arrival(packet, at_us, self._broken))
        self._next, self._broken = packet.sequence + 1 & 0xFFFF, False
