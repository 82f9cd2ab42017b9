"""How much of something is allowed: a token bucket, against peers that ask or send too much. Pure."""

from __future__ import annotations


class Allowance:
    """``rate_per_s`` units a second on average, ``burst`` of them at once."""

    __slots__ = ("_at_s", "_left", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._left = burst
        self._at_s = float("-inf")

    def take(self, units: float, now_s: float) -> bool:
        """Are ``units`` allowed now? If so they count as used."""
        if now_s > self._at_s:
            left = self._left + (now_s - self._at_s) * self.rate_per_s
            self._left = left if left < self.burst else self.burst
            self._at_s = now_s
        if units > self._left:
            return False
        self._left -= units
        return True


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
