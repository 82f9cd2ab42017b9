"""One outgoing stream of a subscriber, with its retransmissions: ``Output``."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import partial

from server.media import rtcp, rtp, rtx
from server.media.bursts import Burst
from server.media.downlink import Downlink
from server.media.fan import Fan
from server.media.layer import Layer
from server.media.limits import Allowance, Repairs
from server.media.negotiation import Line, Sources, normal_name
from server.media.pacing import Thinning, Verdict
from server.media.publication import CNAME
from server.media.rewrite import Part
from server.media.sending import Lane, Lanes
from server.media.switching import CUT_LIMIT_S, Switch
from server.media.timeline import WALL_OFFSET_S, ntp
from server.media.track import Track

PLEAS_PER_S, PLEAS_BURST = 0.5, 5
"""keyframes that one stream of one subscriber may ask for"""
BEHIND = 2
"""packets of sound, behind which one comes again on a line that loses some: later than a burst of
losses lasts, sooner than a browser would play what it makes up, and than any NACK"""
REPEATABLE = 64
"""of the latest packets, those that a probe repeats"""
REPORT_S = 5.0
"""between two sender reports of a stream (RFC 3550, 6.2)"""
STANDS_S = 2.0
"""a picture of which all is left out for so long asks for a keyframe, where none has come by itself"""
THINNED_S = 5.0
"""so long it is told of that some was left out"""
PADDING = bytes(254) + b"\xff"
"""the most that one packet may be padded by (RFC 3550, 5.1)"""


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
        self._repairs = Repairs(1.0 if line.kind == "audio" else Repairs.SHARE)
        self._pleas = Allowance(PLEAS_PER_S, PLEAS_BURST)
        self._packets = self._octets = 0
        """sent, without repeated ones"""
        self.unreported: set[Output] = set()
        """those of its owner's whose time stamps lie elsewhere than was told; one set for all"""
        self._padded = 0
        self._lane: Lane | None = None
        self._alone = Lanes(())
        """of that lane"""
        self._lane_of: Part[Layer] | None = None
        self._fan: Fan | None = None
        """together with whom it receives"""
        self._settled = (0, 0, 0)
        """packets, octets and octets with padding of the fan's tally that are counted here already"""
        self._thinning = Thinning()
        """of what is shown"""
        self._thinned_at_s = float("-inf")

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
        if self.kind == "audio":
            transport_id = 0  # a packet of sound may come again: the very same, see ``_repeat``
        if transport_id:
            self.downlink.measure()
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
        """To the peer, or after what waits for its line."""
        payload: bytes | memoryview = memoryview(packet)[header.payload_start :]
        if part.counters is not None:
            payload = self.continuity.moved(payload, part.counters, newest=newest)
        payload_type = self.payload_types[part.origin.track.codec]
        numbers = payload_type, sequence, timestamp
        if not self.paced:
            self._send(header, packet, payload, *numbers, now_s)
            return
        key = header.timestamp == self._thinning.key_timestamp
        size = len(self._head.data) + len(payload)
        self.downlink.post(partial(self._send, header, packet, payload, *numbers), size, key=key)

    def _send(
        self,
        header: rtp.Header,
        packet: bytes,
        payload: bytes | memoryview,
        payload_type: int,
        sequence: int,
        timestamp: int,
        now_s: float,
    ) -> None:
        self._head.write(
            padding=bool(packet[0] & 0x20),
            marker=header.marker,
            payload_type=payload_type,
            sequence=sequence,
            timestamp=timestamp,
        )
        self.downlink.send(self._head, payload, now_s)
        self._repairs.sent()
        self._packets += 1
        self._octets += header.payload_end - header.payload_start

    @property
    def paced(self) -> bool:
        """Do pictures wait for a narrow line? Where there are smaller layers one of them is taken
        instead, and waits only behind what waits already."""
        downlink, shown = self.downlink, self.shown
        if not downlink.narrow or shown is None or self.kind != "video":
            return False
        if self.mid.startswith("wall"):
            return False  # tiles are small, and many
        return len(shown.track.layers) == 1 or not downlink.pacer.empty

    def receive(self, layer: Layer, burst: Burst, now_s: float) -> None:
        """As ``Switch.receive``, whole pictures as far as a narrow line carries them."""
        leaves_out = self._thinning.since_s is not None
        if not self.paced and not leaves_out:
            super().receive(layer, burst, now_s)
            return
        if layer is not self.shown or layer is self.pending:
            super().receive(layer, burst, now_s)
        elif self.pending is None or not self._gives_way(now_s):
            self._thin(burst, now_s)
        self.downlink.release()

    def _thin(self, burst: Burst, now_s: float) -> None:
        thinning, pacer = self._thinning, self.downlink.pacer
        for packet in burst.packets:
            waits_s = pacer.wait_s(), pacer.wait_s(but_keyframes=True)
            verdict = thinning.judge(packet, *waits_s, now_s)
            if verdict is Verdict.LEFT_OUT:
                self._thinned_at_s = now_s
                continue
            if verdict is Verdict.RESUMES:
                part = self.rewriter.leave_out(packet.number)
                self._count_on(part, packet.header, packet.data)
            self._forward(packet.number, packet.header, packet.data, now_s)
        if thinning.since_s is not None and now_s - thinning.since_s > STANDS_S and pacer.empty:
            self.plead(now_s)

    def thinned(self, now_s: float) -> bool:
        """Has the line been too narrow for all of what is shown, of late?"""
        return now_s - self._thinned_at_s < THINNED_S

    def forward(self, burst: Burst, now_s: float) -> None:
        """To the peer, all at once where each packet only changes its numbers."""
        part = self.rewriter.part
        if part is None or (self.pending is not None and self._gives_way(now_s)):
            return
        if part is not self._lane_of:
            self._enter(part)
        self.settle()
        lane = self._lane
        if lane is None or burst.lowest < part.even_from or self.paced:
            super().forward(burst, now_s)
            return
        self.downlink.peer.forward(self._alone, burst, now_s)
        count = len(burst.sizes)
        self.rewriter.advance(part, burst.highest_number, burst.highest_timestamp, now_s)
        self._count(count, burst.octets, burst.payload_octets)
        if self.doubles:
            self._double(part, burst, now_s)
        elif self.pending is None and self._fan is None:
            self._join(part.origin.fan, lane, part.even_from)

    @property
    def doubles(self) -> bool:
        """On a line that loses some, does a part go twice before anybody asks? Tiles can wait."""
        return self.downlink.lossy and not self.mid.startswith("wall")

    def _double(self, part: Part[Layer], burst: Burst, now_s: float) -> None:
        """All sound; of a picture its last packet, which is missed only when the next picture comes."""
        if self.kind == "audio":
            newest = self.rewriter.highest - BEHIND
            again = [(newest - i) & 0xFFFF for i in range(len(burst.sizes))]
        else:
            last = (packet.number for packet in burst.packets if packet.header.marker)
            again = [(number + part.shift) & 0xFFFF for number in last]
        self._again(again, now_s, times=1)

    def _count(self, packets: int, octets: int, payload_octets: int) -> None:
        """So many were sent on the lane."""
        self._repairs.sent(packets)
        self._packets += packets
        self._octets += octets
        self.downlink.count(self._head, len(self._head.data) * packets + payload_octets)

    def _join(self, fan: Fan, lane: Lane, first: int) -> None:
        """From now on together with others, who all get the same."""
        fan.join(self, lane, first)
        self._fan = fan
        self._settled = fan.tally.packets, fan.tally.octets, fan.tally.payload_octets

    def leave_fan(self) -> None:
        """Alone again."""
        self.settle()
        if self._fan is not None:
            self._fan.leave(self)
            self._fan = None

    def forget_lane(self) -> None:
        """The path or the headers are others."""
        self.leave_fan()
        self._lane = self._lane_of = None

    def settle(self) -> None:
        """Count what was sent together with others. Before anything that looks at numbers."""
        if self._fan is None:
            return
        self.downlink.peer.catch_up()
        fan, part = self._fan, self.rewriter.part
        if fan is None or part is None:
            return  # what was caught up with has made it leave, and counted that
        tally = fan.tally
        packets, octets, payload_octets = self._settled
        if tally.packets == packets:
            return
        self._settled = tally.packets, tally.octets, tally.payload_octets
        self.rewriter.advance(part, tally.number, tally.timestamp, tally.sent_at_s)
        new = tally.packets - packets, tally.octets - octets, tally.payload_octets - payload_octets
        self._count(*new)

    @property
    def packets(self) -> int:
        """Sent, without repeated ones."""
        self.settle()
        return self._packets

    def _gives_way(self, now_s: float) -> bool:
        """A line that has become narrow: does the larger layer stop, so that the keyframe of the
        smaller one is not held up behind it?
        """
        shown, pending = self.shown, self.pending
        stands = self.downlink.full or not self.downlink.pacer.empty
        if not stands or shown is None or pending is None or pending is shown:
            return False
        smaller = pending.meter.bitrate_bps < shown.meter.bitrate_bps
        soon = now_s - self._pending_since_s < CUT_LIMIT_S
        return smaller and soon and pending.track is shown.track

    def _entered(self, part: Part[Layer], header: rtp.Header, packet: bytes) -> None:
        super()._entered(part, header, packet)
        self._thinning = Thinning(header.timestamp)
        self.retimed()

    def _begin_with_the_past(self, layer: Layer, now_s: float) -> None:
        if not self.downlink.narrow:  # a whole group is more than to wait for the next one
            super()._begin_with_the_past(layer, now_s)

    def _enter(self, part: Part[Layer]) -> None:
        """Another part or another path: the lane is another one."""
        self._lane, self._lane_of = None, part
        if part.counters is None:
            payload_type = self.payload_types[part.origin.track.codec]
            shifts = part.shift, part.timestamp_shift
            self._lane = self.downlink.lane(self._head, payload_type, *shifts)
            if self._lane is not None:
                self._alone = Lanes((self._lane,))

    def retransmit(self, sequences: Iterable[int], now_s: float) -> None:
        """Answer a NACK (RFC 4585) from the layers' histories; what a full line lost would only be
        lost again, or hold up what comes next. On a line that loses some by itself pictures' go twice:
        a repeat that is lost is asked for anew only a round trip later, and the picture stands.
        Sound goes twice there anyway.
        """
        twice = self.downlink.lossy and self.kind == "video"
        self._again(sequences, now_s, times=2 if twice else 1)

    def _again(self, sequences: Iterable[int], now_s: float, times: int) -> None:
        """So many times, where that may be."""
        if self.downlink.full:
            return
        self.settle()
        repeats = []
        for sequence in sequences:
            found = self.rewriter.origin(sequence)
            if found is None:
                continue
            part, number = found
            packet = part.origin.history.get(number)
            header = rtp.parse(packet) if packet is not None else None
            if packet is None or header is None or part.origin.holds(number):
                continue  # what is held is not sent yet
            if not self._repairs.allows(sequence, now_s):
                continue
            repeats.append((part, header, packet, sequence))
        if times > 1 and self._repairs.spares(len(repeats)):
            repeats *= times
        for repeat in repeats:
            self._repeat(*repeat, now_s)

    def _repeat(
        self, part: Part[Layer], header: rtp.Header, packet: bytes, sequence: int, now_s: float
    ) -> None:
        """One packet again: in a stream of its own (RFC 4588), else in the same."""
        codec = part.origin.track.codec
        timestamp = part.timestamp(header.timestamp)
        apart = codec in self._rtx_payload_types
        if not apart and self._head.transport_at:
            # Its number would be another: AES-GCM never protects two packets under one index
            # (RFC 7714, 8.1). Who has transport-wide numbers and no RTX asks for a keyframe.
            return
        # In the same stream it is the very same, padding included: its key stream is used already.
        end = header.payload_end if apart else len(packet)
        payload: bytes | memoryview = memoryview(packet)[header.payload_start : end]
        if part.counters is not None:
            payload = self.continuity.moved(payload, part.counters, newest=False)
        head, number = self._head, sequence
        payload_type = self._rtx_payload_types.get(codec, self.payload_types[codec])
        if apart:
            head = self._rtx_head
            number = self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
            payload = rtx.payload(sequence, payload)
        head.write(
            padding=not apart and bool(packet[0] & 0x20),
            marker=header.marker,
            payload_type=payload_type,
            sequence=number,
            timestamp=timestamp,
        )
        self.downlink.send(head, payload, now_s)

    @property
    def can_pad(self) -> bool:
        """May a probe fill the line with this stream's retransmissions?"""
        part = self.rewriter.part
        return part is not None and part.origin.track.codec in self._rtx_payload_types

    def pad(self, now_s: float) -> None:
        """Send one packet that a probe needs: a late one again, which mends as well as it fills;
        mere padding where there is none.
        """
        self.settle()
        self._padded = (self._padded + 1) % REPEATABLE
        sequence = (self.rewriter.highest - self._padded) & 0xFFFF
        found = self.rewriter.origin(sequence)
        if found is None:
            return self._pad_only(now_s)
        part, number = found
        packet = part.origin.history.get(number)
        header = rtp.parse(packet) if packet is not None else None
        codec = part.origin.track.codec
        if packet is None or header is None or codec not in self._rtx_payload_types:
            return self._pad_only(now_s)
        self._repeat(part, header, packet, sequence, now_s)

    def _pad_only(self, now_s: float) -> None:
        part = self.rewriter.part
        if part is None or part.origin.track.codec not in self._rtx_payload_types:
            return
        self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
        self._rtx_head.write(
            padding=True,
            marker=False,
            payload_type=self._rtx_payload_types[part.origin.track.codec],
            sequence=self._rtx_sequence,
            timestamp=self.rewriter.timestamp,
        )
        self.downlink.send(self._rtx_head, PADDING, now_s)

    def plead(self, now_s: float) -> None:
        """The subscriber asks for a keyframe; who asks all the time is heard now and then."""
        if self._pleas.take(1, now_s):
            self.request_keyframe()

    def retimed(self) -> None:
        """Time stamps lie elsewhere than was told."""
        self.unreported.add(self)

    def report(self, now_s: float) -> bytes:
        """A sender report by the server's clock. Nothing while nothing is shown."""
        self.unreported.discard(self)
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
            self.packets,
            self._octets,
            CNAME,
        )
