"""Is a queue growing on the way to a receiver? (draft-ietf-rmcat-gcc-02, 4 and 5). Pure."""

from __future__ import annotations

from collections import deque

GROUP_S = 0.005
"""packets sent within this are one group: a frame is a burst (draft, 4.1); so are those that arrive
within this of one another, quicker than they were sent: their reader was late (draft, 5.2)"""
MAX_BURST_S = 0.1
"""of arrivals; a queue that drains is no single burst"""
WINDOW_GROUPS = 20
SMOOTHING = 0.9
GAIN = 4.0
MAX_TREND_GROUPS = 60
THRESHOLD_MS = 12.5
THRESHOLD_RANGE_MS = (6.0, 600.0)
THRESHOLD_UP = 0.0087
THRESHOLD_DOWN = 0.039
"""gains of the adaptive threshold (draft, 5.4)"""
OVERUSE_S = 0.01
BASE_PARTS, BASE_PART_S = 6, 10.0
BINS, BIN_S = 5, 0.05
"""so many bins of packets that arrived within so long: the quarter of a second that ``floor_s`` is of"""


class Delays:
    """The trend of one-way delays: is a queue growing? (draft, 4 and 5)."""

    def __init__(self) -> None:
        self.overused = False
        """a queue grows"""
        self.draining = False
        """a queue shrinks"""
        self.queue_s = 0.0
        """how long packets wait, compared with the quickest of the last minute"""
        self._quickest: deque[float] = deque(maxlen=BASE_PARTS)
        """the least arrival - sending of each part of that minute"""
        self._part_until_s = float("-inf")
        self._bins: deque[float] = deque(maxlen=2 * BINS)
        """the least arrival - sending of each bin"""
        self._bin_until_s = float("-inf")
        self._least_s = float("inf")
        self._group: list[float] | None = None
        """first sent, last sent, last arrived, first arrived"""
        self._before: tuple[float, float] | None = None
        """last sent and last arrived of the group before"""
        self._groups = 0
        self._sum_ms = 0.0
        self._smooth_ms = 0.0
        self._points: deque[tuple[float, float]] = deque(maxlen=WINDOW_GROUPS)
        self._threshold_ms = THRESHOLD_MS
        self._trend = 0.0
        self._over_since_s: float | None = None
        self._at_s: float | None = None

    def packet(self, sent_s: float, arrived_s: float) -> None:
        """The next packet, in the order of sending."""
        delay_s = arrived_s - sent_s
        if delay_s < self._least_s or sent_s > self._part_until_s:
            self._quicker(sent_s, delay_s)
        if arrived_s > self._bin_until_s:
            self._bins.append(delay_s)
            self._bin_until_s = arrived_s + BIN_S
        elif delay_s < self._bins[-1]:
            self._bins[-1] = delay_s
        self.queue_s += (delay_s - self._least_s - self.queue_s) * 0.1
        group = self._group
        if group is None:
            self._group = [sent_s, sent_s, arrived_s, arrived_s]
        elif sent_s - group[0] <= GROUP_S or self._bursts(group, sent_s, arrived_s):
            group[1] = sent_s
            if arrived_s > group[2]:
                group[2] = arrived_s
        else:
            if self._before is not None:
                arrival_s = group[2] - self._before[1]
                self._change((arrival_s - (group[1] - self._before[0])) * 1000, group[2])
            self._before = (group[1], group[2])
            self._group = [sent_s, sent_s, arrived_s, arrived_s]

    @staticmethod
    def _bursts(group: list[float], sent_s: float, arrived_s: float) -> bool:
        after_s = arrived_s - group[2]
        quicker = after_s <= GROUP_S and after_s < sent_s - group[1]
        return quicker and arrived_s - group[3] < MAX_BURST_S

    @property
    def floor_s(self) -> float:
        """How long the quickest packet of the last quarter of a second has waited (as CoDel asks,
        RFC 8289): a receiver that reads late reads some packet on time, a queue lets none pass.
        """
        return min(list(self._bins)[-BINS:]) - self._least_s if self._bins else 0.0

    @property
    def rise_s(self) -> float:
        """How much longer that is than in the quarter before; 0 while there is none."""
        bins = list(self._bins)
        return min(bins[-BINS:]) - min(bins[:-BINS]) if len(bins) > BINS else 0.0

    def rebase(self) -> None:
        """The way has become longer: its quickest packet of late is the quickest there is."""
        self._least_s += self.floor_s
        self._quickest = deque([self._least_s], BASE_PARTS)
        self.queue_s = 0.0

    def restart(self) -> None:
        """What came before says nothing any more."""
        threshold_ms = self._threshold_ms
        self.__init__()  # type: ignore[misc]
        self._threshold_ms = min(threshold_ms, THRESHOLD_MS)

    def _quicker(self, sent_s: float, delay_s: float) -> None:
        """The quickest packet, or a new part of the last minute begins."""
        parts = self._quickest
        if sent_s > self._part_until_s:
            parts.append(delay_s)
            self._part_until_s = sent_s + BASE_PART_S
        parts[-1] = min(parts[-1], delay_s)
        self._least_s = min(parts)

    def _change(self, change_ms: float, arrived_s: float) -> None:
        self._groups = min(self._groups + 1, MAX_TREND_GROUPS)
        self._sum_ms += change_ms
        self._smooth_ms += (self._sum_ms - self._smooth_ms) * (1 - SMOOTHING)
        self._points.append((arrived_s, self._smooth_ms))
        before = self._trend
        if len(self._points) == WINDOW_GROUPS:
            self._trend = _slope(self._points)
        modified_ms = self._groups * self._trend * GAIN
        self.draining = modified_ms < -self._threshold_ms
        if modified_ms > self._threshold_ms:
            if self._over_since_s is None:
                self._over_since_s = arrived_s
            if arrived_s - self._over_since_s >= OVERUSE_S and self._trend >= before:
                self.overused = True
        else:
            self._over_since_s = None
            self.overused = False
        self._adapt(modified_ms, arrived_s)

    def _adapt(self, modified_ms: float, arrived_s: float) -> None:
        """The threshold follows the line's own restlessness (draft, 5.4)."""
        size_ms = abs(modified_ms)
        if self._at_s is not None and size_ms <= self._threshold_ms + 15:
            gain = THRESHOLD_DOWN if size_ms < self._threshold_ms else THRESHOLD_UP
            elapsed_ms = min(100.0, (arrived_s - self._at_s) * 1000)
            moved_ms = self._threshold_ms + gain * (size_ms - self._threshold_ms) * elapsed_ms
            low_ms, high_ms = THRESHOLD_RANGE_MS
            self._threshold_ms = min(high_ms, max(low_ms, moved_ms))
        self._at_s = arrived_s


def _slope(points: deque[tuple[float, float]]) -> float:
    """Least squares, in ms of delay a ms."""
    begin_s, begin_ms = points[0]
    sum_x = sum_y = sum_xx = sum_xy = 0.0
    for x, y in points:
        x -= begin_s
        y -= begin_ms
        sum_x += x
        sum_y += y
        sum_xx += x * x
        sum_xy += x * y
    n = len(points)
    spread = n * sum_xx - sum_x * sum_x
    return (n * sum_xy - sum_x * sum_y) / spread / 1000 if spread > 1e-9 else 0.0
