"""One receiving transport's line: what it carries, and the way of single packets.

Each packet of it gets a transport-wide number of one estimator: here, or on a lane (``sending``)
that this made. Here the receiver's feedback arrives and probes are paced. ``budget_bps`` is what
the line may carry, which ``allocation.allocate`` spends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from server.media import rtcp, rtp
from server.media.coarse import Coarse
from server.media.estimator import Compiled, Estimator, estimator
from server.media.limits import Allowance
from server.media.listening import Ear
from server.media.pacing import Pacer
from server.media.peer import Peer
from server.media.sending import Lane
from server.media.timeline import WALL_OFFSET_S, ntp

UNLIMITED_BPS = 100_000_000
"""the budget of a line that nothing is known of"""
REPORTS_PER_S, REPORTS_BURST = 50, 50
"""browsers send 4 to 20 a second; more than this is not read"""
LOSSY, LOSSY_S, FULL_S = 0.01, 10.0, 0.15
"""a share of losses from which, and for so long, sound is sent twice; packets that wait longer than
``FULL_S`` show that what is sent is too much already"""
FULL_FOR_S = 3.0
"""what looks like a queue for longer is another, longer way"""
RATE_S = 1.0
"""the rate sent is measured over so long"""
PACE_S = 0.01
"""between bursts of a probe, and of what waits: a longer pause would make queues of its own"""
AMPLE, AMPLE_BPS = 2.5, 3_000_000
"""a line that carries so many times what is sent, or so much, carries keyframes at once. Waiting costs
a call for each packet, so that a worker that is too busy must not take wide lines for narrow ones"""


class Downlink:
    """Sends to one peer.

    Without transport-wide feedback (it was not agreed on, or none ever comes) only receiver reports
    and REMB tell: the budget is unlimited until they show that too much is sent.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.estimator: Estimator | None = None
        self._ear: Ear | None = None
        self._coarse = Coarse()
        self.settle: Callable[[], None] = lambda: None
        """what is counted elsewhere becomes counted here"""
        self.on_fall: Callable[[float], None] = lambda now_s: None
        """a report that ``receive`` was not given has lowered the budget"""
        self._octets = self._beside = 0
        """and of these, those that the estimator does not know of"""
        self.padding = 0
        """of these, those that only probed"""
        self.full = False
        """does a queue stand? Nothing is repeated then"""
        self.lossy = False
        """is sound worth sending twice?"""
        self._lossy_until_s = self._free_at_s = float("-inf")
        self._reports = Allowance(REPORTS_PER_S, REPORTS_BURST)
        self._probe: asyncio.TimerHandle | None = None
        self._wanted_bps = 0
        self._sent = (0, time.monotonic(), 0.0)
        """octets sent and when they were counted, and the rate until then, which reports without
        transport-wide feedback are weighed with"""
        self._told = (0, 0)
        """packets lost and counted when that was last asked"""
        self._pad: Callable[[float], None] = lambda now_s: None
        self.narrow = False
        """do pictures wait for their turn? They do where the line has been found to end, and near"""
        self.pacer: Pacer[Callable[[float], None]] = Pacer()
        """what waits, each sends one packet"""
        self._pacing: asyncio.TimerHandle | None = None
        self._passed = 0
        """octets that the pacer knows of"""

    @property
    def octets(self) -> int:
        """Sent so far: headers and payloads, without what SRTP and IP add."""
        self.settle()
        return self._octets

    def count(self, head: rtp.Head, octets: int) -> None:
        """So many were sent on a lane under ``head``."""
        self._octets += octets
        if self.estimator is not None and not head.transport_at:
            self._beside += octets

    def measure(self) -> None:
        """The remote side has agreed to tell what arrives."""
        if self.estimator is None:
            self.estimator = estimator(time.monotonic())
            if isinstance(self.estimator, Compiled):
                self._ear = Ear(self.estimator, lambda now_s: self.on_fall(now_s))
                self.peer.listen(self._ear)

    @property
    def known(self) -> Estimator | Coarse | None:
        """What knows anything: an estimator that has never heard of its packets does not."""
        estimator = self.estimator
        if estimator is None or (estimator.silent and not estimator.heard):
            return self._coarse if self._coarse.heard else None
        return estimator

    def take_loss(self) -> float | None:
        """The share of packets that did not arrive since this was last asked, 0 to 1; None where
        nobody tells."""
        estimator = self.estimator
        if estimator is None or not estimator.heard:
            return self._coarse.loss if self._coarse.told else None
        (lost, counted), self._told = self._told, (estimator.lost, estimator.counted)
        due = estimator.counted - counted
        return min(1.0, max(0, estimator.lost - lost) / due) if due > 0 else None

    @property
    def untried(self) -> bool:
        """Is the budget a guess, since nothing has been reported yet?"""
        return self.estimator is not None and not self.estimator.heard

    @property
    def silent(self) -> bool:
        """Has the receiver told nothing for a while, as over a line that is dead?"""
        return self.estimator is not None and self.estimator.silent

    @property
    def budget_bps(self) -> int:
        """What may be sent now."""
        known = self.known
        return known.budget_bps if known is not None else UNLIMITED_BPS

    def send(self, head: rtp.Head, payload: bytes | memoryview, now_s: float) -> None:
        """Send one packet now."""
        self.peer.flush()
        size = len(head.data) + len(payload)
        if head.transport_at and self.estimator is not None:
            head.write_transport(self.estimator.send(size, now_s))
        self.count(head, size)
        self.peer.send_rtp(head.data, payload)

    def post(self, send: Callable[[float], None], octets: int, *, key: bool) -> None:
        """``send`` one packet of a picture when its turn comes, the latest with ``release``."""
        self.pacer.put(send, octets, key=key)
        if self._pacing is None:
            self._pacing = asyncio.get_running_loop().call_later(PACE_S, self.release)

    def release(self) -> None:
        """What waits and is due goes; all of it where the line is no longer narrow."""
        now_s = time.monotonic()
        octets = self.octets - self._beside
        self.pacer.refill(self.budget_bps, octets - self._passed, now_s)
        self._passed = octets
        while self.pacer.due or not (self.narrow or self.pacer.empty):
            self._take(now_s)
        if self._pacing is not None:
            self._pacing.cancel()
            self._pacing = None
        if not self.pacer.empty:
            self._pacing = asyncio.get_running_loop().call_later(PACE_S, self.release)

    def _take(self, now_s: float) -> None:
        before = self._octets
        self.pacer.take()(now_s)
        self._passed += self._octets - before

    def lane(self, head: rtp.Head, payload_type: int, number: int, timestamp: int) -> Lane | None:
        """A way for bursts, which are sent by ``Peer.forward``; None where there is none."""
        known = self.estimator is not None and head.transport_at
        flight = self.estimator.flight if self.estimator is not None and known else None
        return self.peer.lane(head, payload_type, number, timestamp, flight)

    def take_heard(self) -> int:
        """Packets of the receiver's that ``Peer.on_rtcp`` was not given, since this was last asked."""
        return self._ear.take_count() if self._ear is not None else 0

    def receive(self, fci: bytes, now_s: float) -> None:
        """A report of what has arrived."""
        if self.estimator is None or not self._reports.take(1, now_s):
            return
        self.estimator.report(fci, now_s)

    def tell(self, item: rtcp.ReportBlock | rtcp.Remb, now_s: float) -> None:
        """A receiver report on a stream of ours, or REMB: of use where there is nothing better."""
        told = self.estimator is not None and self.estimator.heard
        if told or not self._reports.take(1, now_s):
            return
        sent_bps = self._sent[2]
        if isinstance(item, rtcp.Remb):
            self._coarse.limit(item.bitrate_bps, sent_bps, now_s)
        else:
            middle = ntp(now_s + WALL_OFFSET_S) >> 16 & 0xFFFFFFFF
            self._coarse.report(item, middle, sent_bps, self._wanted_bps, now_s)
        if self._coarse.loss > LOSSY:
            self._lossy_until_s = now_s + LOSSY_S
        self.lossy = now_s < self._lossy_until_s

    def tick(
        self,
        now_s: float,
        wanted_bps: int,
        spent_bps: int,
        pad: Callable[[float], None] | None,
    ) -> None:
        """Every 100 or 200 ms. ``wanted_bps``: what the receiver could use; ``spent_bps``: what it is
        meant to get; ``pad`` sends one packet of padding, None where there is nothing to pad with.
        """
        self._wanted_bps = wanted_bps
        self._narrow(min(AMPLE * spent_bps, AMPLE_BPS))
        estimator = self.estimator
        before, at_s, _ = self._sent
        if now_s - at_s >= RATE_S and not (estimator is not None and estimator.heard):
            octets = self.octets
            self._sent = (octets, now_s, (octets - before) * 8 / (now_s - at_s))
        if estimator is None:
            return
        estimator.tick(now_s)
        self._judge(estimator, now_s)
        # Who cannot probe finds out by trying: slowly, and by a picture that may stutter.
        estimator.blind_bps = 0 if pad is not None else wanted_bps
        if pad is not None and self._probe is None and estimator.heard:
            target_bps = estimator.probe(wanted_bps, now_s)
            if target_bps:
                self._pad = pad
                self._fill(now_s, self.octets)

    def _narrow(self, ample_bps: float) -> None:
        known = self.known
        # What reports of losses alone tell is too coarse: after a line that was dead for a moment they
        # would have a picture stand that could go on.
        if known is None or isinstance(known, Coarse) or known.estimate_bps >= ample_bps:
            self.narrow = False
        elif known.link_bps < ample_bps:
            self.narrow = True
        if not (self.narrow or self.pacer.empty):
            self.release()

    def _judge(self, estimator: Estimator, now_s: float) -> None:
        queued = estimator.flight.state.queue_s > FULL_S
        if not queued:
            self._free_at_s = now_s
        self.full = queued and now_s - self._free_at_s < FULL_FOR_S
        if estimator.loss > LOSSY and not queued:
            self._lossy_until_s = now_s + LOSSY_S
        self.lossy = now_s < self._lossy_until_s and not queued

    def _fill(self, begin_s: float, octets: int) -> None:
        """Keep the probe's rate, media included, until its end."""
        self._probe = None
        now_s = time.monotonic()
        target_bps = self.estimator.probe(self._wanted_bps, now_s) if self.estimator else 0
        if not target_bps or not self.peer.connected:
            return
        missing = target_bps * (now_s - begin_s + PACE_S) / 8 - (self.octets - octets)
        while missing > 0:
            before = self._octets
            if not self.pacer.empty:
                self._take(now_s)
            else:
                self._pad(now_s)
                self.padding += self._octets - before
            if self._octets == before:
                break  # nothing to pad with any more
            missing -= self._octets - before
        loop = asyncio.get_running_loop()
        self._probe = loop.call_later(PACE_S, self._fill, begin_s, octets)

    def close(self) -> None:
        """Probe no more, and forget what waits."""
        for timer in (self._probe, self._pacing):
            if timer is not None:
                timer.cancel()
        self._probe = self._pacing = None
        self.pacer = Pacer()
