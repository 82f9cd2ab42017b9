"""What one publisher sends: a ``Publication`` with at most one picture and one sound ``Track``."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from server.media import keyframes, messages, resolution, rtcp, rtp
from server.media.feedback import Feedback
from server.media.history import History
from server.media.levels import Loudness
from server.media.negotiation import Line, normal_name
from server.media.peer import Peer
from server.media.sequence import Arrivals
from server.media.timeline import SourceClock, Timeline

if TYPE_CHECKING:
    from server.media.subscription import Output

ALIVE_S = 2.0
MAX_GROUP_S = 5.0
MAX_GROUP_PACKETS = 300
"""a longer group would choke the subscriber's line when sent at once"""
CNAME = "diemcau"
Tap = Callable[["Track", bytes, rtp.Header], None]


class Track:
    """One incoming stream: what came, what is missing, and who gets it."""

    def __init__(self, publication: Publication, line: Line) -> None:
        codec = line.codecs[0]
        self.publication = publication
        self.mid = line.mid
        self.kind = line.kind
        self.codec = normal_name(codec) or codec.name
        self.payload_type = codec.payload_type
        self.clock_rate_hz = codec.clock_rate_hz
        self._nack = "nack" in codec.feedback and line.kind == "video"
        self.ssrc: int | None = None
        self.received_at_s = float("-inf")
        self.arrivals = Arrivals(self.clock_rate_hz)
        self.history = History()
        self.entry = keyframes.entry(self.codec)
        self.requests = keyframes.Requests()
        self.timeline = Timeline(publication.clock, self.clock_rate_hz)
        self.loudness = Loudness()
        self.size: tuple[int, int] | None = None
        """of the picture, (width, height) in pixels, once known"""
        self._entered: tuple[int, float] | None = None
        """number and arrival of the latest packet at which the stream can be entered"""
        self.outputs: set[Output] = set()
        self.tap: Tap | None = None
        """the recording's, None while this track is not recorded"""

    def bind(self, ssrc: int) -> None:
        """The stream is (from now on) ``ssrc``; a new one is a new beginning."""
        if self.ssrc not in (None, ssrc):
            self.entry = keyframes.entry(self.codec)
            self.history = History()
            self._entered = None
            self.timeline = Timeline(self.publication.clock, self.clock_rate_hz)
            highest = self.arrivals.highest
            self.arrivals = Arrivals(self.clock_rate_hz)
            if highest is not None:
                self.arrivals.continue_after(highest)
            for output in tuple(self.outputs):
                output.resynchronise(self)
        self.ssrc = ssrc

    def receive(self, packet: bytes, header: rtp.Header, now_s: float) -> None:
        """One plain packet of this stream."""
        number = self.arrivals.receive(header.sequence, header.timestamp, len(packet), now_s)
        if number is None:
            return
        if self.kind == "video" and now_s - self.received_at_s > ALIVE_S:
            self.requests = keyframes.Requests()  # a camera that was off has ignored none
            self.requests.want()
        self.received_at_s = now_s
        self.timeline.packet(header.timestamp, now_s)
        self.history.put(number, packet)
        view = memoryview(packet)[header.payload_start : header.payload_end]
        begins = self.entry.begins(view)
        if begins:
            self.requests.arrived(now_s)
            self._entered = (number, now_s)
            self.size = resolution.size(self.codec, view) or self.size
        for output in tuple(self.outputs):
            output.receive(self, number, header, packet, begins, now_s)
        if self.tap is not None:
            self.tap(self, packet, header)

    def latest_group(self, now_s: float) -> list[tuple[int, bytes]]:
        """(number, packet) of the latest group of pictures so far; empty if it has holes or is old.

        It lets a subscriber begin at once where the publisher makes no keyframe on request.
        """
        if self._entered is None or self.arrivals.highest is None:
            return []
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

    def losses(self, now_s: float) -> bytes:
        """The NACK and PLI that are due, possibly nothing."""
        if self.ssrc is None:
            return b""
        out = b""
        if self._nack:
            missing = self.arrivals.due(now_s)
            if missing:
                out += rtcp.nack(self.publication.ssrc, self.ssrc, missing)
        if self.kind == "video" and self.requests.due(now_s):
            out += rtcp.pli(self.publication.ssrc, self.ssrc)
        return out

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


