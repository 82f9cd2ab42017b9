"""Does a line lose more than it does by itself? Pure."""

from __future__ import annotations

import math
from collections import deque

LOSS_HIGH = 0.10
LOSS_S = 1.5
MIN_COUNTED = 25
"""fewer packets than this say nothing of losses"""
OWN_LOSS_S = 30.0
"""so long the line is believed to lose as much by itself"""
MAX_COUNTS = 128
"""reports at most: of a receiver that sends more than 50 a second no more are read"""


class Losses:
    """The share of packets that did not come, over the last second of reports."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int, int]] = deque()
        self._lost = self._total = 0
        """of all of them"""
        self._own = 0.0
        self._own_until_s = float("-inf")
        self._before_cut: float | None = None

    def report(self, lost: int, total: int, now_s: float) -> None:
        """Of ``total`` packets ``lost`` were missing."""
        counts = self._counts
        counts.append((now_s, lost, total))
        self._lost += lost
        self._total += total
        while counts and (counts[0][0] < now_s - LOSS_S or len(counts) > MAX_COUNTS):
            _, lost, total = counts.popleft()
            self._lost -= lost
            self._total -= total

    def restart(self) -> None:
        """After a change of rate: count anew."""
        self._counts.clear()
        self._lost = self._total = 0

    def fraction(self, deviations: float = 0.0) -> float:
        """Lost of sent, so many standard deviations of chance added; 0 while little is known."""
        lost = self._lost
        if lost <= 0 or self._total < MIN_COUNTED:
            return 0.0
        return max(0.0, lost + deviations * math.sqrt(lost)) / self._total

    def excessive(self, now_s: float) -> bool:
        """Is more lost than the line loses by itself, and not by chance?"""
        if self._lost <= 0:
            return False
        own = self._own if now_s < self._own_until_s else 0.0
        return self.fraction(-1.0) > max(LOSS_HIGH, own * 1.2 + 0.03)

    def congested(self, now_s: float) -> bool:
        """``excessive``, and the caller now lowers its rate.

        If a lowered rate has not lowered the losses, they are the line's own from then on.
        """
        before = self._before_cut
        if not self.excessive(now_s):
            known = self._total >= MIN_COUNTED
            if before is not None and known and self.fraction(2.0) < before / 2:
                self._before_cut = None
            return False
        if before is not None and self.fraction(1.0) > before * 0.67:
            self._own, self._own_until_s = self.fraction(), now_s + OWN_LOSS_S
            self._before_cut = None
            return False
        self._before_cut = self.fraction()
        return True
