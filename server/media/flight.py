"""Packets on their way to one receiver, and what its reports say of them.

``Compiled`` (``flight.c``) where it was built, else ``Plain``: the same numbers, and thousands of
packets a second pass here. What follows from them is ``bandwidth``'s. Pure.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from server.media import feedback, native
from server.media.delays import Delays
from server.media.feedback import CLOCK_S
from server.media.sequence import extend

RING = 4096
"""packets whose feedback may still come: 0.8 s of 5,000 packets a second"""
WINDOW_S = 0.5
HALF_CLOCK_S = CLOCK_S / 2
FIRST = 65536


@dataclass(slots=True)
class State:
    """What reports have said so far."""

    unheard_since_s: float = -1.0
    """the first packet sent since something was last reported; negative: none"""
    queue_s: float = 0.0
    """as in ``Delays``, like ``overused`` and ``draining``"""
    floor_s: float = 0.0
    """as in ``Delays``, like ``rise_s``"""
    rise_s: float = 0.0
    newest_sent_s: float = 0.0
    """when the newest packet that is known to have arrived was sent"""
    arrived_bytes: int = 0
    """in the last half second"""
    arrived: int = 0
    """packets that the last report told of for the first time"""
    lost: int = 0
    """of ``total`` packets: may be negative, where some were only late"""
    total: int = 0
    """packets that the last report counted, since ``count_anew``"""
    overused: int = 0
    draining: int = 0


class Flight(Protocol):
    """See the module. Numbers are transport-wide, 16 bits."""

    @property
    def state(self) -> State:
        """As it is now."""

    def send(self, size: int, now_s: float) -> int:
        """The number of the packet of ``size`` bytes sent now."""

    def send_all(self, head: int, sizes: Sequence[int], now_s: float) -> int:
        """The number of the first of packets of ``head`` + each of ``sizes`` bytes, sent now."""

    def hear(self, fci: bytes, *, anew: bool) -> bool:
        """A report; False where it is malformed. ``anew``: what came before its first arrival
        says nothing any more, and of losses it counts those before it.
        """

    def count_anew(self) -> None:
        """Losses of what was sent until now say nothing any more."""

    def rebase(self) -> None:
        """The way has become longer; see ``Delays``."""

    def arrived_within(self, seconds: float) -> int:
        """The bytes of the last ``seconds`` (up to half a second), by the receiver's clock."""

    def sent_within(self, seconds: float) -> int:
        """The bytes that were sent in the ``seconds`` up to the latest packet."""


