"""What a line carries, over a simulated one: a bottleneck with a queue, a delay and losses."""

from __future__ import annotations

import heapq
import random
import struct
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.media import bandwidth, feedback, flight, native, rtcp
from server.media.bandwidth import MIN_BPS, START_BPS
from server.media.estimator import Compiled, Estimator
from server.media.feedback import CLOCK_S, Feedback, read

PACKET = 1100
FRAME_S = 0.04
FEEDBACK_S = 0.1


NUMBERS = (
    "estimate_bps", "delivered_bps", "link_bps", "budget_bps", "rtt_s", "reason", "heard", "silent",
    "lost", "counted", "loss",
)  # fmt: skip


class Both(bandwidth.Plain):
    """In Python, and beside it the compiled way, which has to find the same with every step."""

    def __init__(self, now_s: float) -> None:
        super().__init__(now_s)
        self._compiled = Compiled(now_s)

    def send(self, size: int, now_s: float) -> int:
        number = super().send(size, now_s)
        assert self._compiled.send(size, now_s) == number
        return number

    def report(self, fci: bytes, now_s: float) -> None:
        super().report(fci, now_s)
        self._compiled.blind_bps = self.blind_bps
        self._compiled.report(fci, now_s)
        self._compare()
        octets = self.flight.arrived_within(0.2)
        assert self._compiled.flight.arrived_within(0.2) == octets

    def tick(self, now_s: float) -> None:
        super().tick(now_s)
        self._compiled.tick(now_s)
        self._compare()

    def probe(self, wanted_bps: int, now_s: float) -> int:
        bps = super().probe(wanted_bps, now_s)
        assert self._compiled.probe(wanted_bps, now_s) == bps
        return bps

    def _compare(self) -> None:
        for name in flight.State.__slots__:
            found, right = getattr(self._compiled.flight.state, name), getattr(
                self.flight.state, name
            )
            assert found == right or found == pytest.approx(right, rel=1e-9, abs=1e-12), name
        for name in NUMBERS:
            found, right = getattr(self._compiled, name), getattr(self, name)
            assert found == right or found == pytest.approx(right, rel=1e-9), name


def estimator(now_s: float) -> Estimator:
    """Of both ways, where there are both."""
    return bandwidth.Plain(now_s) if native.library() is None else Both(now_s)


def report_of(first: int, *arrived_s: float | None) -> bytes:
    """A report on packets from ``first`` on, None for each that has not come."""
    came = {first + i: at_s for i, at_s in enumerate(arrived_s) if at_s is not None}
    return feedback._encode(first, first + len(arrived_s) - 1, came, 0, min(came.values()))


class Line:
    """From a sender that sends what it may to a receiver that reports every 100 ms."""

    def __init__(
        self,
        rate_bps: Callable[[float], float],
        loss: float = 0,
        delay_s: float = 0.04,
        jitter_s: float = 0,
    ) -> None:
        self.rate_bps = rate_bps
        self.jitter_s = jitter_s
        self.loss = loss
        self.delay_s = delay_s
        self.down = False
        self.now_s = 1000.0
        self.estimator = estimator(self.now_s)
        self.queue_delays_s: list[float] = []
        self._random = random.Random(7)
        self._free_s = self.now_s
        self._feedback = Feedback()
        self._underway: list[tuple[float, int]] = []
        self._reports: deque[tuple[float, bytes]] = deque()
        self._credit = 0.0

    def _send(self, size: int) -> None:
        self._carry(self.estimator.send(size, self.now_s), size)

    def _carry(self, number: int, size: int) -> None:
        begin_s = max(self.now_s, self._free_s)
        queued_s = begin_s - self.now_s
        if self.down or queued_s > 0.5 or self._random.random() < self.loss:
            return
        self._free_s = begin_s + size * 8 / self.rate_bps(self.now_s)
        self.queue_delays_s.append(queued_s)
        delay_s = self.delay_s + self._random.random() * self.jitter_s
        heapq.heappush(self._underway, (self._free_s + delay_s, number))

    def sends_bps(self, demand_bps: float) -> float:
        """What a source of ``demand_bps`` may send."""
        return min(demand_bps, self.estimator.budget_bps)

    def run(self, seconds: float, demand_bps: float) -> None:
        """A source of ``demand_bps`` at most; 25 frames a second; padding where probed."""
        ticks = round(seconds / 0.01)
        for tick in range(ticks):
            self.now_s += 0.01
            if tick % 4 == 0:
                self._credit += self.sends_bps(demand_bps) * FRAME_S / 8
                self._flush()
            self.estimator.tick(self.now_s)
            target_bps = self.estimator.probe(round(demand_bps), self.now_s)
            if target_bps:
                self._credit += max(0, target_bps - self.sends_bps(demand_bps)) * 0.01 / 8
                self._flush()
            self._receive(tick)

    def _flush(self) -> None:
        while self._credit >= PACKET:
            self._credit -= PACKET
            self._send(PACKET)

    def _receive(self, tick: int) -> None:
        while self._underway and self._underway[0][0] <= self.now_s:
            arrived_s, number = heapq.heappop(self._underway)
            self._feedback.receive(number, arrived_s)
        if tick % round(FEEDBACK_S / 0.01) == 0 and not self.down:
            for packet in self._feedback.report(1, 2):
                self._reports.append((self.now_s + self.delay_s, packet[12:]))
        while self._reports and self._reports[0][0] <= self.now_s:
            self.estimator.report(self._reports.popleft()[1], self.now_s)


