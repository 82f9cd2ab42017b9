"""Who receives: a peer with ``Output`` streams that can show one track after another.

A ``Receiver`` is a page with slots that this server offered; a ``Watcher`` is a WHEP player that
offered itself.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence, Set

from server.media import layers, messages, rtcp
from server.media.allocation import UP_MARGIN, Priority
from server.media.downlink import Downlink
from server.media.limits import PLEA, Asking
from server.media.negotiation import Line, Sources
from server.media.output import REPORT_S, Output
from server.media.peer import Peer
from server.media.rota import Rota
from server.media.selection import Choice, Slot, select
from server.media.switching import Switch
from server.media.track import Track

log = logging.getLogger(__name__)

TILE_PX, WHOLE_PX = 180, 1080
"""how high tiles and whole pictures are taken to be by those who do not tell"""
MAX_NACKED = 200
"""numbers of one NACK that are looked at"""
UNIT_BYTES = 64
"""of RTCP count as much as one such number: there are two or three report blocks in them"""
SOUND_BPS = 50_000
"""of the line's budget, kept for each voice: Opus as browsers send it, and its headers"""
CONTENT_S = 5.0
"""who gets all that its sizes are worth is looked at so often, a quarter more or less so that not
all are at once; else twice a second"""
CALM_S = 0.15
"""and its line at every other beat of 100 ms"""
REPORTS_A_PACKET = 10
REDUCED_S = 3.0
"""a picture that is smaller for so long is told of"""


TOLD_S = 60.0
"""how soon the log tells again of who asks too much; what it gets is bounded elsewhere"""


