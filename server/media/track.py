"""One picture or sound of a publication: a ``Track`` of one or more simulcast ``Layer`` streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence, Set
from typing import TYPE_CHECKING

from server.media import keyframes, layers, levels, relaying, resolution, rtcp, rtp
from server.media.bursts import Burst, Packet, equalise
from server.media.fan import Fan
from server.media.history import History
from server.media.layers import Meter, Offer
from server.media.levels import Loudness
from server.media.negotiation import Line, normal_name
from server.media.reading import Relayed
from server.media.sequence import Arrivals
from server.media.timeline import Timeline

if TYPE_CHECKING:
    from server.media.publication import Publication
    from server.media.switching import Switch

ALIVE_S = 2.0
HOLD_S = 0.002
"""so long the rest of a frame is waited for: it shows no earlier, and one send for all of it costs
each receiver half of what two cost"""
LAYER_SILENT_S = 0.3
"""a layer whose publisher stops it (its line, its processor) stops without a word"""
UNWANTED_S = 5.0
"""a layer that nobody has received for so long is paused at its publisher"""
MAX_GROUP_S = 5.0
MAX_GROUP_PACKETS = 300
"""a longer group would choke the subscriber's line when sent at once"""


class Layer:
    """One incoming stream: what came, what is missing, and who gets it."""

    def __init__(self, track: Track, rid: str, place: int) -> None:
        self.track = track
        self.rid = rid
        """empty without simulcast"""
        self.place = place
        """as announced, from 0"""
        self.ssrc: int | None = None
        self.rtx_ssrc: int | None = None
        self.received_at_s = float("-inf")
        self.wanted_at_s = self._wanted_since_s = float("-inf")
        self.meter = Meter()
        self.requests = keyframes.Requests()
        self.stopped = False
        """does its publisher say that it sends none of it?"""
        self.whole = True
        """is the newest packet the last one of a picture?"""
        self.size: tuple[int, int] | None = None
        """of the picture, (width, height) in pixels, once known"""
        self.outputs: set[Switch] = set()
        self.fan = Fan()
        """those of ``outputs`` for whom packets only change their numbers"""
        self._clock = track.publication.clock
        self.relay = relaying.relay(track.publication.uplink.limit)
        """by which packets go on without us"""
        self.fan.on_change = self.disarm
        self._relayed_to: Set[Hashable] = frozenset()
        """whom it was armed for the last time"""
        self._burst: list[Packet] = []
        """what came and was not forwarded yet"""
        self._noted: list[tuple[int, Relayed, bool]] = []
        """what went on by itself, and is to be told to those who may hear of it later: number, packet, can a
        decoder begin with it?"""
        self._deferred = False
        self._held: asyncio.TimerHandle | None = None
        self.arrivals = self._new_arrivals()
        self._begin()

    def _new_arrivals(self) -> Arrivals:
        apart = self.track.rtx_payload_type is not None
        return Arrivals(self.track.clock_rate_hz, self.track.publication.answers, apart=apart)

    def _begin(self) -> None:
        self.entry = keyframes.entry(self.track.codec)
        self.history = History()
        self.timeline = Timeline(self._clock, self.track.clock_rate_hz)
        self._entered: tuple[int, float] | None = None
        """number and arrival of the latest packet at which the stream can be entered"""

    def bind(self, ssrc: int) -> None:
        """The stream is (from now on) ``ssrc``; a new one is a new beginning."""
        highest = self.arrivals.highest
        if self.ssrc != ssrc and highest is not None:
            self._forward()
            self._begin()
            self.arrivals = self._new_arrivals()
            self.arrivals.continue_after(highest)
            self.meter.pause()
            for output in tuple(self.outputs):
                output.resynchronise(self)
            self.disarm()
        self.ssrc = ssrc

    def attach(self, output: Switch) -> None:
        """From the next packet on ``output`` gets what comes."""
        self.disarm()
        self.outputs.add(output)

    def detach(self, output: Switch) -> None:
        """It has got what came until now, and nothing more."""
        self.track.publication.peer.catch_up()
        self.outputs.discard(output)

    def alive(self, now_s: float) -> bool:
        """Do packets come? After a stall of the whole line each layer has time to come again."""
        at_s = self.received_at_s
        stalled_s, resumed_s = self.track.stall
        if stalled_s - LAYER_SILENT_S < at_s <= stalled_s:
            at_s = resumed_s
        return not self.stopped and now_s - at_s < LAYER_SILENT_S

    @property
    def height_px(self) -> int:
        """Of its picture; a guess until that is known."""
        if self.size is not None:
            return self.size[1]
        return layers.nominal_height_px(self.place, len(self.track.layers))

    def wanted(self, now_s: float) -> bool:
        """Has anybody received it, or meant to, of late?"""
        if self.outputs:
            self.wanted_at_s = now_s
        return now_s - self.wanted_at_s < UNWANTED_S

    def wanted_since_s(self, now_s: float) -> float:
        """Mark it as wanted; since when it has been without a break."""
        if not self.wanted(now_s):
            self._wanted_since_s = now_s
        self.wanted_at_s = now_s
        return self._wanted_since_s

    def receive(self, packet: bytes, header: rtp.Header, now_s: float) -> None:
        """One plain packet of this stream."""
        found = self._count(packet, header, len(packet), now_s)
        if found is None:
            return
        if self.outputs:
            self.disarm()  # a repeat may be held that overtook the packet itself: that one waits behind it
            self._burst.append(found)
            if not self._deferred:
                self._deferred = True
                self.track.publication.peer.defer(self._drained)
        else:
            self._arm()

    def note(self, relayed: Sequence[Relayed]) -> None:
        """These went on by themselves; each was the next one of its stream."""
        noted = []
        octets = sent = 0
        for number, each in zip(self.arrivals.receive_all(relayed), relayed, strict=True):
            if number is None:
                continue
            self._came(each.at_s)
            packet, start, end = each.packet, each.payload_start, each.payload_end
            noted.append((number, each, self._keep(number, packet, start, end, each.at_s)))
            octets += end - start
            sent += len(packet) - start
        if not noted:
            return
        number, newest, _ = noted[-1]
        self._newest(number, newest)
        if self._relayed_to:
            numbers = number, newest.timestamp, self.received_at_s
            self.fan.tally.add(len(noted), octets, sent, *numbers)
        self._noted += noted
        if len(self._noted) == len(noted):
            self.track.publication.peer.defer(self._tell)

    def _tell(self) -> None:
        """What went on by itself, to those who may hear of it later, or came since; never again to whom it
        went, though they be no members any more: no index may seal two packets (RFC 7714, 8.1)."""
        noted, self._noted = self._noted, []
        others = self.outputs - self._relayed_to
        if others:
            packets = [Packet(n, each.header, each.packet, begins) for n, each, begins in noted]
            burst = Burst(packets)
            for output in others:
                output.receive(self, burst, self.received_at_s)

    def _count(self, packet: bytes, header: rtp.Header, size: int, now_s: float) -> Packet | None:
        """What is to be known of a packet; None where it came before."""
        number = self.arrivals.receive(header.sequence, header.timestamp, size, now_s)
        if number is None:
            return None
        self._came(now_s)
        self._newest(number, header)
        begins = self._keep(number, packet, header.payload_start, header.payload_end, now_s)
        return Packet(number, header, packet, begins)

    def _came(self, now_s: float) -> None:
        """A packet has come."""
        silent_s, self.received_at_s = now_s - self.received_at_s, now_s
        if silent_s <= LAYER_SILENT_S:
            return
        self.track.received(now_s)
        if self.track.kind == "video":
            if silent_s > ALIVE_S:
                self.requests = keyframes.Requests()  # what was off has ignored none
                self.requests.want()
            self.track.publication.peer.noted(self.track.on_layers)

    def _newest(self, number: int, header: rtp.Header | Relayed) -> None:
        """The one that came last."""
        if number == self.arrivals.highest:
            self.whole = header.marker
        self.track.received(self.received_at_s)
        self.timeline.packet(header.timestamp, self.received_at_s)

    def _keep(self, number: int, packet: bytes, start: int, end: int, now_s: float) -> bool:
        """For whoever asks for it again; can a decoder begin with it? ``start`` to ``end``: its payload."""
        self.history.put(number, packet)
        view = memoryview(packet)[start:end]
        begins = self.entry.begins(view)
        if begins and self.stopped:  # others were the last packets of what was stopped
            self.stopped = False
            self.track.publication.peer.noted(self.track.on_layers)
        if begins:
            self.requests.arrived(now_s)
            self._entered = (number, now_s)
            self._measured(resolution.size(self.track.codec, view), now_s)
        return begins

    def _arm(self) -> None:
        """What comes may go on by itself while nobody needs more of it than other numbers, or at once."""
        relay, highest = self.relay, self.arrivals.highest
        if relay is None or self._burst or highest is None:
            return
        members = self.fan.members
        lanes = self.fan.lanes if members else None
        if (lanes is None) == bool(members):
            return  # those who came since have got nothing yet
        if all(output.patient for output in self.outputs - members):
            relay.arm(highest, lanes)
            self._relayed_to = frozenset(members)

    def disarm(self) -> None:
        """What comes is to be looked at, once what went on by itself is noted."""
        if self.relay is not None and self.relay.armed:
            self.track.publication.peer.catch_up()
            self.relay.disarm()

    def clocked(self, report: rtcp.SenderReport, now_s: float) -> None:
        """The publisher tells where its time stamps lie; until then they are guessed."""
        known = self.timeline.known
        self.timeline.report(report.ntp, report.rtp, now_s)
        if not known:
            for output in self.outputs:
                output.retimed()

    def _measured(self, size: tuple[int, int] | None, now_s: float) -> None:
        if size is None or size == self.size:
            return
        if self.size is not None:
            self.track.publication.resized(now_s)
        self.size = size

    def _drained(self) -> None:
        """All that has come is read: on with it, or wait a little for the rest of the frame."""
        self._deferred = False
        if not self._burst:
            return
        first, last = self._burst[0].header, self._burst[-1].header
        whole = last.marker or last.timestamp != first.timestamp
        if whole or self.track.kind == "audio":
            self._forward()
        elif self._held is None:
            peer = self.track.publication.peer
            loop = asyncio.get_running_loop()
            self._held = loop.call_later(HOLD_S, peer.together, self._forward)

    def _forward(self) -> None:
        """To all who receive this layer."""
        if self._held is not None:
            self._held.cancel()
            self._held = None
        if not self._burst:
            return
        self.track.publication.peer.catch_up()
        packets, self._burst = self._burst, []
        for padded in equalise(packets):
            self.history.put(padded.number, padded.data)
        burst, now_s = Burst(packets), time.monotonic()
        lanes, members = self.fan.take(burst, now_s), self.fan.members
        if lanes is None:
            alone = tuple(self.outputs)
        else:
            self.track.publication.peer.forward(lanes, burst, now_s)
            alone = tuple(self.outputs - members)
        for output in alone:
            output.receive(self, burst, now_s)
        self._arm()

    def holds(self, number: int) -> bool:
        """Does this packet wait to be forwarded? Until then it may still be padded."""
        return any(packet.number == number for packet in self._burst)

    def latest_group(self, now_s: float) -> list[tuple[int, bytes]]:
        """(number, packet) of the latest group of pictures so far; empty if it has holes or is old.

        It lets a subscriber begin at once where the publisher makes no keyframe on request.
        """
        if self._entered is None or self.arrivals.highest is None or self._burst:
            return []  # nor while some is held, as it is known only then what is sent of it
        first, at_s = self._entered
        if now_s - at_s > MAX_GROUP_S or self.arrivals.highest - first >= MAX_GROUP_PACKETS:
            return []
        group = []
        for number in range(first, self.arrivals.highest + 1):
            packet = self.history.get(number)
            if packet is None:
                return []
            group.append((number, packet))
        return group

    def measure(self, now_s: float) -> None:
        """Now and then: the bit rate."""
        if self.alive(now_s):
            self.meter.measure(self.arrivals.octets, now_s)
        else:
            self.meter.pause()

    def report_block(self, now_s: float) -> rtcp.ReportBlock | None:
        """Our view of this stream for a receiver report."""
        if self.ssrc is None or self.arrivals.highest is None:
            return None
        fraction, lost = self.arrivals.report()
        last_sr = delay = 0
        if self.timeline.last_report is not None:
            last_sr, at_s = self.timeline.last_report
            delay = round((now_s - at_s) * 65536)
        highest = self.arrivals.highest - 65536
        jitter = round(self.arrivals.jitter)
        return rtcp.ReportBlock(self.ssrc, fraction, lost, highest, jitter, last_sr, delay)


