"""Which packets of one stream have come, and which are missing (RFC 3550, A.1, A.3, A.8).

Pure: sequence numbers and times in, numbers out.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_GAP = 400
"""a longer jump is not asked for again: it would only fill the line"""
MAX_HOLES = 1000
"""the oldest are given up first: whoever leaves gaps all the time must not fill the memory"""
HOLES_A_PACKET = 4
"""so many may be asked for with each packet that has come, or saved up: who loses more than four of
five is not mended by asking, and pretending to must not cost us"""
RESTART_GAP = 3000
"""MAX_DROPOUT of RFC 3550, A.1: beyond this the sender has begun anew"""
MAX_TRIES = 10
RETRY_S = 0.05
GIVE_UP_S = 1.0


@dataclass(slots=True)
class Hole:
    """A packet that has not come."""

    since_s: float
    asked_at_s: float = float("-inf")
    tries: int = 0


def extend(sequence: int, near: int) -> int:
    """The unwrapped number that is ``sequence`` modulo 65536 and nearest to ``near``."""
    return near + ((sequence - near + 0x8000) & 0xFFFF) - 0x8000


class Arrivals:
    """Unwraps, finds holes and duplicates, and keeps the statistics of receiver reports."""

    def __init__(self, clock_rate_hz: int) -> None:
        self._clock_rate_hz = clock_rate_hz
        self.highest: int | None = None
        """unwrapped; counting begins above 65536 so that nothing is ever negative"""
        self.holes: dict[int, Hole] = {}
        self.received = 0
        self.repaired = 0
        """of these, those that came by retransmission"""
        self.octets = 0
        self.jitter = 0.0
        """in time stamp units (RFC 3550, A.8)"""
        self._askable = MAX_HOLES
        self._begin = 65536
        self._first = 0
        self._transit: float | None = None
        self._reported = (0, 0)

    def continue_after(self, highest: int) -> None:
        """Number a new stream above ``highest``: its packets are never taken for old ones."""
        self._begin = (highest // 65536 + 2) * 65536

    def receive(self, sequence: int, timestamp: int, size: int, now_s: float) -> int | None:
        """The unwrapped number of this packet; None if it came before or far too late."""
        if self.highest is None or abs(extend(sequence, self.highest) - self.highest) > RESTART_GAP:
            begin = self._begin if self.highest is None else self.highest + 65536
            extended = extend(sequence, begin)
            self._first, self.highest = extended, extended
            self.holes.clear()
            self._transit = None
            self._reported = (0, 0)
            self.received = self.repaired = 0
        else:
            extended = extend(sequence, self.highest)
            if extended > self.highest:
                gap = range(self.highest + 1, extended)
                if gap and len(gap) <= min(MAX_GAP, self._askable):
                    self._askable -= len(gap)
                    self.holes.update((missing, Hole(now_s)) for missing in gap)
                    while len(self.holes) > MAX_HOLES:
                        del self.holes[next(iter(self.holes))]
                self.highest = extended
                self._measure_jitter(timestamp, now_s)
            elif self.holes.pop(extended, None) is None:
                return None
        self.received += 1
        self.octets += size
        self._askable = min(MAX_HOLES, self._askable + HOLES_A_PACKET)
        return extended

    def _measure_jitter(self, timestamp: int, now_s: float) -> None:
        transit = now_s * self._clock_rate_hz - timestamp
        if self._transit is not None:
            change = abs(transit - self._transit)
            if change < self._clock_rate_hz * 10:  # not across a wrap of the time stamp
                self.jitter += (change - self.jitter) / 16
        self._transit = transit

    def due(self, now_s: float) -> list[int]:
        """The 16-bit numbers to ask for (again) now, ascending; old holes are given up."""
        asked = []
        for number, hole in list(self.holes.items()):
            if hole.tries >= MAX_TRIES or now_s - hole.since_s > GIVE_UP_S:
                del self.holes[number]
            elif now_s - hole.asked_at_s >= RETRY_S:
                hole.asked_at_s = now_s
                hole.tries += 1
                asked.append(number & 0xFFFF)
        return asked

    def counts(self) -> tuple[int, int]:
        """(expected, received) since the sender began."""
        if self.highest is None:
            return 0, 0
        return self.highest - self._first + 1, self.received

    def report(self) -> tuple[int, int]:
        """(fraction lost in 1/256 since the last report, lost in all): RFC 3550, A.3."""
        expected, received = self.counts()
        before_expected, before_received = self._reported
        self._reported = (expected, received)
        due = expected - before_expected
        lost = due - (received - before_received)
        fraction = 0 if due <= 0 or lost <= 0 else min(255, (lost << 8) // due)
        return fraction, expected - received
