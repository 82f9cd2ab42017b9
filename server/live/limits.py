"""How much may be asked for: by a seat a second, by a conference at a time. Never per address.

A room shares one address and answers in the same second; a seat is one person or one device, in
however many tabs. Whoever exceeds a limit is told when to go on.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.errors import SlowDown

COMMANDS_PER_S = 40.0
"""Lasting rate of one seat: far more than a person or a desk presses, less than harms."""
BURST = 200
"""Commands that may come at once, e.g. what a page kept while its line was lost."""
MOST_WAITING = 12_000
"""Commands of one conference that may wait: one of each of ten thousand phones, and room for others
in the inbox."""
WAITING_RETRY_S = 2.0
FORGET_ABOVE = 20_000
"""Seats remembered; beyond it those that have nothing to wait for are let go."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at_s: float


class Limits:
    """A token bucket for each seat, a count for each conference."""

    def __init__(
        self, per_s: float = COMMANDS_PER_S, burst: int = BURST, most_waiting: int = MOST_WAITING
    ) -> None:
        self._per_s, self._burst, self._most_waiting = per_s, burst, most_waiting
        self._buckets: dict[str, _Bucket] = {}
        self._waiting: dict[int, int] = {}

    def admit(self, seat: str, conference_id: int, now_s: float) -> None:
        """Count one command until ``done``. Raises: SlowDown, and nothing is counted."""
        waiting = self._waiting.get(conference_id, 0)
        if waiting >= self._most_waiting:
            raise SlowDown(retry_after_s=WAITING_RETRY_S)
        bucket = self._buckets.get(seat)
        if bucket is None:
            bucket = self._new(seat, now_s)
        left = bucket.left + (now_s - bucket.at_s) * self._per_s
        if left > self._burst:
            left = self._burst
        bucket.at_s = now_s
        if left < 1:
            bucket.left = left
            raise SlowDown(retry_after_s=round((1 - left) / self._per_s + 0.05, 1))
        bucket.left = left - 1
        self._waiting[conference_id] = waiting + 1

    def done(self, conference_id: int, count: int = 1) -> None:
        """``count`` commands that were admitted are answered."""
        left = self._waiting[conference_id] - count
        if left:
            self._waiting[conference_id] = left
        else:
            del self._waiting[conference_id]

    def _new(self, seat: str, now_s: float) -> _Bucket:
        if len(self._buckets) >= FORGET_ABOVE:
            self._forget(now_s)
        bucket = self._buckets[seat] = _Bucket(float(self._burst), now_s)
        return bucket

    def _forget(self, now_s: float) -> None:
        full_s = self._burst / self._per_s
        self._buckets = {s: b for s, b in self._buckets.items() if now_s - b.at_s < full_s}
