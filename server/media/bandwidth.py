"""How much one receiver's line carries, in Python; see ``estimator``.

The sender's side of Google's congestion control (draft-ietf-rmcat-gcc-02) over transport-wide
feedback: queues that grow are seen in the trend of delays, full ones in losses; what lies above
the present rate is found out by probes. Two things differ from the draft, since a forwarder sends
what its sources make, not what it may:

* the estimate rises past what is being sent only after a probe has been carried;
* losses that do not fall when the rate does are the line's own, and no reason to go on falling
  (2 % at random on a radio link would else end at the lowest picture).

Pure: times, sizes and reports in; bits per second and the bytes of a probe out.
"""

from __future__ import annotations

from collections import deque

from server.media import flight
from server.media.delays import BIN_S, BINS
from server.media.flight import WINDOW_S, Flight
from server.media.losses import Losses

START_BPS = 1_500_000
MIN_BPS = 60_000
MAX_BPS = 40_000_000

QUEUE_S = 0.025
"""a trend of delays without a queue is noise: a busy machine at either end"""
STANDING_S = 0.15
"""a queue that stands (a full one no longer grows) is overuse as well"""
EMPTY_S = 0.05
SHORT = 0.95
"""a queue is the line's only if less than this share of what is sent comes through meanwhile"""
LONGER_PARTS, LONGER_PART_S, LONGER_WITHIN_S = 3, 1.0, 0.01
"""what all packets of so many parts wait, the same but for so much, is a longer way: a queue
grows or drains"""
LOSSLESS = 0.02
"""and one that is full loses so much more than the line does while there is none"""
CLEAR_WEIGHT = 0.02
"""of a report, in what the line loses without a queue: some five seconds"""

BETA = 0.85
"""what is left of the delivered rate after overuse (draft, 5.5)"""
DRAIN_BETA = 0.7
SPARSE = 0.5
"""who sends less than this share of the estimate learns of a queue only that the line carries less"""
GROWTH_PER_S = 1.08
NEAR_GROWTH_PER_S = 1.02
"""where the line was last found to end"""
HEADROOM = 1.5
HEADROOM_BPS = 30_000
QUEUED_S = 0.25
RTT_WEIGHT = 0.2
SETTLE_S = 0.25
"""after a change, and a round trip, before the next cut"""

SILENCE_S = 1.0
TICK_S = 0.25
"""the longest pause of our own that counts as silence of the receiver"""
LOST_IN_SILENCE = 0.1
"""of the packets that it reports first; more shows that the line was dead"""
PROBE_S = 0.2
PROBE_FACTOR = 1.6
PROBE_AFTER_SUCCESS_S = 0.8
PROBE_ON_S = 0.1
"""at once, where little is sent: from the least there is to a large picture it takes five of them"""
PROBE_AFTER_CUT_S = 1.2
PROBE_AFTER_FAILURE_S = 2.5
PROBE_LATEST_S = 5.0