class Plain:
    """In Python."""

    def __init__(self) -> None:
        self.state = State()
        self._delays = Delays()
        self._numbers = array("q", [-1]) * RING
        self._sizes = array("I", [0]) * RING
        self._sent_s = array("d", [0.0]) * RING
        self._next = FIRST
        self._newest = FIRST - 1
        self._counted_from = 0
        self._arrivals: deque[tuple[float, int]] = deque()
        self._clock_s: float | None = None

    def send(self, size: int, now_s: float) -> int:
        """See ``Flight``."""
        return self.send_all(size, (0,), now_s)

    def send_all(self, head: int, sizes: Sequence[int], now_s: float) -> int:
        """See ``Flight``."""
        first, numbers, octets, sent_s = self._next, self._numbers, self._sizes, self._sent_s
        number = first
        for size in sizes:
            i = number % RING
            numbers[i] = number
            octets[i] = head + size
            sent_s[i] = now_s
            number += 1
        self._next = number
        if self.state.unheard_since_s < 0:
            self.state.unheard_since_s = now_s
        return first & 0xFFFF

    def count_anew(self) -> None:
        """See ``Flight``."""
        self._counted_from = self._next

    def hear(self, fci: bytes, *, anew: bool) -> bool:
        """See ``Flight``."""
        report = feedback.read(fci)
        if report is None:
            return False
        state, numbers = self.state, self._numbers
        state.arrived = state.lost = state.total = 0
        known_until = self._newest
        number = extend(report.first, self._next - 1) - 1
        for arrived_s in report.arrived_s:
            number += 1
            if numbers[number % RING] != number:
                continue
            if anew and arrived_s is not None:
                self._begin_anew()
                anew = False
            if number >= self._counted_from:
                if number > known_until:
                    state.total += 1
                    state.lost += arrived_s is None
                elif arrived_s is not None:
                    state.lost -= 1  # it was only late
            if arrived_s is not None:
                self._arrived(number, self._unwrap(arrived_s))
        self._forget()
        delays = self._delays
        state.queue_s, state.floor_s, state.rise_s = delays.queue_s, delays.floor_s, delays.rise_s
        state.overused, state.draining = int(delays.overused), int(delays.draining)
        return True

    def _begin_anew(self) -> None:
        self._counted_from = self._next
        self._delays.restart()
        self._arrivals.clear()
        self.state.arrived_bytes = 0

    def _unwrap(self, arrived_s: float) -> float:
        before_s = self._clock_s
        if before_s is not None and not -HALF_CLOCK_S < arrived_s - before_s < HALF_CLOCK_S:
            arrived_s += round((before_s - arrived_s) / CLOCK_S) * CLOCK_S
        self._clock_s = arrived_s
        return arrived_s

    def _arrived(self, number: int, arrived_s: float) -> None:
        i, state = number % RING, self.state
        self._numbers[i] = -1
        if number > self._newest:
            self._newest = number
            state.newest_sent_s = self._sent_s[i]
            self._delays.packet(self._sent_s[i], arrived_s)
        state.unheard_since_s = -1.0
        state.arrived += 1
        if len(self._arrivals) == RING:
            state.arrived_bytes -= self._arrivals.popleft()[1]
        self._arrivals.append((arrived_s, self._sizes[i]))
        state.arrived_bytes += self._sizes[i]

    def rebase(self) -> None:
        """See ``Flight``."""
        self._delays.rebase()

    def _forget(self) -> None:
        arrivals = self._arrivals
        while arrivals and arrivals[0][0] < arrivals[-1][0] - WINDOW_S:
            self.state.arrived_bytes -= arrivals.popleft()[1]

    def arrived_within(self, seconds: float) -> int:
        """See ``Flight``."""
        begin_s = self._arrivals[-1][0] - seconds if self._arrivals else 0.0
        return sum(size for arrived_s, size in self._arrivals if arrived_s > begin_s)

    def sent_within(self, seconds: float) -> int:
        """See ``Flight``."""
        begin_s = self._sent_s[(self._next - 1) % RING] - seconds
        octets = 0
        for number in range(self._next - 1, max(FIRST, self._next - RING) - 1, -1):
            if self._sent_s[number % RING] <= begin_s:
                break
            octets += self._sizes[number % RING]
        return octets


class Compiled:
    """By ``flight.c``. Raises: RuntimeError where that was not built."""

    def __init__(self) -> None:
        library = native.library()
        if library is None:
            raise RuntimeError("flight.c was not built")
        ffi, self._code = library
        self._buffer = ffi.from_buffer
        self.memory = ffi.new("char[]", self._code.diemcau_flight_bytes())
        """for ``forward.c``"""
        self.state: Any = self._code.diemcau_flight_open(self.memory)
        """within ``memory``"""

    def send(self, size: int, now_s: float) -> int:
        """See ``Flight``."""
        return int(self._code.diemcau_sent(self.memory, size, now_s))

    def send_all(self, head: int, sizes: Sequence[int], now_s: float) -> int:
        """See ``Flight``."""
        return [self.send(head + size, now_s) for size in sizes][0]

    def hear(self, fci: bytes, *, anew: bool) -> bool:
        """See ``Flight``."""
        data = self._buffer("uint8_t[]", fci)
        return bool(self._code.diemcau_hear(self.memory, data, len(fci), anew))

    def count_anew(self) -> None:
        """See ``Flight``."""
        self._code.diemcau_count_anew(self.memory)

    def rebase(self) -> None:
        """See ``Flight``."""
        self._code.diemcau_rebase(self.memory)

    def arrived_within(self, seconds: float) -> int:
        """See ``Flight``."""
        return int(self._code.diemcau_arrived_within(self.memory, seconds))

    def sent_within(self, seconds: float) -> int:
        """See ``Flight``."""
        return int(self._code.diemcau_sent_within(self.memory, seconds))


def flight() -> Flight:
    """Compiled where that was built."""
    return Plain() if native.library() is None else Compiled()
