"""Who gets how much of one receiver's line: ``allocate``. Pure.

Every slot climbs the layers of its source step by step. Which step comes first is one fixed order:
level by level, and within a level by priority, where slots of low priority stand a level behind. So
a narrow line carries the presentation and the stage first, at good size, before any tile of the wall
moves; a wider one lets the tiles in before the stage takes its largest picture. Sound is not in it:
it is small and never shed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

UP_MARGIN = 1.15
"""a step up has to fit with this to spare, so that pictures do not flap; staying need only fit"""


class Priority(IntEnum):
    """What is shed last comes first."""

    PRESENTATION = 0
    STAGE = 1
    FLOOR = 2
    """tiles of those who hold the floor"""
    WALL = 3

    @property
    def behind(self) -> int:
        """By so many levels a slot stands behind the most important ones."""
        return 0 if self <= Priority.STAGE else 1


class Demand(NamedTuple):
    """What one slot could show."""

    priority: Priority
    rates_bps: tuple[int, ...]
    """of the layers worth sending for its size, ascending; empty: nothing is shown"""
    current: int = -1
    """index of the layer that it gets now; -1: none"""
    untried: bool = False
    """nothing is known of the line yet: no reason to withhold a lowest layer"""

    @property
    def needed(self) -> bool:
        """Stage and presentation keep their lowest layer, though it be too much for the line."""
        return self.untried or self.priority <= Priority.STAGE


def allocate(demands: Mapping[str, Demand], budget_bps: int) -> dict[str, int]:
    """Slot → index into its ``rates_bps``, or -1.

    The sum of the rates is at most ``budget_bps``, but for the lowest layers of needed slots.
    """
    chosen = dict.fromkeys(demands, -1)
    spent_bps = 0
    stopped: set[str] = set()
    for slot, level in _steps(demands):
        if slot in stopped:
            continue
        demand = demands[slot]
        before_bps = demand.rates_bps[level - 1] if level else 0
        after_bps = spent_bps + demand.rates_bps[level] - before_bps
        margin = UP_MARGIN if level > demand.current else 1.0
        if after_bps * margin <= budget_bps or (level == 0 and demand.needed):
            chosen[slot] = level
            spent_bps = after_bps
        else:
            stopped.add(slot)
    return chosen


def _steps(demands: Mapping[str, Demand]) -> Sequence[tuple[str, int]]:
    """(slot, level) in the order in which they are granted."""
    steps = [
        (level + demand.priority.behind, demand.priority, slot, level)
        for slot, demand in demands.items()
        for level in range(len(demand.rates_bps))
    ]
    return [(slot, level) for _, _, slot, level in sorted(steps, key=lambda step: step[:2])]


def useful_bps(demands: Mapping[str, Demand]) -> int:
    """What would be sent if the line carried everything: how far probing is worth it."""
    return sum(demand.rates_bps[-1] for demand in demands.values() if demand.rates_bps)