class Subscriber:
    """A peer that receives."""

    def __init__(self, holder: str, peer: Peer, lines: Sequence[Line]) -> None:
        self.session = secrets.token_urlsafe(12)
        self.holder = holder
        self.peer = peer
        self.downlink = Downlink(peer)
        self.lines = list(lines)
        self.created_at_s = time.monotonic()
        self.origin = secrets.randbits(62)
        """session id of our descriptions; it and a growing version mark them as successive"""
        self.version = 1
        self.changed = True
        """has something to tell about what it shows"""
        self.outputs: dict[str, Output] = {}
        self._waiting: set[Switch] = set()
        """of these, who waits for a keyframe"""
        self.sources: dict[str, Sources] = {}
        """mid → SSRCs of our streams"""
        self.choices: Mapping[str, Choice] = {}
        """mid → what pictures are meant to get"""
        self._reasons: dict[str, str] = {}
        """the same: why it is no better"""
        self._budget_bps = self._spent_bps = self._wanted_bps = 0
        """of the last choice: the line's budget, what it took of it, what it could use"""
        self._content = False
        """had every slot what its size is worth, and from the layer that was meant?"""
        self._rests_until_s = self._looked_at_s = float("-inf")
        self._unreported: set[Output] = set()
        """of these, whose time stamps lie elsewhere than was told"""
        self._padding: Output | None = None
        """whichever could pad when that was last wished for"""
        self._reduced_since_s: float | None = None
        self._told = (0, 0.0)
        """octets and time of the last description"""
        self._wanted: Mapping[str, Track | None] = {}
        self._floor: Collection[str] = ()
        self.heights_px: dict[str, int] = {}
        """mid → how high a page shows it, 0: not at all; where it does not tell, see ``shown_px``"""
        # 31 bits: some stacks read SSRCs as signed. No two are the same: all are under one key.
        ssrcs = random.sample(range(1, 1 << 31), 2 * len(lines))
        for line, media, rtx in zip(lines, ssrcs[::2], ssrcs[1::2], strict=True):
            sources = Sources(media, rtx)
            self.sources[line.mid] = sources
            self.outputs[line.mid] = output = Output(self.downlink, line, sources)
            output.on_change = self._changed
            output.waiting = self._waiting
            output.unreported = self._unreported
        self._rota = Rota(list(self.outputs.values()), REPORT_S, REPORTS_A_PACKET)
        self._asks = Asking(sum(line.kind == "video" for line in lines), len(lines))
        self._told_greedy_s = float("-inf")
        self._by_ssrc = {output.ssrc: output for output in self.outputs.values()}
        peer.on_rtcp = self._receive_rtcp
        peer.on_rtp = self._receive_rtp
        peer.on_restarted = self._restarted
        peer.on_moved = self._moved
        self.downlink.settle = self._settle
        self.downlink.on_fall = self._shed

    def assign(
        self, wanted: Mapping[str, Track | None], floor: Collection[str], now_s: float
    ) -> None:
        """Show these tracks (by mid) from now on; ``floor`` are the sources that hold it."""
        if wanted == self._wanted and floor == self._floor:
            return
        self._wanted = wanted
        self._floor = floor
        self.choose(now_s)

    @property
    def packets(self) -> int:
        """Packets that were sent, without repeated ones."""
        return sum(output.packets for output in self.outputs.values())

    def shows(self, track: Track) -> bool:
        """Is this track shown, or to be shown, in any slot?"""
        return any(wanted is track for wanted in self._wanted.values())

    def review(self, turned: Set[Track], now_s: float) -> None:
        """Twice a second. ``turned``: tracks of which a layer came, went or has another size."""
        rests = self._content and now_s < self._rests_until_s
        fell = self.downlink.budget_bps < self._budget_bps
        if fell or not rests or not turned.isdisjoint(self._wanted.values()):
            self.choose(now_s)

    def choose(self, now_s: float) -> None:
        """Give every slot the layer that its size and the line are worth."""
        self._rests_until_s = now_s + CONTENT_S * random.uniform(0.75, 1.25)
        slots = {}
        voices = 0
        for mid, output in self.outputs.items():
            track = self._wanted.get(mid)
            if track is None or not output.plays(track):
                output.want(None, now_s)
            elif track.kind == "audio":
                output.want(track.layers[0], now_s)
                voices += 1
            else:
                current = output.current(track)
                slots[mid] = Slot(track, self._priority(mid, track), self.shown_px(mid), current)
        self._budget_bps = self.downlink.budget_bps
        sound_bps = voices * SOUND_BPS
        pictures_bps = self._budget_bps - sound_bps
        self.choices = select(slots, pictures_bps, now_s, untried=self.downlink.untried)
        for mid, choice in self.choices.items():
            self.outputs[mid].want(choice.layer, now_s)
        self._spent_bps = sound_bps + sum(c.bitrate_bps for c in self.choices.values())
        worth_bps = sum(c.worth_bps for c in self.choices.values())
        self._wanted_bps = round(sound_bps + UP_MARGIN * worth_bps)
        self._reasons = reasons = {
            mid: "line" if self.outputs[mid].thinned(now_s) else choice.reason
            for mid, choice in self.choices.items()
        }
        self._content = set(reasons.values()) <= {"size"} and not self._waiting
        if "line" not in reasons.values() or self.downlink.silent:  # what is dead is not narrow
            self._reduced_since_s = None
        elif self._reduced_since_s is None:
            self._reduced_since_s = now_s

    def reduced(self, now_s: float) -> bool:
        """Has the line made a picture smaller for some time?"""
        since_s = self._reduced_since_s
        return since_s is not None and now_s - since_s >= REDUCED_S

    def _priority(self, mid: str, track: Track) -> Priority:
        if not mid.startswith("wall"):
            return Priority.PRESENTATION if mid == "presentation" else Priority.STAGE
        return Priority.FLOOR if track.publication.source in self._floor else Priority.WALL

    def shown(self, heights_px: Mapping[str, int]) -> None:
        """A page shows its slots so high."""
        before = self.heights_px
        self.heights_px = {
            mid: layers.steady_px(before.get(mid, 0), px)
            for mid, px in heights_px.items()
            if mid in self.outputs
        }

    def shown_px(self, mid: str) -> int:
        """How high this slot is shown."""
        usual_px = TILE_PX if mid.startswith("wall") else WHOLE_PX
        return self.heights_px.get(mid, usual_px)

    def agree(self, lines: Sequence[Line | None]) -> None:
        """The remote side accepts these of our streams."""
        for line in lines:
            if line is not None:
                self.outputs[line.mid].agree(line)

    def _changed(self) -> None:
        self.changed = True

    def _restarted(self) -> None:
        """Packets were lost with the old line: what is shown needs keyframes."""
        for output in self.outputs.values():
            output.request_keyframe()

    def _moved(self) -> None:
        """What was made for the old path leads nowhere."""
        for output in self.outputs.values():
            output.forget_lane()

    def _settle(self) -> None:
        for output in self.outputs.values():
            output.settle()

    def _receive_rtp(self, packet: memoryview, now_s: float) -> None:
        """It has nothing to send."""
        self._ask(1, now_s)

    def _receive_rtcp(self, packet: memoryview) -> None:
        now_s = time.monotonic()
        honest = self._ask(1 + len(packet) // UNIT_BYTES, now_s)
        fci = rtcp.transport_wide(packet)
        if fci is not None:
            self._hear(fci, now_s)
        elif honest:
            for item in rtcp.parse(packet):
                self._take(item, now_s)

    def _take(self, item: rtcp.Item, now_s: float) -> None:
        if isinstance(item, rtcp.Congestion):
            self._hear(item.fci, now_s)
            return
        if isinstance(item, rtcp.Remb):
            self.downlink.tell(item, now_s)
            return
        output = self._by_ssrc.get(item.ssrc)
        if isinstance(item, rtcp.Nack):
            count = len(item.sequences)
            honest = self._asks.repeat(count, lambda: self.packets, now_s)
            if self._judge(honest, now_s) and output is not None:
                output.retransmit(item.sequences[:MAX_NACKED], now_s)
        elif output is None:
            return
        elif isinstance(item, rtcp.ReportBlock):
            self.downlink.tell(item, now_s)
        elif isinstance(item, rtcp.KeyframeRequest) and self._ask(PLEA, now_s):
            output.plead(now_s)

    def _hear(self, fci: bytes, now_s: float) -> None:
        self.downlink.receive(fci, now_s)
        self._shed(now_s)

    def _ask(self, units: int, now_s: float) -> bool:
        """Is it honest that it asks for so much?"""
        return self._judge(self._asks.take(units, now_s), now_s)

    def _judge(self, honest: bool, now_s: float) -> bool:
        """Who is not is told of, and not read until it asks for less: reading is work."""
        if not honest and now_s - self._told_greedy_s > TOLD_S:
            self._told_greedy_s = now_s
            log.warning("asks too much: holder=%s limit_per_s=%d", self.holder, self._asks.per_s)
        return honest

    @property
    def calm(self) -> bool:
        """Has it all that it is worth, and waits for nothing?"""
        return self._content and not self._waiting and not self._unreported

    def tick(self, now_s: float) -> None:
        """Every 100 ms, or 200 where all are calm."""
        if self.calm and now_s - self._looked_at_s < CALM_S:
            return
        self._looked_at_s = now_s
        self._ask(self.downlink.take_heard(), now_s)
        self.downlink.tick(now_s, self._wanted_bps, self._spent_bps, self._pad())
        self._shed(now_s)
        for waiting in tuple(self._waiting):
            waiting.tick(now_s)
        lossy = self.downlink.lossy
        for output in self.outputs.values() if lossy or self.downlink.narrow else ():
            if output.paced or output.doubles:
                output.leave_fan()  # its pictures wait, or some of it goes twice; others' do not
        self._send_reports(now_s)

    def _pad(self) -> Callable[[float], None] | None:
        """What sends padding, None while nothing can."""
        padding = self._padding
        if padding is None or not padding.can_pad:
            pictures = (output for output in self.outputs.values() if output.kind == "video")
            padding = self._padding = next((each for each in pictures if each.can_pad), None)
        return padding.pad if padding is not None else None

    def _shed(self, now_s: float) -> None:
        """Down at once, up by the beat."""
        if self.downlink.budget_bps < min(self._budget_bps, self._spent_bps):
            self.choose(now_s)

    def describe(self, now_s: float) -> messages.Downlink:
        """How its line is, and what each slot gets of it. Rates are those since the last time."""
        downlink = self.downlink
        (octets, at_s), self._told = self._told, (downlink.octets, now_s)
        sent_bps = (downlink.octets - octets) * 8 / max(0.1, now_s - at_s)
        known = downlink.known
        return messages.Downlink(
            holder=self.holder,
            sent_bps=round(sent_bps),
            carries_bps=known.estimate_bps if known is not None else None,
            budget_bps=downlink.budget_bps if known is not None else None,
            rtt_ms=round(known.rtt_s * 1000) if known is not None else None,
            loss=downlink.take_loss(),
            reason=known.reason if known is not None else "unknown",
            reduced=self.reduced(now_s),
            narrow=downlink.narrow,
            slots={
                mid: messages.Slot(
                    self._flowing_px(mid, now_s),
                    choice.worth_px,
                    choice.bitrate_bps,
                    self._reasons[mid],
                )
                for mid, choice in self.choices.items()
            },
        )

    def _flowing_px(self, mid: str, now_s: float) -> int:
        """How high the picture is that a slot gets now, whatever it was meant to get; 0 for none."""
        shown, track = self.outputs[mid].shown, self._wanted.get(mid)
        flows = shown is not None and shown.track is track and shown.alive(now_s)
        return shown.height_px if shown is not None and flows else 0

    def _send_reports(self, now_s: float) -> None:
        """Sender reports on what is new and on those whose turn it is, a few to a packet."""
        if not self.peer.connected:
            return
        due = self._unreported.union(self._rota.take(now_s))
        reports = [report for output in due if (report := output.report(now_s))]
        for start in range(0, len(reports), REPORTS_A_PACKET):
            self.peer.send_rtcp(b"".join(reports[start : start + REPORTS_A_PACKET]))

    def close(self) -> None:
        """Take nothing any more and say goodbye."""
        self.downlink.close()
        for output in self.outputs.values():
            output.close()
        self.peer.close()


class Receiver(Subscriber):
    """A page with slots."""

    @property
    def slots(self) -> dict[str, str | None]:
        """mid → source shown."""
        return {mid: output.source for mid, output in self.outputs.items()}


class Watcher(Subscriber):
    """A WHEP player of ``source``: ``stage``, ``screen`` or a publication's name."""

    def __init__(self, source: str, holder: str, peer: Peer, answer: Sequence[Line | None]) -> None:
        super().__init__(holder, peer, [line for line in answer if line is not None])
        self.source = source
        self.offer = ""
        """its latest"""
        self.answer = list(answer)
        """with None for each section that was rejected"""
