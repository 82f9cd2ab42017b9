"""Who gets how much of one receiver's line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.media.allocation import UP_MARGIN, Demand, Priority, allocate, useful_bps

LAYERS = (120_000, 400_000, 1_300_000)
ROOM = {
    "presentation": Demand(Priority.PRESENTATION, (500_000,)),
    "stage": Demand(Priority.STAGE, LAYERS),
    "wall0": Demand(Priority.FLOOR, LAYERS[:1]),
    **{f"wall{i}": Demand(Priority.WALL, LAYERS[:1]) for i in range(1, 10)},
}


def test_a_wide_line_carries_everything() -> None:
    chosen = allocate(ROOM, 20_000_000)
    assert chosen == {slot: len(demand.rates_bps) - 1 for slot, demand in ROOM.items()}
    assert useful_bps(ROOM) == 500_000 + 1_300_000 + 10 * 120_000


def test_a_narrow_line_sheds_the_wall_first_and_the_floors_tile_last_of_it() -> None:
    chosen = allocate(ROOM, 1_200_000)
    assert chosen["presentation"] == 0 and chosen["stage"] == 1 and chosen["wall0"] == 0
    assert all(chosen[f"wall{i}"] == -1 for i in range(1, 10))


def test_tiles_come_before_the_largest_stage() -> None:
    chosen = allocate(ROOM, 2_500_000)
    assert chosen["stage"] == 1 and all(chosen[f"wall{i}"] == 0 for i in range(10))


def test_the_stage_keeps_moving_whatever_the_line() -> None:
    chosen = allocate(ROOM, 60_000)
    assert chosen["stage"] == 0 and chosen["presentation"] == 0
    assert set(chosen.values()) == {0, -1}


demands = st.dictionaries(
    st.integers(0, 30).map(str),
    st.builds(
        Demand,
        st.sampled_from(Priority),
        st.lists(st.integers(20_000, 3_000_000), max_size=3, unique=True).map(
            lambda rates: tuple(sorted(rates))
        ),
        st.integers(-1, 2),
        st.just(False),
    ),
    max_size=20,
)


def spent_bps(found: dict[str, Demand], chosen: dict[str, int]) -> int:
    return sum(found[slot].rates_bps[level] for slot, level in chosen.items() if level >= 0)


@given(demands, st.integers(0, 20_000_000))
def test_the_budget_is_kept_but_for_what_is_needed(found: dict[str, Demand], budget: int) -> None:
    chosen = allocate(found, budget)
    assert all(-1 <= level < len(found[slot].rates_bps) for slot, level in chosen.items())
    needed = sum(d.rates_bps[0] for d in found.values() if d.needed and d.rates_bps)
    assert spent_bps(found, chosen) <= max(budget, needed)
    assert all(chosen[s] >= 0 for s, d in found.items() if d.needed and d.rates_bps)


@given(demands, st.integers(100_000, 20_000_000))
def test_nothing_changes_while_nothing_changes(found: dict[str, Demand], budget: int) -> None:
    chosen = allocate(found, budget)
    shown = {s: Demand(d.priority, d.rates_bps, chosen[s]) for s, d in found.items()}
    assert allocate(shown, budget) == chosen


def test_a_line_that_wavers_does_not_make_pictures_flap() -> None:
    narrow = {"stage": Demand(Priority.STAGE, LAYERS, current=1)}
    wide = {"stage": Demand(Priority.STAGE, LAYERS, current=2)}
    for budget in range(1_300_000, round(1_300_000 * UP_MARGIN), 50_000):
        assert allocate(narrow, budget)["stage"] == 1
        assert allocate(wide, budget)["stage"] == 2