class Publication:
    """One source being published over one peer."""

    def __init__(self, source: str, holder: str, peer: Peer, lines: Sequence[Line | None]) -> None:
        self.session = secrets.token_urlsafe(12)
        self.source = source
        self.holder = holder
        self.peer = peer
        self.lines = list(lines)
        self.created_at_s = time.monotonic()
        self.origin = secrets.randbits(62)
        """session id of our descriptions"""
        self.version = 1
        self.ssrc = random.getrandbits(32)
        """ours, as the sender of feedback"""
        self.clock = SourceClock()
        self.tracks: dict[str, Track] = {}
        self._by_ssrc: dict[int, Track] = {}
        self._feedback = Feedback()
        self._ids: dict[str, int] = {}
        self._line_counts = (0, 0, 0)
        self.on_ssrc: Callable[[int], None] = lambda ssrc: None
        for line in self.lines:
            if line is not None:
                self.tracks[line.kind] = track = Track(self, line)
                self._ids.update(line.extensions)
                for ssrc in line.ssrcs[:1]:
                    self._by_ssrc[ssrc] = track
                    track.bind(ssrc)
        self._transport_id = self._ids.get(rtp.TRANSPORT_CC_URI, 0)
        self._level_id = self._ids.get(rtp.AUDIO_LEVEL_URI, 0)
        peer.on_rtp = self._receive
        peer.on_rtcp = self._receive_rtcp
        peer.on_restarted = self._restarted

    @property
    def video(self) -> Track | None:
        """The picture."""
        return self.tracks.get("video")

    @property
    def audio(self) -> Track | None:
        """The sound."""
        return self.tracks.get("audio")

    @property
    def ssrcs(self) -> list[int]:
        """The streams that are known."""
        return list(self._by_ssrc)

    def alive(self, now_s: float, kind: str | None = None) -> bool:
        """Have packets (of one kind) come within the last two seconds?"""
        tracks = (t for t in self.tracks.values() if kind in (None, t.kind))
        return any(now_s - t.received_at_s < ALIVE_S for t in tracks)

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
        )

    def _receive(self, packet: memoryview, now_s: float) -> None:
        header = rtp.parse(packet)
        if header is None:
            return
        track = self._by_ssrc.get(header.ssrc) or self._identify(packet, header)
        if track is None:
            return
        if header.profile:
            for identifier, value in rtp.extensions(packet, header):
                if identifier == self._transport_id and len(value) >= 2:
                    self._feedback.receive((value[0] << 8) | value[1], now_s)
                elif identifier == self._level_id and track.kind == "audio" and value:
                    track.loudness.hear(value[0] & 127, now_s)
        if header.payload_type == track.payload_type:
            if track.ssrc != header.ssrc:
                track.bind(header.ssrc)
            track.receive(bytes(packet), header, now_s)

    def _identify(self, packet: memoryview, header: rtp.Header) -> Track | None:
        """The track of an unannounced SSRC: by MID, else by payload type (RFC 8843, 9.2)."""
        found: Track | None = None
        mid_id = self._ids.get(rtp.MID_URI)
        for identifier, value in rtp.extensions(packet, header):
            if identifier == mid_id:
                found = next((t for t in self.tracks.values() if t.mid.encode() == value), None)
        if found is None:
            same = [t for t in self.tracks.values() if t.payload_type == header.payload_type]
            found = same[0] if len(same) == 1 else None
        if found is not None and found.payload_type == header.payload_type:
            for ssrc in [s for s, t in self._by_ssrc.items() if t is found]:
                del self._by_ssrc[ssrc]
            self._by_ssrc[header.ssrc] = found
            self.on_ssrc(header.ssrc)
            return found
        return None

    def _receive_rtcp(self, packet: memoryview) -> None:
        now_s = time.monotonic()
        for item in rtcp.parse(packet):
            if isinstance(item, rtcp.SenderReport):
                track = self._by_ssrc.get(item.ssrc)
                if track is not None:
                    track.timeline.report(item.ntp, item.rtp, now_s)

    def _restarted(self) -> None:
        """Packets were lost with the old line; no subscriber has to find out by itself."""
        if self.video is not None:
            self.video.requests.want()

    def send_losses(self, now_s: float) -> None:
        """Every 50 ms: what is missing, asked for."""
        if self.peer.connected:
            packet = b"".join(track.losses(now_s) for track in self.tracks.values())
            if packet:
                self.peer.send_rtcp(packet)

    def send_feedback(self) -> None:
        """Every 100 ms: transport-wide feedback."""
        if self._transport_id and self.peer.connected:
            media = next(iter(self._by_ssrc), 0)
            packet = self._feedback.report(self.ssrc, media)
            if packet is not None:
                self.peer.send_rtcp(packet)

    def send_reports(self, now_s: float) -> None:
        """Every second: a receiver report."""
        if self.peer.connected:
            blocks = [t.report_block(now_s) for t in self.tracks.values()]
            found = [block for block in blocks if block is not None]
            self.peer.send_rtcp(rtcp.receiver_report(self.ssrc, found, CNAME))

    def line(self, elapsed_s: float) -> messages.Line:
        """The uplink since the last call."""
        octets = sum(t.arrivals.octets for t in self.tracks.values())
        counts = [t.arrivals.counts() for t in self.tracks.values()]
        expected = sum(count[0] for count in counts)
        received = sum(count[1] for count in counts)
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
        )
