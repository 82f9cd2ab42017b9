"""What one subscriber gets: ``Output`` streams that can show one track after another.

A ``Receiver`` is a page with slots that this server offered; a ``Watcher`` is a WHEP player that
offered itself.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from server.media import rtcp, rtp, rtx
from server.media.allocation import Priority
from server.media.downlink import Downlink
from server.media.limits import Allowance, Repairs
from server.media.negotiation import Line, Sources, normal_name
from server.media.peer import Peer
from server.media.publication import CNAME
from server.media.rewrite import Part
from server.media.selection import Slot, select
from server.media.switching import Switch
from server.media.timeline import ntp
from server.media.track import Layer, Track

TILE_PX, WHOLE_PX = 180, 1080
"""how high tiles and whole pictures are taken to be by those who do not tell"""
PLEAS_PER_S, PLEAS_BURST = 0.5, 5
"""keyframes that one stream of one subscriber may ask for"""
MAX_NACKED = 200
"""numbers of one NACK that are looked at"""
WALL_OFFSET_S = time.time() - time.monotonic()
"""sender reports count from here: the wall clock may be set, this one goes on evenly"""


class Output(Switch):
    """One outgoing stream with a fixed SSRC."""

    def __init__(self, downlink: Downlink, line: Line, sources: Sources) -> None:
        super().__init__(line.codecs[0].clock_rate_hz)
        self.downlink = downlink
        self.mid = line.mid
        self.kind = line.kind
        self.ssrc = sources.media
        self.payload_types: dict[str, int] = {}
        """codec → payload type; nothing until the remote side has agreed"""
        self._sources = sources
        self._rtx_payload_types: dict[str, int] = {}
        self._head = rtp.Head(sources.media)
        self._rtx_head = rtp.Head(sources.rtx)
        self._rtx_sequence = random.randrange(1, 0x7FFF)
        self._repairs = Repairs()
        self._pleas = Allowance(PLEAS_PER_S, PLEAS_BURST)
        self._packets = 0
        self._octets = 0

    def agree(self, line: Line) -> None:
        """The remote side accepts these codecs and extensions."""
        self.payload_types = {normal_name(c) or "": c.payload_type for c in line.codecs}
        self._rtx_payload_types = {
            codec: line.rtx[number]
            for codec, number in self.payload_types.items()
            if number in line.rtx
        }
        mid_id = line.extensions.get(rtp.MID_URI)
        mid = [(mid_id, self.mid.encode())] if mid_id and len(self.mid) <= 16 else []
        transport_id = line.extensions.get(rtp.TRANSPORT_CC_URI, 0)
        self._head = rtp.Head(self._sources.media, mid, transport_id)
        self._rtx_head = rtp.Head(self._sources.rtx, mid, transport_id)

    @property
    def ready(self) -> bool:
        """Is the peer connected?"""
        return self.downlink.peer.connected

    def plays(self, track: Track) -> bool:
        """Has the remote side agreed to this track's codec?"""
        return track.codec in self.payload_types

    def deliver(
        self,
        part: Part[Layer],
        header: rtp.Header,
        packet: bytes,
        sequence: int,
        timestamp: int,
        now_s: float,
        *,
        newest: bool,
    ) -> None:
        """To the peer."""
        self._head.write(
            padding=bool(packet[0] & 0x20),
            marker=header.marker,
            payload_type=self.payload_types[part.origin.track.codec],
            sequence=sequence,
            timestamp=timestamp,
        )
        payload: bytes | memoryview = memoryview(packet)[header.payload_start :]
        if part.counters is not None:
            payload = self.continuity.moved(payload, part.counters, newest=newest)
        self.downlink.send(self._head, payload, now_s)
        self._repairs.sent()
        self._packets += 1
        self._octets += header.payload_end - header.payload_start

    def retransmit(self, sequences: Iterable[int], now_s: float) -> None:
        """Answer a NACK (RFC 4585) from the layers' histories."""
        for sequence in sequences:
            found = self.rewriter.origin(sequence)
            if found is None:
                continue
            part, number = found
            packet = part.origin.history.get(number)
            header = rtp.parse(packet) if packet is not None else None
            if packet is None or header is None or not self._repairs.allows(sequence, now_s):
                continue
            self._repeat(part, header, packet, sequence, now_s)

    def _repeat(
        self, part: Part[Layer], header: rtp.Header, packet: bytes, sequence: int, now_s: float
    ) -> None:
        """One packet again: in a stream of its own (RFC 4588), else in the same."""
        codec = part.origin.track.codec
        timestamp = part.timestamp(header.timestamp)
        payload: bytes | memoryview = memoryview(packet)[header.payload_start : header.payload_end]
        if part.counters is not None:
            payload = self.continuity.moved(payload, part.counters, newest=False)
        head, number = self._head, sequence
        payload_type = self._rtx_payload_types.get(codec, self.payload_types[codec])
        if codec in self._rtx_payload_types:
            head = self._rtx_head
            number = self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
            payload = rtx.payload(sequence, payload)
        head.write(
            padding=False,
            marker=header.marker,
            payload_type=payload_type,
            sequence=number,
            timestamp=timestamp,
        )
        self.downlink.send(head, payload, now_s)

    def plead(self, now_s: float) -> None:
        """The subscriber asks for a keyframe; who asks all the time is heard now and then."""
        if self._pleas.take(1, now_s):
            self.request_keyframe()

    def report(self, now_s: float) -> bytes:
        """A sender report by the server's clock; nothing while nothing is shown."""
        part = self.rewriter.part
        if part is None or self.shown is None:
            return b""
        timestamp = part.origin.timeline.timestamp_at(now_s)
        if timestamp is None:
            return b""
        return rtcp.sender_report(
            self.ssrc,
            ntp(now_s + WALL_OFFSET_S),
            timestamp + part.timestamp_shift,
            self._packets,
            self._octets,
            CNAME,
        )


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
        self.sources: dict[str, Sources] = {}
        """mid → SSRCs of our streams"""
        self._wanted: Mapping[str, Track | None] = {}
        self._floor: Collection[str] = ()
        self.heights_px: dict[str, int] = {}
        """mid → how high a page shows it, 0: not at all; where it does not tell, see ``shown_px``"""
        for line in lines:
            # 31 bits: some stacks read SSRCs as signed.
            sources = Sources(random.randrange(1, 1 << 31), random.randrange(1, 1 << 31))
            self.sources[line.mid] = sources
            self.outputs[line.mid] = output = Output(self.downlink, line, sources)
            output.on_change = self._changed
        self._by_ssrc = {output.ssrc: output for output in self.outputs.values()}
        peer.on_rtcp = self._receive_rtcp
        peer.on_restarted = self._restarted

    def assign(
        self, wanted: Mapping[str, Track | None], floor: Collection[str], now_s: float
    ) -> None:
        """Show these tracks (by mid) from now on; ``floor`` are the sources that hold it."""
        self._wanted = wanted
        self._floor = floor
        self.choose(now_s)

    def shows(self, track: Track) -> bool:
        """Is this track shown, or to be shown, in any slot?"""
        return any(wanted is track for wanted in self._wanted.values())

    def choose(self, now_s: float) -> None:
        """Give every slot the layer that its size and the line are worth."""
        slots = {}
        for mid, output in self.outputs.items():
            track = self._wanted.get(mid)
            if track is None or not output.plays(track):
                output.want(None, now_s)
            elif track.kind == "audio":
                output.want(track.layers[0], now_s)
            else:
                current = output.current(track)
                slots[mid] = Slot(track, self._priority(mid, track), self.shown_px(mid), current)
        for mid, layer in select(slots, self.downlink.budget_bps, now_s).items():
            self.outputs[mid].want(layer, now_s)

    def _priority(self, mid: str, track: Track) -> Priority:
        if not mid.startswith("wall"):
            return Priority.PRESENTATION if mid == "presentation" else Priority.STAGE
        return Priority.FLOOR if track.publication.source in self._floor else Priority.WALL

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

    def _receive_rtcp(self, packet: memoryview) -> None:
        now_s = time.monotonic()
        for item in rtcp.parse(packet):
            output = self._by_ssrc.get(getattr(item, "ssrc", 0))
            if output is None:
                continue
            if isinstance(item, rtcp.Nack):
                output.retransmit(item.sequences[:MAX_NACKED], now_s)
            elif isinstance(item, rtcp.KeyframeRequest):
                output.plead(now_s)

    def tick(self, now_s: float) -> None:
        """Every 50 ms."""
        for output in self.outputs.values():
            output.tick(now_s)

    def send_reports(self, now_s: float) -> None:
        """Every second: sender reports, a few to a packet."""
        if not self.peer.connected:
            return
        reports = [report for o in self.outputs.values() if (report := o.report(now_s))]
        for start in range(0, len(reports), 10):
            self.peer.send_rtcp(b"".join(reports[start : start + 10]))

    def close(self) -> None:
        """Take nothing any more and say goodbye."""
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
        self.answer = list(answer)
        """with None for each section that was rejected"""
