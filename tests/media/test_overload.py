"""What is no narrow line: a far end or a process of ours that is late, a way that becomes longer."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.media.test_bandwidth import Line, steady

WANTED_BPS = 2.5e6


class LateReader(Line):
    """Its receiver reads, and reports, only when its machine lets it; nothing is lost."""

    def __init__(self, pause_s: Callable[[random.Random], float], seed: int) -> None:
        super().__init__(steady(20e6))
        self._pause_s = pause_s
        self._chance = random.Random(seed)
        self._reads_at_s = self.now_s
        self.cuts: list[tuple[float, str]] = []

    def _receive(self, tick: int) -> None:
        if self.now_s < self._reads_at_s:
            return
        self._reads_at_s = self.now_s + self._pause_s(self._chance)
        came = [each for each in self._underway if each[0] <= self.now_s]
        self._underway = [each for each in self._underway if each[0] > self.now_s]
        for _, number in sorted(came):
            self._feedback.receive(number, self.now_s)
        for packet in self._feedback.report(1, 2):
            self._reports.append((self.now_s + self.delay_s, packet[12:]))
        before_bps = self.estimator.estimate_bps
        while self._reports and self._reports[0][0] <= self.now_s:
            self.estimator.report(self._reports.popleft()[1], self.now_s)
        if self.estimator.estimate_bps < before_bps:
            self.cuts.append((self.now_s, self.estimator.reason))


PAUSES: dict[str, Callable[[random.Random], float]] = {
    "busy": lambda chance: chance.uniform(0.02, 0.3),
    "overloaded": lambda chance: chance.uniform(0.05, 0.6),
    "stops now and then": lambda chance: 0.4 if chance.random() < 0.02 else 0.01,
    "stops for long": lambda chance: 2.5 if chance.random() < 0.004 else 0.01,
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("pauses", PAUSES)
def test_a_receiver_that_reads_late_but_gets_all_loses_nothing(pauses: str, seed: int) -> None:
    line = LateReader(PAUSES[pauses], seed)
    line.run(30, WANTED_BPS)
    assert line.cuts == []
    assert line.estimator.estimate_bps >= 1.5e6


def test_one_that_reads_late_at_a_narrow_line_is_cut_all_the_same() -> None:
    line = LateReader(PAUSES["busy"], 1)
    line.run(10, WANTED_BPS)
    line.rate_bps = steady(1e6)
    line.run(3, WANTED_BPS)
    assert line.estimator.estimate_bps < 1e6


def test_reports_that_waited_for_us_are_no_silence() -> None:
    line = Line(steady(8e6))
    line.run(10, WANTED_BPS)
    before_bps = line.estimator.budget_bps
    for _ in range(5):
        line.now_s += 3  # this process stood still; then its timers come first
        line.estimator.tick(line.now_s)
        assert line.estimator.budget_bps == before_bps
        line.run(1, WANTED_BPS)
        before_bps = line.estimator.budget_bps
        assert before_bps > 1.5e6


@pytest.mark.parametrize("loss", [0, 0.03, 0.1])
@pytest.mark.parametrize("more_s", [0.05, 0.1, 0.25])
def test_a_way_that_becomes_longer_is_no_queue_for_long(more_s: float, loss: float) -> None:
    """Nor where it loses some at random, as it did before."""
    line = Line(steady(8e6), loss)
    line.run(10, WANTED_BPS)
    line.delay_s += more_s
    budgets = []
    for _ in range(6):
        line.run(1, WANTED_BPS)
        budgets.append(line.estimator.budget_bps)
    assert min(budgets) > (0.5e6 if loss else 1e6)
    assert line.estimator.flight.state.queue_s < 0.025
    line.run(6, WANTED_BPS)
    assert line.estimator.budget_bps > WANTED_BPS


class Stubborn(Line):
    """Its sources send the same whatever the budget: the stage keeps its lowest layer."""

    def sends_bps(self, demand_bps: float) -> float:
        return demand_bps


@pytest.mark.parametrize("loss", [0, 0.03])
def test_a_full_queue_is_never_taken_for_a_longer_way(loss: float) -> None:
    line = Stubborn(steady(0.4e6), loss)
    line.run(30, 0.45e6 / (1 - loss))
    assert line.estimator.flight.state.floor_s > 0.3
    assert line.estimator.estimate_bps < 0.4e6


LAYERS_BPS = (450e3, 225e3, 100e3)
"""as a browser sends a calm picture; the smallest is always shown"""
ENOUGH_BPS = 1.15 * LAYERS_BPS[0]


class Climber(LateReader):
    """Late on the way to its line too. Its source has layers, of which one is sent: mostly less than
    the line may carry."""

    def __init__(self, pause_s: Callable[[random.Random], float], seed: int) -> None:
        super().__init__(pause_s, seed)
        self._held: list[tuple[int, int]] = []
        self._goes_on_at_s = self.now_s

    def sends_bps(self, demand_bps: float) -> float:
        fits = (bps for bps in LAYERS_BPS if 1.15 * bps <= self.estimator.budget_bps)
        return next(fits, LAYERS_BPS[-1])

    def _carry(self, number: int, size: int) -> None:
        self._held.append((number, size))

    def _receive(self, tick: int) -> None:
        if self.now_s >= self._goes_on_at_s:
            self._goes_on_at_s = self.now_s + self._pause_s(self._chance)
            for held in self._held:
                super()._carry(*held)
            self._held.clear()
        super()._receive(tick)

    def climb_s(self, narrow_bps: float) -> float:
        """The time from a narrow line's end until the largest layer fits."""
        self.run(5, 1.15 * ENOUGH_BPS)
        self.rate_bps = steady(narrow_bps)
        self.run(10, 1.15 * ENOUGH_BPS)
        self.rate_bps = steady(2e6)
        begin_s = self.now_s
        while self.now_s < begin_s + 20 and self.estimator.budget_bps < ENOUGH_BPS:
            self.run(0.1, 1.15 * ENOUGH_BPS)
        return self.now_s - begin_s


@pytest.mark.parametrize("narrow_bps", [120e3, 400e3])
@pytest.mark.parametrize("pauses", ["busy", "stops now and then"])
def test_a_line_that_widens_is_found_out_by_those_who_are_late(
    pauses: str, narrow_bps: float
) -> None:
    """Where little is sent, what comes late is no queue of a line that carries no more than that."""
    times_s = sorted(Climber(PAUSES[pauses], seed).climb_s(narrow_bps) for seed in range(12))
    assert times_s[-1] < 13
    assert times_s[len(times_s) // 2] < 5.5