def steady(bps: float) -> Callable[[float], float]:
    return lambda now_s: bps


def test_a_wide_line_is_found_out_by_probes() -> None:
    line = Line(steady(20e6))
    line.run(12, 6e6)
    assert line.estimator.estimate_bps > 6e6


def test_it_does_not_claim_what_nobody_wants() -> None:
    line = Line(steady(20e6))
    line.run(30, 400e3)
    assert line.estimator.estimate_bps <= START_BPS


@pytest.mark.parametrize("loss", [0, 0.03])
@pytest.mark.parametrize("rate_bps", [500e3, 1e6, 3e6])
def test_it_settles_below_a_narrow_line_with_short_queues(rate_bps: float, loss: float) -> None:
    line = Line(steady(rate_bps), loss)
    line.run(15, 4e6)
    line.queue_delays_s.clear()
    estimates = []
    for _ in range(100):
        line.run(0.2, 4e6)
        estimates.append(line.estimator.estimate_bps)
    mean = sum(estimates) / len(estimates)
    assert 0.6 * rate_bps < mean < 1.1 * rate_bps
    delays_s = sorted(line.queue_delays_s)
    assert delays_s[len(delays_s) // 2] < 0.1


def test_it_follows_a_line_down_and_up() -> None:
    rate_bps = 1.5e6
    line = Line(lambda now_s: rate_bps)
    line.run(10, 2.5e6)
    assert line.estimator.estimate_bps > 0.9e6
    rate_bps = 0.5e6
    line.run(2, 2.5e6)
    assert line.estimator.estimate_bps < 0.6e6
    line.run(8, 2.5e6)
    assert 0.3e6 < line.estimator.estimate_bps < 0.6e6
    rate_bps = 2e6
    line.run(10, 2.5e6)
    assert line.estimator.estimate_bps > 1.3e6


@pytest.mark.parametrize("loss", [0.02, 0.1, 0.15])
def test_losses_of_the_line_itself_do_not_starve_it(loss: float) -> None:
    line = Line(steady(20e6), loss)
    estimates = []
    for _ in range(40):
        line.run(1, 2.5e6)
        estimates.append(line.estimator.estimate_bps)
    assert sum(e > 0.8e6 for e in estimates[5:]) > 30
    if loss < 0.1:
        assert min(estimates[10:]) > 2.4e6


def test_losses_are_counted_for_those_who_look_whatever_is_decided() -> None:
    """Deciding counts anew after each cut, which is no news to a technician on the telephone."""
    line = Line(lambda now_s: 1e6 if int(now_s) % 20 < 10 else 3e5, loss=0.08)
    line.run(60, 4e6)
    share = line.estimator.lost / line.estimator.counted
    assert 0.07 < share < 0.2


@pytest.mark.parametrize("jitter_s", [0.01, 0.03])
def test_a_restless_line_is_not_taken_for_a_full_one(jitter_s: float) -> None:
    line = Line(steady(8e6), jitter_s=jitter_s)
    line.run(15, 2.5e6)
    assert line.estimator.estimate_bps > 1.5e6


def test_silence_takes_everything_and_gives_it_back_soon() -> None:
    line = Line(steady(4e6))
    line.run(10, 2.5e6)
    before_bps = line.estimator.budget_bps
    line.down = True
    line.run(20, 2.5e6)
    assert line.estimator.budget_bps == MIN_BPS
    assert line.estimator.reason == "silence"
    line.down = False
    line.run(1, 2.5e6)
    assert line.estimator.reason != "silence"
    assert line.estimator.budget_bps >= 0.4 * before_bps
    line.run(6, 2.5e6)
    assert line.estimator.budget_bps > 0.9 * 2.5e6


def test_feedback_may_be_late_twice_and_of_packets_never_sent() -> None:
    sender = estimator(0.0)
    numbers = [sender.send(PACKET, i * 0.01) for i in range(10)]
    gap = report_of(numbers[0], 1.0, None, 1.02)
    late = report_of(numbers[1], 1.011)
    for report in (gap, late, late, report_of((numbers[-1] + 5) & 0xFFFF, *[1.0] * 50)):
        sender.report(report, 0.2)
    assert sender.estimate_bps == START_BPS and sender.delivered_bps > 0


def test_reports_by_the_hundred_are_weighed_by_the_latest() -> None:
    sender = estimator(0.0)
    for i in range(400):
        numbers = [sender.send(PACKET, i * 0.003) for _ in range(5)]
        sender.report(report_of(numbers[0], *[None if i > 300 else 1.0] * 4, 1.0), i * 0.003)
    assert sender.loss > 0.5 and sender.lost == 4 * 99


def test_the_receivers_clock_may_wrap() -> None:
    sender = estimator(0.0)
    for i in range(100):
        number = sender.send(PACKET, i * 0.05)
        arrived_s = (CLOCK_S - 2 + i * 0.05) % CLOCK_S
        sender.report(report_of(number, arrived_s), i * 0.05 + 0.04)
    assert sender.reason == "start" or sender.estimate_bps >= START_BPS
    assert sender.delivered_bps == pytest.approx(PACKET * 8 / 0.05, rel=0.2)


@given(
    st.dictionaries(st.integers(0, 900), st.floats(5.0, 9.0), min_size=1, max_size=200),
    st.integers(0, 0xFFFF),
)
def test_reports_say_what_feedback_heard(arrivals: dict[int, float], base: int) -> None:
    feedback = Feedback()
    for offset, at_s in arrivals.items():
        feedback.receive((base + offset) & 0xFFFF, at_s)
    reports = [read(packet[12:]) for packet in feedback.report(1, 2)]
    heard = {
        (report.first + i) & 0xFFFF: at_s
        for report in reports
        if report is not None
        for i, at_s in enumerate(report.arrived_s)
        if at_s is not None
    }
    assert None not in reports
    for offset, at_s in arrivals.items():
        told_s = heard.get((base + offset) & 0xFFFF)
        assert told_s is None or abs(told_s - at_s) < 0.001
    assert len(heard) == len(arrivals)


@given(st.lists(st.binary(max_size=60), max_size=4), st.integers(0, 300))
def test_any_bytes_are_a_report_or_none(reports: list[bytes], sent: int) -> None:
    sender = estimator(0.0)
    for i in range(sent):
        sender.send(PACKET, i * 0.01)
    for data in reports:
        sender.report(data, 3.0)
        assert list(rtcp.parse(data)) is not None


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=12),
    st.binary(min_size=120, max_size=160),
    st.integers(0, 20),
    st.booleans(),
)
def test_both_ways_take_reports_apart_alike(
    chunks: list[tuple[int, int]], deltas: bytes, missing: int, silent: bool
) -> None:
    """Run lengths and both kinds of vectors, statuses beyond the count, deltas that are too few."""
    sender = estimator(0.0)
    for i in range(200):
        sender.send(PACKET, i * 0.01)
    for i in range(8 if silent else 0):
        sender.tick(1 + i * 0.25)
    assert sender.silent == silent
    words = b""
    for kind, value in chunks:
        word = kind << 13 | value if kind < 3 else (0x8000 | (value & 1) << 14 | value * 0x155)
        words += struct.pack("!H", word & 0xFFFF)
    head = struct.pack("!HHI", 3, max(1, 14 * len(chunks) - missing), 5 << 8)
    for data in (head + words + deltas, head + words + deltas[:missing]):
        sender.report(data, 3.0)
