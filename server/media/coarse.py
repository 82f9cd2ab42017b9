"""What a line carries, as far as a player tells who has no transport-wide feedback: ``Coarse``.

From receiver reports (RFC 3550, 6.4) it learns of losses and the round trip, from REMB
(draft-alvestrand-rmcat-remb) of a rate that its receiver wants. Nothing is known, and nothing is
withheld, until one of them shows that too much is sent. From then on it is the loss-based part of
draft-ietf-rmcat-gcc-02 (6), and what lies above is found out by trying. Pure.
"""

from __future__ import annotations

from server.media.losses import Losses
from server.media.rtcp import ReportBlock

MIN_BPS = 60_000
SETTLE_S = 3.0
"""after a change, before the next cut: reports come once in a second or two, and a smaller layer
begins with a keyframe"""
BETA = 0.9
"""what is left of the delivered rate"""
GROWTH_PER_S = 1.06
NEAR_GROWTH_PER_S = 1.02
"""up to a little beyond where the line was last found to end"""
MAX_ELAPSED_S = 5.0
MAX_EXPECTED = 30_000
"""packets in one report; more is another stream, or nonsense"""
RTT_WEIGHT = 0.3
MAX_RTT_S = 10.0


class Coarse:
    """See the module. One for each receiving transport."""

    def __init__(self) -> None:
        self.estimate_bps = 0
        """0 while nothing is known"""
        self.rtt_s = 0.1
        self.reason = "start"
        """of the last change: start, growth, loss or remb"""
        self._losses = Losses()
        self._before: dict[int, tuple[int, int]] = {}
        """SSRC → (highest number, lost in all) of its last report"""
        self.link_bps = 0
        """where the line was last found to end"""
        self._cut_at_s = float("-inf")
        self._grown_at_s = 0.0

    @property
    def heard(self) -> bool:
        """Has it been shown that too much was sent?"""
        return self.estimate_bps > 0

    @property
    def budget_bps(self) -> int:
        """What may be sent now, if anything is known."""
        return self.estimate_bps

    @property
    def told(self) -> bool:
        """Has any report come?"""
        return bool(self._before)

    @property
    def loss(self) -> float:
        """The share of packets that did not come of late, 0 to 1."""
        return self._losses.fraction()

    def report(
        self, block: ReportBlock, ntp_middle: int, sent_bps: float, wanted_bps: float, now_s: float
    ) -> None:
        """A report on a stream of ours. ``ntp_middle``: now, as in our sender reports (the middle 32
        bits); ``sent_bps``: what was sent of late, ``wanted_bps``: what the receiver could use.
        """
        if block.last_sr:
            rtt_s = ((ntp_middle - block.last_sr - block.delay_since_last_sr) & 0xFFFFFFFF) / 65536
            if rtt_s < MAX_RTT_S:
                self.rtt_s += (rtt_s - self.rtt_s) * RTT_WEIGHT
        highest, lost = self._before.get(block.ssrc, (block.highest, block.lost))
        self._before[block.ssrc] = (block.highest, block.lost)
        expected = (block.highest - highest) & 0xFFFFFFFF
        if not 0 < expected <= MAX_EXPECTED:
            return
        self._losses.report(min(max(0, block.lost - lost), expected), expected, now_s)
        if now_s - self._cut_at_s >= SETTLE_S and self._losses.congested(now_s):
            self._cut(BETA * sent_bps * (1 - self._losses.fraction()), "loss", now_s)
        elif self.heard and not self._losses.excessive(now_s):
            self._grow(wanted_bps, now_s)

    def limit(self, remb_bps: int, sent_bps: float, now_s: float) -> None:
        """The receiver wants no more than this. It says so all the time, and never much more than
        it gets: it only counts where that is less than what is sent.
        """
        if remb_bps < sent_bps and now_s - self._cut_at_s >= SETTLE_S:
            self._cut(remb_bps, "remb", now_s)

    def _cut(self, bps: float, reason: str, now_s: float) -> None:
        before_bps = self.estimate_bps or round(bps)
        self.estimate_bps = max(MIN_BPS, min(before_bps, round(bps)))
        self.reason = reason
        self.link_bps = self.estimate_bps
        self._cut_at_s = self._grown_at_s = now_s
        self._losses.restart()

    def _grow(self, wanted_bps: float, now_s: float) -> None:
        elapsed_s = min(MAX_ELAPSED_S, now_s - self._grown_at_s)
        self._grown_at_s = now_s
        near = self.estimate_bps < 1.5 * self.link_bps
        grown_bps = self.estimate_bps * (NEAR_GROWTH_PER_S if near else GROWTH_PER_S) ** elapsed_s
        if self.estimate_bps < wanted_bps:
            self.estimate_bps, self.reason = round(grown_bps), "growth"
