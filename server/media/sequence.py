"""Which packets of one stream have come, and which are missing (RFC 3550, A.1, A.3, A.8).

Pure: sequence numbers and times in, numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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
"""a packet is asked for again no sooner; later where answers have taken longer"""
PATIENCE, SLACK_S = 1.1, 0.01
"""by so much longer than usual an answer is waited for"""
ECHO_S, ECHOES = 0.012, 2
"""so soon a packet is asked for again, so many times, where repeats come by RTX: one that is lost as well
would cost another round trip. A browser that knows none repeats it each time (``Layer.report_block``)"""
RARE_A_PACKET, MAX_RARE = 0.05, 10
"""only of a line that loses less than so many with each packet that comes, give or take so many: on one that
loses more, or is full, repeats would take the room of pictures"""
GIVE_UP_S = 1.0
MAX_WAIT_S, FORGET = 0.05, 0.95
"""a packet that may only have been overtaken is waited for no longer; each that was lost leaves so much
of the wait"""


@dataclass(slots=True)
class Hole:
    """A packet that has not come."""

    since_s: float
    first_s: float = float("inf")
    """when it was asked for"""
    asked_at_s: float = float("-inf")
    """when it was the last time"""
    tries: int = 0
    answered: bool = False
    """is it a retransmission that comes?"""
    echoes: int = 0
    """so many times it is asked for again without waiting for an answer"""

    def due_s(self, retry_s: float, wait_s: float) -> float:
        """When it is to be asked for (again)."""
        if not self.tries:
            return self.since_s + wait_s
        return self.asked_at_s + (ECHO_S if self.tries <= self.echoes else retry_s)


def extend(sequence: int, near: int) -> int:
    """The unwrapped number that is ``sequence`` modulo 65536 and nearest to ``near``."""
    return near + ((sequence - near + 0x8000) & 0xFFFF) - 0x8000


class Coming(Protocol):
    """What is to be known of a packet that has come."""

    @property
    def sequence(self) -> int:
        """Its number, 16 bits."""

    @property
    def timestamp(self) -> int:
        """As its stream's clock says."""

    @property
    def size(self) -> int:
        """In bytes, as it came."""

    @property
    def at_s(self) -> float:
        """When it came."""


class Answers:
    """How long retransmissions take to come over a line, and so when to ask again; and how late packets are
    that were overtaken, which nobody has to repeat."""

    def __init__(self) -> None:
        self._usual_s: float | None = None
        self.wait_s = 0.0
        """before a packet is asked for"""

    @property
    def retry_s(self) -> float:
        """From one request to the next."""
        return max(RETRY_S, (self._usual_s or 0.0) * PATIENCE + SLACK_S)

    def took(self, answer_s: float) -> None:
        """One came so long after it was asked for."""
        usual_s = answer_s if self._usual_s is None else self._usual_s
        self._usual_s = usual_s + (answer_s - usual_s) / 8
        self.wait_s *= FORGET

    def overtaken(self, late_s: float) -> None:
        """One came by itself, so much later than one behind it."""
        self.wait_s = max(self.wait_s, min(late_s, MAX_WAIT_S))


