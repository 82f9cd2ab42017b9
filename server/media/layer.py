"""One incoming stream of a track, a simulcast layer or the only one: what came, what is missing, who
gets it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Sequence, Set
from typing import TYPE_CHECKING

from server.media import keyframes, layers, relaying, resolution, rtcp, rtp
from server.media.bursts import Burst, Packet, equalise
from server.media.fan import Fan
from server.media.history import History
from server.media.layers import Meter
from server.media.reading import Relayed
from server.media.sequence import Arrivals
from server.media.timeline import Timeline

if TYPE_CHECKING:
    from server.media.switching import Switch
    from server.media.track import Track

ALIVE_S = 2.0
HOLD_S = 0.002
"""so long the rest of a frame is waited for: it shows no earlier, and one send for all of it costs
each receiver half of what two cost"""
SILENT_S = 0.3
"""a layer whose publisher stops it (its line, its processor) stops without a word"""
UNWANTED_S = 5.0
"""a layer that nobody has received for so long is paused at its publisher"""
MAX_GROUP_S = 5.0
MAX_GROUP_PACKETS = 300
"""a longer group would choke the subscriber's line when sent at once"""


class Layer:
    """See the module."""

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
        if stalled_s - SILENT_S < at_s <= stalled_s:
            at_s = resumed_s
        return not self.stopped and now_s - at_s < SILENT_S

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
        if silent_s <= SILENT_S:
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

    def report_block(self) -> rtcp.ReportBlock | None:
        """Our view of this stream for a receiver report.

        It says nothing of sender reports, as if none had come (RFC 3550, 6.4.1). By them libwebrtc learns the
        round trip, and repeats no packet twice within the last one that it measured: 0.08 s, or 0.9 on a busy
        machine.
        """
        if self.ssrc is None or self.arrivals.highest is None:
            return None
        fraction, lost = self.arrivals.report()
        highest = self.arrivals.highest - 65536
        jitter = round(self.arrivals.jitter)
        return rtcp.ReportBlock(self.ssrc, fraction, lost, highest, jitter, 0, 0)
