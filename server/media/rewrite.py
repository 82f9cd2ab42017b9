"""One outgoing stream made of parts of several incoming ones, without a seam.

Sequence numbers go on by one over a switch, time stamps by the server's elapsed time (audio needs
it; a jump in video freezes the picture). Pure: numbers in, numbers out. Because each part only
shifts numbers, an outgoing number leads back to its packet (``origin``) and no outgoing packet
needs to be kept for NACK.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from server.media.sequence import extend
from server.media.vp8 import Shift

MAX_PARTS = 8
"""older ones are forgotten: nobody asks for packets of eight switches ago"""
SQUEEZED_S = 0.001
"""between pictures of the past that are sent at once"""

MISALIGNED_S = 1.0
"""a publisher's reports that are further off than this are not believed"""

Origin = TypeVar("Origin")


@dataclass(slots=True)
class Part(Generic[Origin]):
    """A run of packets of one incoming stream."""

    origin: Origin
    first_in: int
    """unwrapped number of its first packet; earlier ones belong to no part"""
    shift: int
    """outgoing minus incoming unwrapped number"""
    timestamp_shift: int
    aligned_shift: int
    """what ``timestamp_shift`` would be if no two pictures had ever met: layers are aligned to it"""
    counters: Shift | None = None
    """of VP8's payload descriptors"""
    squeezed: dict[int, int] = field(default_factory=dict)
    """outgoing time stamps of the pictures of the past that this part began with"""
    even_from: int = 0
    """unwrapped number from which on packets come by themselves, and are only shifted: those before it
    were sent with the past, and never go twice under one SRTP index (RFC 7714, 8.1)"""

    def __post_init__(self) -> None:
        self.even_from = self.even_from or self.first_in

    def timestamp(self, timestamp: int) -> int:
        """The outgoing time stamp of an incoming one."""
        if self.squeezed and timestamp in self.squeezed:
            return self.squeezed[timestamp]
        return (timestamp + self.timestamp_shift) & 0xFFFFFFFF


def _signed(distance: int) -> int:
    return ((distance + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class Rewriter(Generic[Origin]):
    """Numbers one outgoing stream."""

    def __init__(self, clock_rate_hz: int, *, plain: bool = False) -> None:
        """``plain``: the first part keeps the numbers that it came with."""
        self._clock_rate_hz = clock_rate_hz
        self._plain = plain
        self._parts: list[Part[Origin]] = []
        self.part: Part[Origin] | None = None
        """the present part, None before the first packet"""
        # A random start (RFC 3550, 5.1), low enough not to wrap in the first packets: SRTP
        # receivers guess the roll-over counter as zero (RFC 3711, 3.3.1).
        self._highest = 65536 + random.randrange(1, 0x7FFF)
        self._timestamp = random.getrandbits(32)
        self._sent_at_s: float | None = None

    @property
    def highest(self) -> int:
        """The highest unwrapped outgoing number so far."""
        return self._highest

    @property
    def timestamp(self) -> int:
        """Of the packet with the highest number."""
        return self._timestamp

    def switch(
        self,
        origin: Origin,
        number: int,
        timestamp: int,
        now_s: float,
        past: Sequence[int] = (),
        aligned: int | None = None,
    ) -> Part[Origin]:
        """From incoming packet ``number`` (unwrapped) on, forward ``origin``.

        ``timestamp`` is the present one. ``past`` are the time stamps, in order, of pictures
        before it that will be sent first, all at once: they get places of their own between
        what was sent and the present, a millisecond each. ``aligned`` is the shift of time stamps
        that makes a layer go on where another layer of the same picture stood.
        """
        if self._plain and not self._parts:
            self._highest, self._timestamp = number - 1, timestamp
        least_s = max(0.01, (len(past) + 1) * SQUEEZED_S)  # no two pictures share a time stamp
        elapsed = 0
        if self._sent_at_s is not None:
            elapsed = round(max(now_s - self._sent_at_s, least_s) * self._clock_rate_hz)
        present = (self._timestamp + elapsed) & 0xFFFFFFFF
        step = round(SQUEEZED_S * self._clock_rate_hz)
        shift = ideal = (present - timestamp) & 0xFFFFFFFF
        if aligned is not None and not past:
            # The old layer may have shown this very moment already.
            forth = _signed(timestamp + aligned - self._timestamp)
            if abs(forth - elapsed) < MISALIGNED_S * self._clock_rate_hz:
                ideal = aligned & 0xFFFFFFFF
                shift = (self._timestamp + max(forth, step) - timestamp) & 0xFFFFFFFF
                present = (timestamp + shift) & 0xFFFFFFFF
        squeezed = {
            before: (present - (len(past) - i) * step) & 0xFFFFFFFF for i, before in enumerate(past)
        }
        part = Part(origin, number, self._highest + 1 - number, shift, ideal, squeezed=squeezed)
        self._parts.append(part)
        self.part = part
        del self._parts[:-MAX_PARTS]
        return part

    def leave_out(self, number: int) -> Part[Origin]:
        """Packets of the present part before incoming ``number``, as far as they were not forwarded, are
        no longer awaited, and leave no gap; time stamps go on as they were. Raises: IndexError where
        there is no part.
        """
        before = self._parts[-1]
        shift = self._highest + 1 - number
        times = before.timestamp_shift, before.aligned_shift
        self.part = Part(before.origin, number, shift, *times, before.counters)
        self._parts.append(self.part)
        del self._parts[:-MAX_PARTS]
        return self.part

    def forward(self, number: int, timestamp: int, now_s: float) -> tuple[int, int] | None:
        """(16-bit sequence number, time stamp) of a packet of the present part; None before it."""
        part = self._parts[-1]
        if number < part.even_from:
            return None
        out = number + part.shift
        out_timestamp = part.timestamp(timestamp)
        if out > self._highest:
            self._highest = out
            self._timestamp = out_timestamp
            self._sent_at_s = now_s
        return out & 0xFFFF, out_timestamp

    def advance(self, part: Part[Origin], number: int, timestamp: int, now_s: float) -> None:
        """Packets of the present part up to this one (the highest) were forwarded by its shifts."""
        out = number + part.shift
        if out > self._highest:
            self._highest = out
            self._timestamp = (timestamp + part.timestamp_shift) & 0xFFFFFFFF
            self._sent_at_s = now_s

    def origin(self, sequence: int) -> tuple[Part[Origin], int] | None:
        """The part and the unwrapped incoming number behind an outgoing 16-bit number."""
        out = extend(sequence, self._highest)
        if out > self._highest:
            return None
        for part in reversed(self._parts):
            if out - part.shift >= part.first_in:
                return part, out - part.shift
        return None