class Plain:
    """See the module. An ``Estimator``."""

    def __init__(self, now_s: float) -> None:
        self.estimate_bps = START_BPS
        self.delivered_bps = 0
        self.rtt_s = 0.1
        self.reason = "start"
        self.heard = False
        self.silent = False
        self.blind_bps = 0
        self.lost = self.counted = 0
        self.flight: Flight = flight.Plain()
        self._losses = Losses()
        self._cut_at_s = self._ticked_at_s = now_s
        self._unheard = (-1.0, 0.0)
        """since when nothing has been reported, and for how many seconds in which we ran"""
        self._waits_s: deque[float] = deque(maxlen=LONGER_PARTS)
        """the least that packets waited in each part"""
        self._part_until_s = now_s
        self._clear_loss = 0.0
        """the share that the line loses while no queue stands"""
        self.link_bps = MAX_BPS
        self._grown_at_s = now_s
        self._probe: tuple[float, int] | None = None
        """(end, target bit/s) of the probe under way"""
        self._sparse = False
        """was little sent before it?"""
        self._probe_at_s = now_s + 0.3
        self._probe_wait_s = PROBE_AFTER_FAILURE_S

    @property
    def loss(self) -> float:
        """See ``Estimator``."""
        return self._losses.fraction()

    def send(self, size: int, now_s: float) -> int:
        """See ``Estimator``."""
        return self.flight.send(size, now_s)

    # Feedback.

    def report(self, fci: bytes, now_s: float) -> None:
        """See ``Estimator``."""
        if not self.flight.hear(fci, anew=self.silent):
            return
        state = self.flight.state
        if self.silent and state.arrived:
            self._wake(now_s, lost=state.lost > LOST_IN_SILENCE * state.arrived)
        self._losses.report(state.lost, state.total, now_s)
        self.lost += state.lost
        self.counted += state.total
        if state.unheard_since_s < 0 and (state.arrived or self.heard):
            self.delivered_bps = round(state.arrived_bytes * 8 / WINDOW_S)
            self.heard = True
            told_s = now_s - state.newest_sent_s
            self.rtt_s += (told_s - self.rtt_s) * RTT_WEIGHT
        self._decide(now_s)

    def _wake(self, now_s: float, *, lost: bool) -> None:
        """Reports are back. If the line was dead, nothing of before says what it carries now; if
        nothing was lost, only its far end was late.
        """
        self.silent = False
        self._losses.restart()
        self._set(self.estimate_bps // 2 if lost else self.estimate_bps, "start")
        self._cut_at_s = now_s
        self._probe_at_s = now_s + PROBE_AFTER_SUCCESS_S

    # Deciding.

    @property
    def budget_bps(self) -> int:
        """See ``Estimator``."""
        return MIN_BPS if self.silent else self.estimate_bps

    def tick(self, now_s: float) -> None:
        """See ``Estimator``."""
        since_s = self.flight.state.unheard_since_s
        before_s, for_s = self._unheard
        # While this process stood still, reports waited for it.
        for_s += min(now_s - self._ticked_at_s, TICK_S)
        self._unheard = (since_s, for_s if since_s == before_s else 0.0)
        self._ticked_at_s = now_s
        if since_s >= 0 and self._unheard[1] > SILENCE_S + self.rtt_s:
            self.silent = True
            self.reason = "silence"
            self._probe = None

    def _decide(self, now_s: float) -> None:
        state = self.flight.state
        settled = now_s - self._cut_at_s > self.rtt_s + SETTLE_S
        standing = state.floor_s > STANDING_S
        queued = standing or (state.overused and state.floor_s > QUEUE_S)
        if settled and queued and self._falls_short():
            left_bps = round((DRAIN_BETA if standing else BETA) * self._queued_bps())
            if self._probe is None:
                left_bps = min(left_bps, self.estimate_bps)
            self._cut(max(left_bps, self._kept_bps(standing=standing)), "delay", now_s)
        elif settled and self._losses.congested(now_s):
            left_bps = round(0.95 * self.delivered_bps)
            self._cut(min(left_bps, self.estimate_bps), "loss", now_s)
        elif self._probe is not None and now_s > self._probe[0] + self.rtt_s:
            self._probed(now_s)
        elif not state.draining and state.floor_s < EMPTY_S:
            self._grow(now_s)
        self._grown_at_s = now_s
        self._follow_way(now_s)

    def _falls_short(self) -> bool:
        """Does clearly less come through than is sent? What waits ever longer comes through slower
        by as much; a full queue drops the rest.
        """
        kept = (1 - self._losses.fraction()) / (1 - self._clear_loss)
        return kept / (1 + self.flight.state.rise_s / (BINS * BIN_S)) < SHORT

    def _follow_way(self, now_s: float) -> None:
        """Notice a way that has become longer, and stays so."""
        floor_s, waits_s = self.flight.state.floor_s, self._waits_s
        if floor_s < QUEUE_S:
            self._clear_loss += (self.loss - self._clear_loss) * CLEAR_WEIGHT
        elif self._losses.fraction(-1.0) > LOSSLESS + 1.5 * self._clear_loss:
            waits_s.clear()
        if not waits_s or now_s >= self._part_until_s:
            same = len(waits_s) == LONGER_PARTS and max(waits_s) - min(waits_s) < LONGER_WITHIN_S
            if same and min(waits_s) > QUEUE_S:
                self.flight.rebase()
                floor_s = 0.0
            waits_s.append(floor_s)
            self._part_until_s = now_s + LONGER_PART_S
        waits_s[-1] = min(waits_s[-1], floor_s)

    def _queued_bps(self) -> int:
        """What comes through while a queue stands is what the line carries: so the latest is true."""
        late = self.flight.arrived_within(QUEUED_S)
        return min(self.delivered_bps, round(late * 8 / QUEUED_S))

    def _kept_bps(self, *, standing: bool) -> int:
        """What is left at least where a queue is seen: where little is sent, what comes through is that,
        not what the line carries; and its queue may be of a probe alone.
        """
        probing = self._probe is not None
        if not (self._sparse if probing else self._sends_little()):
            return 0
        return round((BETA if probing and not standing else SPARSE) * self.estimate_bps)

    def _sends_little(self) -> bool:
        return self.flight.sent_within(WINDOW_S) * 8 / WINDOW_S < SPARSE * self.estimate_bps

    def _cut(self, bps: int, reason: str, now_s: float) -> None:
        self.link_bps = max(bps, self._queued_bps())
        self._set(bps, reason)
        self._cut_at_s = now_s
        self.flight.count_anew()
        self._losses.restart()
        self._waits_s.clear()
        self._probe_at_s = now_s + PROBE_AFTER_CUT_S
        if self._probe is not None:
            self._probe = None
            self._probe_at_s = now_s + self._probe_wait_s
            self._probe_wait_s = min(PROBE_LATEST_S, self._probe_wait_s * 1.5)

    def _grow(self, now_s: float) -> None:
        elapsed_s = min(0.5, now_s - self._grown_at_s)
        near = self.estimate_bps > BETA * self.link_bps
        grown_bps = self.estimate_bps * (NEAR_GROWTH_PER_S if near else GROWTH_PER_S) ** elapsed_s
        ceiling_bps = max(self.blind_bps, HEADROOM * self.delivered_bps + HEADROOM_BPS)
        if min(grown_bps, ceiling_bps) > self.estimate_bps:
            self._set(round(min(grown_bps, ceiling_bps)), "growth")

    def _set(self, bps: int, reason: str) -> None:
        self.estimate_bps = max(MIN_BPS, min(MAX_BPS, bps))
        self.reason = reason

    # Probing.

    def probe(self, wanted_bps: int, now_s: float) -> int:
        """See ``Estimator``."""
        if self._probe is not None:
            end_s, target_bps = self._probe
            return target_bps if now_s < end_s else 0
        state = self.flight.state
        quiet = not (self.silent or state.overused or state.floor_s > EMPTY_S)
        if wanted_bps <= self.estimate_bps or now_s < self._probe_at_s or not quiet:
            return 0
        now_bps = max(self.estimate_bps, self.delivered_bps)
        target_bps = min(round(now_bps * PROBE_FACTOR), round(wanted_bps * 1.1), MAX_BPS)
        self._probe = (now_s + PROBE_S, target_bps)
        self._sparse = self._sends_little()
        return target_bps

    def _probed(self, now_s: float) -> None:
        """The probe has ended: if no queue has grown, the line carries what it delivered."""
        assert self._probe is not None
        target_bps = self._probe[1]
        self._probe = None
        if self.flight.state.overused and self.flight.state.queue_s > QUEUE_S:
            # What has come through nevertheless is what the line carries.
            self._set(max(self.estimate_bps, round(BETA * self._queued_bps())), "probe")
            self._probe_at_s = now_s + self._probe_wait_s
            self._probe_wait_s = min(PROBE_LATEST_S, self._probe_wait_s * 1.5)
            return
        if not self._losses.excessive(now_s) and target_bps > self.estimate_bps:
            self._set(target_bps, "probe")
            if target_bps > 1.2 * self.link_bps:
                self.link_bps = MAX_BPS
        self._probe_wait_s = PROBE_AFTER_FAILURE_S
        self._probe_at_s = now_s + (PROBE_ON_S if self._sparse else PROBE_AFTER_SUCCESS_S)
