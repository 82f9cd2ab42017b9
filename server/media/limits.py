"""How much of something is allowed: a token bucket, against peers that ask or send too much. Pure."""

from __future__ import annotations

from collections.abc import Callable

PLEA = 10
"""what a plea for a keyframe counts, where a packet or a number in a NACK is one"""


class Allowance:
    """``rate_per_s`` units a second on average, ``burst`` of them at once."""

    __slots__ = ("_at_s", "_left", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._left = burst
        self._at_s = float("-inf")

    def allows(self, units: float, now_s: float) -> bool:
        """Would ``take`` take them?"""
        if now_s > self._at_s:
            left = self._left + (now_s - self._at_s) * self.rate_per_s
            self._left = left if left < self.burst else self.burst
            self._at_s = now_s
        return units <= self._left

    def take(self, units: float, now_s: float) -> bool:
        """Are ``units`` allowed now? If so they count as used."""
        if not self.allows(units, now_s):
            return False
        self._left -= units
        return True


class Asking:
    """Does a receiver ask for more than any honest one would?

    A browser that gets nothing of a picture asks five times a second for a keyframe, each time in a
    packet of its own with a report, which counts two. Of the packets that it was sent it lists up to
    ``LISTED`` of a stream as missing, for as long as a line is away, and then asks for each of them up
    to ``TRIES`` times, all ten times a second (libwebrtc's nack_requester.cc, and seen of Chromium 156).
    """

    PER_S, PER_PICTURE_S = 500, 5 * (PLEA + 2) + 5
    WINDOW_S = 6.0
    LISTED, TRIES = 1000, 100

    def __init__(self, pictures: int, streams: int) -> None:
        """``streams``: pictures and sounds."""
        self.per_s = self.PER_S + self.PER_PICTURE_S * pictures
        self._began_s = float("-inf")
        self._asked = 0
        self._most_tries = self.TRIES * self.LISTED * streams
        self._tries = self._sent = 0
        """what it may still ask for of what it was sent, and how much of that is counted in it"""

    def take(self, units: int, now_s: float) -> bool:
        """Is it honest that so much is asked for now?"""
        if now_s - self._began_s >= self.WINDOW_S:
            self._began_s, self._asked = now_s, 0
        self._asked += units
        return self._asked <= self.WINDOW_S * self.per_s

    def repeat(self, count: int, sent: Callable[[], int], now_s: float) -> bool:
        """The same of so many packets that are to come again. ``sent()``: how many it was sent, ever."""
        if self._tries < count:
            before, self._sent = self._sent, sent()
            earned = self.TRIES * (self._sent - before)
            self._tries = min(self._most_tries, self._tries + earned)
        of_these = min(count, self._tries)
        self._tries -= of_these
        return self.take(count - of_these, now_s)


class Repairs:
    """Which retransmissions one outgoing stream is worth.

    They earn their place by packets sent: a receiver that asks for everything gets at most
    ``share`` more than the stream itself, and no packet twice within ``AGAIN_S``.
    """

    SHARE = 0.5
    """a line that loses half is not mended by repeating"""
    BURST = 200
    """packets; the largest keyframe lost as a whole"""
    AGAIN_S = 0.015
    """less than any round trip over which repeating is of use"""
    REMEMBERED = 512

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._credit = float(self.BURST)
        self._repeated_at_s: dict[int, float] = {}

    def sent(self, count: int = 1) -> None:
        """Packets of the stream itself were sent."""
        credit = self._credit + self._share * count
        self._credit = credit if credit < self.BURST else float(self.BURST)

    def allows(self, sequence: int, now_s: float) -> bool:
        """Repeat this packet now? If so it counts as repeated."""
        if self._credit < 1 or now_s - self._repeated_at_s.get(sequence, -1.0) < self.AGAIN_S:
            return False
        if len(self._repeated_at_s) >= self.REMEMBERED:
            self._repeated_at_s.clear()
        self._repeated_at_s[sequence] = now_s
        self._credit -= 1
        return True

    def spares(self, count: int) -> bool:
        """May so many go a second time? If so they count as repeated."""
        if self._credit < self.BURST / 2:
            return False
        self._credit -= count
        return True
