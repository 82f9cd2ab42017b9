"""Who sends or opens what is refused: counted for each sender, told once in a while, bounded in memory.

A flood must not fill the log, nor must a forger's many source addresses fill the memory.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

log = logging.getLogger(__name__)

TELL_EVERY_S = 10.0
MOST_SENDERS = 256
"""counted apart between two tellings; those that come later are one"""
FEWEST_TOLD = 100
"""fewer are no news: browsers go on for a moment after their session has ended"""
MOST_TOLD = 5
"""senders named in a telling, the busiest first"""
OTHERS = "others"


class Refusals:
    """``refuse(kind, sender)`` for each refused packet; ``tick`` tells of them."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._counted_since_s = self._told_at_s = float("-inf")

    def refuse(self, kind: str, sender: str) -> None:
        """One packet of ``kind``, or a connection, was refused. ``sender`` is an address without its port."""
        key = (sender, kind)
        if key not in self._counts and len(self._counts) >= MOST_SENDERS:
            key = (OTHERS, kind)
        self._counts[key] += 1

    def tick(self, now_s: float, who: Callable[[str], str]) -> None:
        """Tell of the busiest senders, at most every ``TELL_EVERY_S``.

        ``who`` names the sessions at an address, empty for a stranger's.
        """
        busiest = self._counts.most_common(MOST_TOLD)
        news = [(key, count) for key, count in busiest if count >= FEWEST_TOLD]
        if news and now_s - self._told_at_s >= TELL_EVERY_S:
            self._told_at_s = now_s
            for (sender, kind), count in news:
                sessions = who(sender) or "none"
                log.warning(
                    "refused kind=%s from=%s count=%d sessions=%s", kind, sender, count, sessions
                )
        elif now_s - self._counted_since_s < TELL_EVERY_S:
            return
        self._counted_since_s = now_s
        self._counts.clear()
