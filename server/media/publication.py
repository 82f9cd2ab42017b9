"""What one publisher sends: a ``Publication`` with at most one picture and one sound ``Track``.

Which of them a packet is of is ``streams``'; retransmissions (RFC 4588) are unwrapped here: what is behind
sees originals.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Sequence

from server.media import allocated, messages, rtcp, rtp, rtx
from server.media.feedback import Feedback
from server.media.layer import ALIVE_S, Layer
from server.media.limits import Allowance
from server.media.negotiation import Line
from server.media.peer import Peer
from server.media.reading import AGE_S, Arrival, Ids, Relayed
from server.media.sequence import Answers
from server.media.streams import Streams
from server.media.timeline import SourceClock
from server.media.track import Track
from server.media.uplink import Uplink

log = logging.getLogger(__name__)

CNAME = "diemcau"
TELL_AGAIN_S = 5.0
RESIZES_PER_S, RESIZES_BURST, RESIZES_TOLD_S = 0.1, 6, 60.0
"""pictures of another size, beyond which the log tells of them, and how soon again"""
ASK_EVERY_S = 0.01
"""what is missing is asked for at once, but no more often: each time is work for us"""


class Publication:
    """One source being published over one peer."""

    def __init__(self, source: str, holder: str, peer: Peer, lines: Sequence[Line | None]) -> None:
        self.session = secrets.token_urlsafe(12)
        self.source = source
        self.holder = holder
        self.peer = peer
        self.lines = list(lines)
        self.offer = ""
        """its latest"""
        self.created_at_s = time.monotonic()
        self.origin = secrets.randbits(62)
        """session id of our descriptions"""
        self.version = 1
        self.ssrc = random.getrandbits(32)
        """ours, as the sender of feedback"""
        self.clock = SourceClock()
        self.answers = Answers()
        self._told: tuple[tuple[str, ...], float] = ((), 0.0)
        """the layers that its page was last told to send, and when"""
        self.tracks: dict[str, Track] = {}
        self._feedback = Feedback()
        self._asking: asyncio.TimerHandle | None = None
        self._ask_at_s, self._asked_at_s = float("inf"), float("-inf")
        """when what is missing is asked for next, and when it was"""
        self._line_counts = (0, 0, 0)
        self.uplink = Uplink(self.warn)
        self._resizes = Allowance(RESIZES_PER_S, RESIZES_BURST)
        self._resizes_told_at_s = float("-inf")
        taken = [line for line in self.lines if line is not None]
        ids: dict[str, int] = {}
        for line in taken:
            self.tracks[line.kind] = Track(self, line)
            ids.update(line.extensions)
        self.streams = Streams(self.tracks, ids)
        for line in taken:
            self.streams.announce(line)
        self._layers = [layer for track in self.tracks.values() for layer in track.layers]
        self._transport_id = ids.get(rtp.TRANSPORT_CC_URI, 0)
        self._level_id = ids.get(rtp.AUDIO_LEVEL_URI, 0)
        self._rid_id = ids.get(rtp.RID_URI, 0)
        self._layers_id = ids.get(rtp.LAYERS_URI, 0)
        self._tell_known()
        self.streams.on_known = self._tell_known
        peer.on_rtp = self._receive
        peer.on_media = self._take
        peer.on_relayed = self._note
        peer.on_rtcp = self._receive_rtcp
        peer.on_restarted = self._restarted

    def _tell_known(self) -> None:
        """Each time that streams become layers: compiled code may read these."""
        ids = Ids(self._transport_id, self._level_id, self._rid_id, self._layers_id)
        self.peer.know(ids, self.streams.known)

    @property
    def video(self) -> Track | None:
        """The picture."""
        return self.tracks.get("video")

    @property
    def audio(self) -> Track | None:
        """The sound."""
        return self.tracks.get("audio")

    @property
    def asks(self) -> bool:
        """Is a keyframe wanted?"""
        for layer in self._layers:
            if layer.requests.wanted:
                return True
        return False

    @property
    def packets(self) -> int:
        """Packets that have come."""
        return sum(layer.arrivals.counts()[1] for layer in self._layers)

    def alive(self, now_s: float, kind: str | None = None) -> bool:
        """Have packets (of one kind) come within the last two seconds?"""
        tracks = (t for t in self.tracks.values() if kind in (None, t.kind))
        return any(now_s - t.received_at_s < ALIVE_S for t in tracks)

    def shall_tell(self, rids: tuple[str, ...], now_s: float) -> bool:
        """Tell the page to send these layers? Again, where one stays away: it may not have heard."""
        before, at_s = self._told
        if rids == before:
            layers = self.video.layers if self.video is not None else []
            missing = any(layer.rid in rids and not layer.alive(now_s) for layer in layers)
            if not missing or now_s - at_s < TELL_AGAIN_S:
                return False
        self._told = (rids, now_s)
        return True

    def describe(self, now_s: float) -> messages.Publication:
        """For web."""
        return messages.Publication(
            source=self.source,
            holder=self.holder,
            session=self.session,
            video=self.video.codec if self.video else None,
            audio=self.audio is not None,
            alive=self.alive(now_s),
            picture=self.alive(now_s, "video"),
            heard=self._heard(now_s),
        )

    def _heard(self, now_s: float) -> bool:
        audio = self.audio
        return audio is not None and self.alive(now_s, "audio") and not audio.loudness.mute(now_s)

    def _receive(self, packet: memoryview, now_s: float) -> None:
        header = rtp.parse(packet)
        if header is None or not self.uplink.admits(len(packet), now_s):
            return
        if self.streams.repeats(header.payload_type):
            self._receive_rtx(packet, header, now_s)
            return
        streams = self.streams
        layer = streams.get(header.ssrc) or streams.identify(packet, header, now_s)
        if layer is None:
            return
        if header.profile:
            layer = self._read_extensions(packet, header, layer, now_s)
        if header.payload_type == layer.track.payload_type and header.ssrc == layer.ssrc:
            layer.receive(bytes(packet), header, now_s)
            self._schedule(layer)

    def _take(self, packet: bytes, arrival: Arrival, now_s: float) -> None:
        """The same where compiled code has read what it says."""
        layer = self.streams.get(arrival.header.ssrc)
        if layer is None or layer.ssrc != arrival.header.ssrc:
            return  # it was read before another stream took the place of this one
        if self.uplink.admits(len(packet), now_s):
            self._extensions_told(layer, arrival, now_s)
            layer.receive(packet, arrival.header, now_s)
            self._schedule(layer)

    def _note(self, relayed: Sequence[Relayed]) -> None:
        """The same where they went on already: nothing was missing before any of them, and they were
        admitted."""
        by_ssrc: dict[int, list[Relayed]] = {}
        for each in relayed:
            by_ssrc.setdefault(each.ssrc, []).append(each)
        for ssrc, some in by_ssrc.items():
            layer = self.streams.get(ssrc)
            if layer is None or layer.ssrc != ssrc:
                continue
            if layer.track.kind == "audio":
                for each in some:
                    if each.level >= 0:
                        layer.track.loudness.hear(each.level, each.at_s)
            layer.note(some)

    def _extensions_told(self, layer: Layer, arrival: Arrival, now_s: float) -> None:
        """What a packet's extensions say."""
        if arrival.transport >= 0:
            # Its sender's estimate is not to suffer from when we read.
            self._arrived(arrival.transport, now_s - arrival.age * AGE_S)
        if arrival.level >= 0 and layer.track.kind == "audio":
            layer.track.loudness.hear(arrival.level, now_s)

    def _arrived(self, transport: int, now_s: float) -> None:
        """The packet with this transport-wide number has come. Where some before it have not, they may be
        the rest of a picture: that would show with the next one only, and is asked for now."""
        self._feedback.receive_all(self.peer.take_came())
        missing = self._feedback.receive(transport, now_s)
        if missing and self.video is not None:
            for layer in self.video.layers:
                if not layer.whole and layer.alive(now_s):
                    layer.arrivals.miss_next(missing, now_s)
                    self._schedule(layer)

    def _read_extensions(
        self, packet: memoryview, header: rtp.Header, layer: Layer, now_s: float
    ) -> Layer:
        """Take note of what the packet's extensions say; the layer, if they name it anew."""
        for identifier, value in rtp.extensions(packet, header):
            if identifier == self._transport_id and len(value) >= 2:
                self._arrived((value[0] << 8) | value[1], now_s)
            elif identifier == self._level_id and layer.track.kind == "audio" and value:
                layer.track.loudness.hear(value[0] & 127, now_s)
            elif identifier == self._rid_id:
                layer = self.streams.rename(layer, bytes(value), header.ssrc, now_s)
            elif identifier == self._layers_id:
                layer.track.told(allocated.sent(value))
        return layer

    def _receive_rtx(self, packet: memoryview, header: rtp.Header, now_s: float) -> None:
        """A repeated packet, or padding by which the browser probes its line."""
        values = {identifier: bytes(v) for identifier, v in rtp.extensions(packet, header)}
        number = values.get(self._transport_id, b"")
        if len(number) >= 2:
            self._arrived((number[0] << 8) | number[1], now_s)
        layer = self.streams.repeated(header, values)
        if layer is None or layer.ssrc is None:
            return
        found = rtx.unwrap(packet, header, layer.track.payload_type, layer.ssrc)
        if found is not None:
            arrivals = layer.arrivals
            before = arrivals.received
            arrivals.answered(found[1].sequence, now_s)
            layer.receive(*found, now_s)
            arrivals.repaired += max(0, arrivals.received - before)
            self._schedule(layer)

    def resized(self, now_s: float) -> None:
        """A picture has another size than before; each time is a keyframe, and work for all."""
        often = not self._resizes.take(1, now_s)
        if often and now_s - self._resizes_told_at_s >= RESIZES_TOLD_S:
            self._resizes_told_at_s = now_s
            self.warn("changes its resolution all the time", f"more_than_per_s={RESIZES_PER_S}")

    def warn(self, what: str, details: str) -> None:
        """Tell the log what this publisher does, and who it is."""
        log.warning("%s: source=%s holder=%s %s", what, self.source, self.holder, details)

    def _receive_rtcp(self, packet: memoryview) -> None:
        now_s = time.monotonic()
        if not self.uplink.admits(len(packet), now_s):
            return
        for report in rtcp.sender_reports(packet):
            layer = self.streams.get(report.ssrc)
            if layer is not None:
                layer.clocked(report, now_s)

    def _restarted(self) -> None:
        """Packets were lost with the old line; no subscriber has to find out by itself."""
        if self.video is not None:
            for layer in self.video.layers:
                layer.requests.want()

    def _schedule(self, layer: Layer) -> None:
        """Ask for what this layer misses when it is due."""
        at_s = max(layer.arrivals.due_s, self._asked_at_s + ASK_EVERY_S)
        if at_s < self._ask_at_s:
            if self._asking is not None:
                self._asking.cancel()
            self._ask_at_s = at_s
            self._asking = asyncio.get_running_loop().call_at(at_s, self._ask)

    def _ask(self) -> None:
        self._asking, self._ask_at_s = None, float("inf")
        if not self.peer.connected:
            return
        self.peer.catch_up()  # of what is asked for ahead some may have come
        self._asked_at_s = now_s = time.monotonic()
        self._send([p for track in self.tracks.values() for p in track.nacks(now_s)])
        for layer in self._layers:
            self._schedule(layer)

    def send_requests(self, now_s: float) -> None:
        """With each beat: the keyframes that are wanted."""
        if self.peer.connected and self.video is not None:
            self._send(self.video.requests(now_s))

    def _send(self, packets: Sequence[bytes]) -> None:
        for datagram in rtcp.datagrams(packets):
            self.peer.send_rtcp(datagram)

    def send_feedback(self) -> None:
        """Every 100 ms: transport-wide feedback, where it is due; also on what is in no books yet."""
        self._feedback.receive_all(self.peer.take_came())
        if self._transport_id and self._feedback.due() and self.peer.connected:
            media = next(iter(self.streams.ssrcs), 0)
            for packet in self._feedback.report(self.ssrc, media):
                self.peer.send_rtcp(packet)

    def send_reports(self) -> None:
        """Every second: a receiver report."""
        if self.peer.connected:
            blocks = [layer.report_block() for layer in self._layers]
            found = [block for block in blocks if block is not None]
            self.peer.send_rtcp(rtcp.receiver_report(self.ssrc, found, CNAME))

    def line(self, elapsed_s: float) -> messages.Line:
        """The uplink since the last call. What came again by a retransmission was lost."""
        arrivals = [layer.arrivals for layer in self._layers]
        octets = sum(each.octets for each in arrivals)
        expected = sum(each.counts()[0] for each in arrivals)
        received = sum(each.received - each.repaired for each in arrivals)
        before = self._line_counts
        self._line_counts = (octets, expected, received)
        due = expected - before[1]
        lost = due - (received - before[2])
        width, height = (self.video.size if self.video else None) or (None, None)
        return messages.Line(
            bitrate_bps=max(0, round((octets - before[0]) * 8 / elapsed_s)),
            loss=min(1.0, max(0.0, lost / due)) if due > 0 else 0.0,
            width=width,
            height=height,
            excess=self.uplink.take_exceeded(),
        )
