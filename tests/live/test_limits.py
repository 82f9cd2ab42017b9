"""How much one seat and one conference may ask for."""

from __future__ import annotations

import pytest

from server.errors import SlowDown
from server.live.limits import Limits


def test_limits_count_seats_and_conferences() -> None:
    limits = Limits(per_s=10, burst=20, most_waiting=60)
    for _ in range(20):
        limits.admit("an", 1, 0.0)
    with pytest.raises(SlowDown) as refused:
        limits.admit("an", 1, 0.0)
    assert refused.value.retry_after_s == pytest.approx(0.1, abs=0.1)
    limits.admit("an", 1, 0.2)
    limits.admit("binh", 1, 0.0)  # a neighbour, at the same address
    for number in range(38):
        limits.admit(f"phone {number}", 1, 0.0)
    with pytest.raises(SlowDown):
        limits.admit("one more", 1, 0.0)
    limits.admit("an", 2, 1.0)  # another conference
    limits.done(1)
    limits.admit("one more", 1, 0.0)
