"""What is taken of one client, never more than it may send in the time that has passed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.live.allowance import (
    BYTES_OF_FRAME,
    FRAMES_BURST,
    FRAMES_PER_S,
    STRANGER_FRAMES_BURST,
    STRANGER_FRAMES_PER_S,
    Allowance,
)

frames = st.tuples(st.floats(0, 20), st.integers(0, 1_000_000))
"""(seconds since the one before, bytes)"""


@given(st.lists(frames, max_size=60), st.booleans())
def test_what_is_taken_is_bounded(sent: list[tuple[float, int]], trusted: bool) -> None:
    allowance = Allowance(0.0)
    if trusted:
        allowance.trust()
    per_s = FRAMES_PER_S if trusted else STRANGER_FRAMES_PER_S
    burst = FRAMES_BURST if trusted else STRANGER_FRAMES_BURST
    now_s = taken = cost = 0.0
    for pause_s, size in sent:
        now_s += pause_s
        now_s += allowance.wait_s(now_s)
        assert allowance.wait_s(now_s) < 1e-6, "after what it named nobody waits"
        assert taken <= burst + now_s * per_s + 1e-6, "what was taken before is paid for"
        cost = 1 + size / BYTES_OF_FRAME
        allowance.left -= cost
        taken += cost


def test_a_seat_that_is_known_twice_gets_no_second_burst() -> None:
    allowance = Allowance(0.0)
    allowance.trust()
    allowance.left -= FRAMES_BURST
    allowance.trust()
    assert allowance.wait_s(0.0) > 0