class Arrivals:
    """Unwraps, finds holes and duplicates, and keeps the statistics of receiver reports."""

    def __init__(
        self, clock_rate_hz: int, answers: Answers | None = None, *, apart: bool = False
    ) -> None:
        """``answers``: those of its line, which other streams learn from as well; ``apart``: retransmissions
        come in a stream of their own, and ``answered`` is told."""
        self._clock_rate_hz = clock_rate_hz
        self._apart = apart
        self._answers = answers or Answers()
        self.highest: int | None = None
        """unwrapped; counting begins above 65536 so that nothing is ever negative"""
        self.holes: dict[int, Hole] = {}
        self.due_s = float("inf")
        """when ``due`` is to be asked next"""
        self.received = 0
        self.repaired = 0
        """of these, those that came by retransmission"""
        self.octets = 0
        self.jitter = 0.0
        """in time stamp units (RFC 3550, A.8)"""
        self._askable = MAX_HOLES
        self._rare: float = MAX_RARE
        """so many more could be lost than are; below 0 fewer"""
        self._rare_at = 0
        """of ``received``, when it was counted"""
        self._begin = 65536
        self._first = 0
        self._transit: float | None = None
        self._reported = (0, 0)

    def continue_after(self, highest: int) -> None:
        """Number a new stream above ``highest``: its packets are never taken for old ones."""
        self._begin = (highest // 65536 + 2) * 65536

    def receive(self, sequence: int, timestamp: int, size: int, now_s: float) -> int | None:
        """The unwrapped number of this packet; None if it came before or far too late."""
        if self.highest is not None and (sequence - self.highest) & 0xFFFF == 1:
            extended = self.highest = self.highest + 1  # the next one, as most are
            if self.holes:
                self.holes.pop(extended, None)  # see ``miss_next``
            self._measure_jitter(timestamp, now_s)
        elif (
            self.highest is None or abs(extend(sequence, self.highest) - self.highest) > RESTART_GAP
        ):
            begin = self._begin if self.highest is None else self.highest + 65536
            extended = extend(sequence, begin)
            self._first, self.highest = extended, extended
            self.holes.clear()
            self.due_s = float("inf")
            self._transit = None
            self._reported = (0, 0)
            self.received = self.repaired = 0
        else:
            extended = extend(sequence, self.highest)
            if extended > self.highest:
                self._miss(range(self.highest + 1, extended), now_s)
                self.holes.pop(extended, None)
                self.highest = extended
                self._measure_jitter(timestamp, now_s)
            elif (hole := self.holes.pop(extended, None)) is None:
                return None
            elif self._apart and not hole.answered:
                self._answers.overtaken(now_s - hole.since_s)
        self.received += 1
        self.octets += size
        if self._askable < MAX_HOLES:
            self._askable = min(MAX_HOLES, self._askable + HOLES_A_PACKET)
        return extended

    def receive_all(self, packets: Sequence[Coming]) -> Sequence[int | None]:
        """``receive`` each in turn; by a shorter way where each is the next one, and none is missing."""
        number, transit, jitter = self.highest, self._transit, self.jitter
        if number is None or transit is None or self.holes:
            return [self.receive(p.sequence, p.timestamp, p.size, p.at_s) for p in packets]
        rate_hz, octets, begin = self._clock_rate_hz, 0, number + 1
        for packet in packets:
            number += 1
            if packet.sequence != number & 0xFFFF:
                return [self.receive(p.sequence, p.timestamp, p.size, p.at_s) for p in packets]
            before, transit = transit, packet.at_s * rate_hz - packet.timestamp
            change = abs(transit - before)
            if change < rate_hz * 10:  # as in ``_measure_jitter``
                jitter += (change - jitter) / 16
            octets += packet.size
        self.highest, self._transit, self.jitter = number, transit, jitter
        self.received += len(packets)
        self.octets += octets
        self._askable = min(MAX_HOLES, self._askable + HOLES_A_PACKET * len(packets))
        return range(begin, number + 1)

    def _miss(self, gap: range, now_s: float) -> None:
        """These have not come."""
        if not gap or len(gap) > min(MAX_GAP, self._askable):
            return
        self._askable -= len(gap)
        for missing in gap:
            self.holes.setdefault(missing, Hole(now_s))
        while len(self.holes) > MAX_HOLES:
            del self.holes[next(iter(self.holes))]
        self.due_s = min(self.due_s, now_s + self._answers.wait_s)

    def miss_next(self, count: int, now_s: float) -> None:
        """More was to come behind the newest packet, and ``count`` packets of the line were lost: perhaps
        these. Whoever has not sent them yet does not repeat them."""
        if self.highest is not None:
            self._miss(range(self.highest + 1, self.highest + 1 + count), now_s)

    def answered(self, sequence: int, now_s: float) -> None:
        """A retransmission of this packet has come, before it is received."""
        if self.highest is None:
            return
        hole = self.holes.get(extend(sequence, self.highest))
        if hole is not None:
            hole.answered = True
        if hole is not None and hole.tries:
            # From the first time on: until it is known how long it takes, it is asked for several times.
            self._answers.took(now_s - hole.first_s)

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
        retry_s, wait_s = self._answers.retry_s, self._answers.wait_s
        self.due_s = float("inf")
        for number, hole in list(self.holes.items()):
            if hole.tries >= MAX_TRIES or now_s - hole.since_s > GIVE_UP_S:
                del self.holes[number]
                continue
            if now_s >= hole.due_s(retry_s, wait_s):
                if not hole.tries:
                    hole.echoes = ECHOES if self._loses_rarely() and self._apart else 0
                hole.first_s = min(hole.first_s, now_s)
                hole.asked_at_s = now_s
                hole.tries += 1
                asked.append(number & 0xFFFF)
            self.due_s = min(self.due_s, hole.due_s(retry_s, wait_s))
        return asked

    def _loses_rarely(self) -> bool:
        """With one more that is lost."""
        came = max(0, self.received - self._rare_at)
        self._rare_at = self.received
        self._rare = min(MAX_RARE, self._rare + came * RARE_A_PACKET)
        rarely = self._rare > 0
        self._rare = max(-MAX_RARE, self._rare - 1)
        return rarely

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