class Track:
    """See the module. Without simulcast it has one layer."""

    def __init__(self, publication: Publication, line: Line) -> None:
        codec = line.codecs[0]
        self.publication = publication
        self.mid = line.mid
        self.kind = line.kind
        self.codec = normal_name(codec) or codec.name
        self.payload_type = codec.payload_type
        self.rtx_payload_type = line.rtx.get(codec.payload_type)
        self.clock_rate_hz = codec.clock_rate_hz
        self.loudness = Loudness()
        self.layers = [Layer(self, rid, place) for place, rid in enumerate(line.rids or [""])]
        self.on_layers: Callable[[], None] = lambda: None
        """a layer has begun (again), or its publisher has stopped it"""
        self.received_at_s = float("-inf")
        """the latest packet of any layer"""
        self.stall = (float("-inf"), float("-inf"))
        """the last time that no layer came: its begin and end"""
        self._nack = "nack" in codec.feedback
        self._asked_at_s = float("-inf")
        self._offers: tuple[float, list[tuple[Layer, Offer]]] = (float("-inf"), [])
        """the latest, and of when"""
        self._turn: list[tuple[tuple[int, int] | None, bool]] = []

    def received(self, now_s: float) -> None:
        """A packet of any layer has come."""
        if now_s - self.received_at_s > LAYER_SILENT_S:
            self.stall = (self.received_at_s, now_s)
        self.received_at_s = max(self.received_at_s, now_s)

    def told(self, sent: Set[int] | None) -> None:
        """Its publisher sends the layers in these places, and no others; None: nobody knows."""
        if sent is None or len(self.layers) < 2:
            return
        found = [layer.place not in sent for layer in self.layers]
        if found != [layer.stopped for layer in self.layers]:
            for layer, stopped in zip(self.layers, found, strict=True):
                layer.stopped = stopped
            self.publication.peer.noted(self.on_layers)

    @property
    def size(self) -> tuple[int, int] | None:
        """Of the largest picture that came last, (width, height) in pixels."""
        newest_s = self.received_at_s
        found = [
            layer.size
            for layer in self.layers
            if layer.size is not None and newest_s - layer.received_at_s < LAYER_SILENT_S
        ]
        return max(found, default=None)

    def level(self, now_s: float) -> float:
        """How loud it is, in -dBov."""
        if not self.loudness.told and now_s - self.received_at_s < ALIVE_S:
            return levels.UNTOLD
        return self.loudness.level(now_s)

    def want_keyframe(self) -> None:
        """Whoever receives this picture may have lost its way."""
        for layer in self.layers:
            if layer.outputs:
                layer.requests.want()

    def offers(self, now_s: float) -> list[tuple[Layer, Offer]]:
        """The layers in ascending order, as ``layers.ladder`` takes them; the same list for all who
        ask at one moment.
        """
        if self._offers[0] == now_s:
            return self._offers[1]
        known = [(layer.height_px, layer.place, layer) for layer in self.layers]
        found: list[tuple[Layer, Offer]] = []
        below_px = 0
        for height_px, _, layer in sorted(known, key=lambda each: each[:2]):
            if layer.size is None:
                height_px = max(height_px, 2 * below_px)
            bitrate_bps = layer.meter.bitrate_bps or layers.nominal_bps(height_px)
            found.append((layer, Offer(height_px, bitrate_bps, layer.alive(now_s))))
            below_px = height_px
        self._offers = now_s, found
        return found

    def measure(self, now_s: float) -> None:
        """Now and then: what its layers send."""
        for layer in self.layers:
            layer.measure(now_s)
        self._offers = (float("-inf"), [])

    def turned(self, now_s: float) -> bool:
        """Has a layer come, gone or changed its size since this was last asked?"""
        others = len(self.layers) > 1  # the only one there is stays, whether it flows or not
        found = [(layer.size, others and layer.alive(now_s)) for layer in self.layers]
        before, self._turn = self._turn, found
        return self._turn != before

    def top(self, now_s: float) -> Layer:
        """The largest layer that flows, and the one to wish for is marked as wanted."""
        largest = len(self.offers(now_s)) - 1
        return self.nearest(largest, -1, now_s)

    def nearest(self, place: int, current: int, now_s: float) -> Layer:
        """``layers.playable``; what would come nearer is marked as wanted. A publisher whose line does not
        carry what is meant may have been told to pause the next one, which nobody received."""
        offered = self.offers(now_s)
        played = layers.playable([offer for _, offer in offered], place, current)
        for layer, _ in offered[played + 1 : place + 1]:
            layer.wanted_at_s = now_s
        offered[place][0].wanted_at_s = now_s
        return offered[played][0]

    def wanted_rids(self, now_s: float) -> tuple[str, ...]:
        """The layers to be sent. The lowest always is: it shows that the camera is on."""
        ascending = [layer for layer, _ in self.offers(now_s)]
        kept = ascending[:1] + [layer for layer in ascending[1:] if layer.wanted(now_s)]
        return tuple(layer.rid for layer in self.layers if layer in kept)

    def nacks(self, now_s: float) -> list[bytes]:
        """What is missing and due to be asked for, possibly nothing; where there is no NACK it is given up
        in time."""
        out: list[bytes] = []
        for layer in self.layers:
            missing = layer.arrivals.due(now_s) if layer.arrivals.holes else []
            if missing and layer.ssrc is not None and self._nack:
                out += rtcp.nacks(self.publication.ssrc, layer.ssrc, missing)
        return out

    def requests(self, now_s: float) -> list[bytes]:
        """The PLI that is due, possibly none. Browsers answer one for one layer by keyframes of all: so
        once for all of them."""
        if now_s - self._asked_at_s < keyframes.MIN_INTERVAL_S:
            return []
        out: list[bytes] = []
        for layer in self.layers:
            if layer.ssrc is not None and layer.requests.due(now_s):
                out.append(rtcp.pli(self.publication.ssrc, layer.ssrc))
                self._asked_at_s = now_s
                overdue_s = layer.requests.overdue_s(now_s)
                if overdue_s and layer.alive(now_s):
                    self.publication.warn("sends no keyframe", f"asked_for_s={overdue_s:.0f}")
        return out
