"""Transport-wide congestion feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01).

``Feedback`` makes it for uplinks: without it Chromium never starts the top layer. ``read`` takes
that of our receivers apart, for ``bandwidth``. Pure: numbers, times and bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from server.media import rtcp
from server.media.sequence import extend

INTERVAL_S = 0.1
DELTA_S = 250e-6
REFERENCE_S = 0.064
FEW, WAITS = 4, 2
"""packets, below which they wait for the next report, so many times: it is as large as they are, and what is
told of so few changes no estimate sooner"""
MAX_STATUSES = 2000
"""a wider range than this is cut: the sender has begun anew"""
STATUSES_A_PACKET = 450
"""up to 2.3 bytes each"""
MAX_READ = 4096
"""more statuses than a receiver can have to tell at once: not read"""

_LOST, _SMALL, _LARGE = 0, 1, 2


class Feedback:
    """Collects arrivals of one transport and reports each packet once."""

    def __init__(self) -> None:
        self._arrivals: dict[int, float] = {}
        self._highest = 65536
        self._next: int | None = None
        """first number of the next report"""
        self._count = 0
        self._waited = 0

    def due(self) -> bool:
        """Has enough come to be told, or waited?"""
        waits = self._waited < WAITS and 0 < self._news() < FEW
        self._waited = self._waited + 1 if waits else 0
        return not waits

    def _news(self) -> int:
        """Of how many packets there is something to tell, lost ones included."""
        if self._next is None or not self._arrivals:
            return 0
        return max(len(self._arrivals), self._highest + 1 - self._next)

    def receive(self, sequence: int, now_s: float) -> int:
        """The packet with transport-wide number ``sequence`` has come: how many just before it have not?"""
        if self._next is None:
            self._highest = 65536 + sequence
            self._next = self._highest
        number = extend(sequence, self._highest)
        missing = max(0, number - self._highest - 1)
        self._highest = max(self._highest, number)
        self._arrivals.setdefault(number, now_s)
        return missing

    def receive_all(self, arrived: Iterable[tuple[float, int]]) -> None:
        """The same of each (time, number) in turn, where it is known that none before them is missing."""
        for at_s, sequence in arrived:
            if self._next is None:
                self.receive(sequence, at_s)
                continue
            number = extend(sequence, self._highest)
            if number > self._highest:
                self._highest = number
            if number not in self._arrivals:
                self._arrivals[number] = at_s

    def report(self, sender: int, ssrc: int) -> list[bytes]:
        """Feedback packets on what has come since the last one, each for a datagram of its own; none
        without news.
        """
        if self._next is None or not self._arrivals:
            return []
        first = min(min(self._arrivals), self._next)
        last = max(self._arrivals)
        if last - first >= MAX_STATUSES:
            first = last - MAX_STATUSES + 1
        arrivals = {n: t for n, t in self._arrivals.items() if n >= first}
        self._arrivals.clear()
        self._next = last + 1
        packets = []
        at_s = arrivals[min(arrivals)]
        for begin in range(first, last + 1, STATUSES_A_PACKET):
            end = min(begin + STATUSES_A_PACKET, last + 1)
            at_s = next((arrivals[n] for n in range(begin, end) if n in arrivals), at_s)
            body = _encode(begin, end - 1, arrivals, self._count, at_s)
            self._count = (self._count + 1) & 0xFF
            body += bytes(-len(body) % 4)
            body = struct.pack("!II", sender, ssrc) + body
            packets.append(rtcp.packet(rtcp.TRANSPORT_WIDE, rtcp.TRANSPORT_FEEDBACK, body))
        return packets


def _encode(first: int, last: int, arrivals: dict[int, float], count: int, near_s: float) -> bytes:
    """The FCI: base, number of statuses, reference time, chunks, deltas (section 3.1); ``near_s``: when
    the first of them came, or any time near where none has.
    """
    reference = int(near_s / REFERENCE_S)
    clock = reference * round(REFERENCE_S / DELTA_S)
    statuses: list[int] = []
    deltas = bytearray()
    for number in range(first, last + 1):
        at_s = arrivals.get(number)
        if at_s is None:
            statuses.append(_LOST)
            continue
        delta = round(at_s / DELTA_S) - clock
        if not -0x8000 <= delta <= 0x7FFF:
            statuses.append(_LOST)
            continue
        clock += delta
        if 0 <= delta <= 0xFF:
            statuses.append(_SMALL)
            deltas.append(delta)
        else:
            statuses.append(_LARGE)
            deltas += struct.pack("!h", delta)
    header = struct.pack("!HHI", first & 0xFFFF, len(statuses), (reference & 0xFFFFFF) << 8 | count)
    return header + _chunks(statuses) + bytes(deltas)


def _chunks(statuses: list[int]) -> bytes:
    """Run-length chunks for runs of more than seven, else vectors of seven (3.1.3, 3.1.4)."""
    out = bytearray()
    position = 0
    while position < len(statuses):
        symbol = statuses[position]
        run = 1
        while (
            position + run < len(statuses) and statuses[position + run] == symbol and run < 0x1FFF
        ):
            run += 1
        if run > 7:
            out += struct.pack("!H", symbol << 13 | run)
            position += run
            continue
        vector = 0b11 << 14
        for i, status in enumerate(statuses[position : position + 7]):
            vector |= status << (12 - 2 * i)
        out += struct.pack("!H", vector)
        position += 7
    return bytes(out)


@dataclass(frozen=True, slots=True)
class Report:
    """What a receiver says of packets ``first``, ``first + 1``, … (modulo 65536)."""

    first: int
    arrived_s: tuple[float | None, ...]
    """by its own clock, which wraps after ``CLOCK_S``; None where a packet has not come"""


CLOCK_S = REFERENCE_S * (1 << 24)
"""the receiver's clock starts again after so long"""


def read(fci: bytes) -> Report | None:
    """The report in this FCI; None where it is malformed."""
    if len(fci) < 8:
        return None
    first, count, reference = struct.unpack_from("!HHI", fci)
    if count > MAX_READ:
        return None
    statuses, position = _statuses(fci, count)
    if len(statuses) < count:
        return None
    clock_s = (reference >> 8) * REFERENCE_S
    arrived: list[float | None] = []
    for status in statuses[:count]:
        if status == _SMALL and position < len(fci):
            clock_s += fci[position] * DELTA_S
            position += 1
        elif status == _LARGE and position + 2 <= len(fci):
            clock_s += struct.unpack_from("!h", fci, position)[0] * DELTA_S
            position += 2
        elif status != _LOST:
            return None
        arrived.append(clock_s if status != _LOST else None)
    return Report(first, tuple(arrived))


def _statuses(fci: bytes, count: int) -> tuple[list[int], int]:
    """Status symbols of the chunks (3.1.3, 3.1.4), and where the deltas begin."""
    statuses: list[int] = []
    position = 8
    while len(statuses) < count and position + 2 <= len(fci):
        chunk = fci[position] << 8 | fci[position + 1]
        position += 2
        if not chunk >> 15:
            statuses += [chunk >> 13 & 3] * min(chunk & 0x1FFF, count - len(statuses))
        elif chunk >> 14 & 1:
            statuses += [chunk >> shift & 3 for shift in range(12, -1, -2)]
        else:
            statuses += [chunk >> shift & 1 for shift in range(13, -1, -1)]
    return statuses, position
