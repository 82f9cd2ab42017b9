"""Which of many streams come next in a round that takes a fixed time: some at once, as many as one packet
tells of, so that a round takes few packets. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Rota(Generic[T]):
    """Each of ``members`` in its turn, ``lot`` at once, all of them within ``round_s``; the round begins
    anywhere."""

    def __init__(self, members: Sequence[T], round_s: float, lot: int = 1) -> None:
        self._members = members
        self._lot = max(1, min(lot, len(members)))
        self._per_s = len(members) / round_s
        self._next = random.randrange(len(members)) if members else 0
        self._owed = random.random() * self._lot
        self._at_s: float | None = None

    def take(self, now_s: float) -> list[T]:
        """Those whose turn has come since the last call; nobody twice."""
        count = len(self._members)
        if self._at_s is not None:
            self._owed = min(count, self._owed + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        due = int(self._owed) if self._owed >= self._lot else 0
        self._owed -= due
        found = [self._members[(self._next + i) % count] for i in range(due)]
        self._next = (self._next + due) % max(1, count)
        return found
