"""What one subscriber gets: ``Output`` streams that can show one track after another.

A ``Receiver`` is a page with slots that this server offered; a ``Watcher`` is a WHEP player that
offered itself.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable, Sequence

from server.media import keyframes, rtcp, rtp
from server.media.downlink import Downlink
from server.media.negotiation import Line, normal_name
from server.media.peer import Peer
from server.media.publication import CNAME, Track
from server.media.rewrite import Rewriter
from server.media.timeline import ntp

CUT_LIMIT_S = 1.0
"""the old picture may bridge the wait for the new one's keyframe for so long"""
WALL_OFFSET_S = time.time() - time.monotonic()
"""sender reports count from here: the wall clock may be set, this one goes on evenly"""


class Output:
    """One outgoing stream with a fixed SSRC."""

    def __init__(self, downlink: Downlink, line: Line, ssrc: int) -> None:
        self.downlink = downlink
        self.mid = line.mid
        self.kind = line.kind
        self.ssrc = ssrc
        self.payload_types: dict[str, int] = {}
        """codec → payload type; nothing until the remote side has agreed"""
        self.shown: Track | None = None
        self._pending: Track | None = None
        self._pending_since_s = 0.0
        self._head = rtp.Head(ssrc)
        self._clock_rate_hz = line.codecs[0].clock_rate_hz
        self._rewriter: Rewriter[Track] = Rewriter(self._clock_rate_hz)
        self._packets = 0
        self._octets = 0
        self.on_change: Callable[[], None] = lambda: None

    def agree(self, line: Line) -> None:
        """The remote side accepts these codecs and extensions."""
        self.payload_types = {normal_name(c) or "": c.payload_type for c in line.codecs}
        mid_id = line.extensions.get(rtp.MID_URI)
        mid = [(mid_id, self.mid.encode())] if mid_id and len(self.mid) <= 16 else []
        self._head = rtp.Head(self.ssrc, mid, line.extensions.get(rtp.TRANSPORT_CC_URI, 0))

    @property
    def source(self) -> str | None:
        """What is shown now."""
        return self.shown.publication.source if self.shown is not None else None

    def want(self, track: Track | None, now_s: float) -> None:
        """Show ``track`` from its next keyframe on, or nothing at once."""
        if track is not None and track.codec not in self.payload_types:
            track = None
        if track is not None and track is self.shown:
            if self._pending is not track:  # it may be awaiting its own restart
                self._set_pending(None, now_s)
        elif track is None:
            self._set_pending(None, now_s)
            self._show(None)
        elif track is not self._pending:
            self._set_pending(track, now_s)

    def _set_pending(self, track: Track | None, now_s: float) -> None:
        if self._pending is not None and self._pending is not self.shown:
            self._pending.outputs.discard(self)
        self._pending = track
        self._pending_since_s = now_s
        if track is not None:
            track.outputs.add(self)
            track.requests.want()

    def _show(self, track: Track | None) -> None:
        if self.shown is not None and self.shown is not track:
            self.shown.outputs.discard(self)
        if self.shown is not track:
            self.shown = track
            self.on_change()

    def resynchronise(self, track: Track) -> None:
        """``track`` began anew (another SSRC): enter it again."""
        if self.shown is track:
            self._pending = track
            self._pending_since_s = time.monotonic()
            track.requests.want()

    def tick(self, now_s: float) -> None:
        """Ask again for the keyframe that is awaited; end the old picture when that takes long."""
        if self._pending is None:
            return
        self._pending.requests.want()
        waited_s = now_s - self._pending_since_s
        if self._pending.requests.ignored or waited_s > keyframes.PATIENCE_S:
            self._begin_with_the_past(self._pending, now_s)
        if self._pending is None:
            return
        overdue = waited_s > CUT_LIMIT_S
        if overdue and self.shown is not None and self.shown is not self._pending:
            self._show(None)

    def _begin_with_the_past(self, track: Track, now_s: float) -> None:
        """Enter ``track`` by its latest group of pictures, squeezed into some milliseconds."""
        if track.kind != "video" or not self.downlink.peer.connected:
            return
        group = [
            (number, header, packet)
            for number, packet in track.latest_group(now_s)
            if (header := rtp.parse(packet)) is not None
        ]
        if not group:
            return
        times = list(dict.fromkeys(header.timestamp for _, header, _ in group))
        self._rewriter.switch(track, group[0][0], times[-1], now_s, times[:-1])
        self._pending = None
        self._show(track)
        for number, header, packet in group:
            numbers = self._rewriter.forward(number, header.timestamp, now_s)
            if numbers is not None:
                self._send(track, header, packet, *numbers, now_s)

    def receive(
        self,
        track: Track,
        number: int,
        header: rtp.Header,
        packet: bytes,
        begins: bool,
        now_s: float,
    ) -> None:
        """A packet of a track that is shown or awaited."""
        if track is self._pending:
            if not begins:
                if track is self.shown:  # after its restart: nothing fits until a keyframe
                    return
            else:
                self._rewriter.switch(track, number, header.timestamp, now_s)
                self._pending = None
                self._show(track)
        if track is not self.shown:
            return
        numbers = self._rewriter.forward(number, header.timestamp, now_s)
        if numbers is not None:
            self._send(track, header, packet, *numbers, now_s)

    def _send(
        self,
        track: Track,
        header: rtp.Header,
        packet: bytes,
        sequence: int,
        timestamp: int,
        now_s: float,
    ) -> None:
        self._head.write(
            padding=bool(packet[0] & 0x20),
            marker=header.marker,
            payload_type=self.payload_types[track.codec],
            sequence=sequence,
            timestamp=timestamp,
        )
        payload = memoryview(packet)[header.payload_start :]
        self.downlink.send(self._head, payload, now_s)
        self._packets += 1
        self._octets += header.payload_end - header.payload_start

    def retransmit(self, sequences: Iterable[int], now_s: float) -> None:
        """Answer a NACK (RFC 4585) from the tracks' histories, in the same stream."""
        for sequence in sequences:
            found = self._rewriter.origin(sequence)
            if found is None:
                continue
            part, number = found
            packet = part.origin.history.get(number)
            header = rtp.parse(packet) if packet is not None else None
            if packet is not None and header is not None:
                timestamp = part.timestamp(header.timestamp)
                self._send(part.origin, header, packet, sequence, timestamp, now_s)

    def request_keyframe(self) -> None:
        """The subscriber cannot decode what is shown."""
        if self.shown is not None:
            self.shown.requests.want()

    def report(self, now_s: float) -> bytes:
        """A sender report by the server's clock; nothing while nothing is shown."""
        part = self._rewriter.part
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

    def close(self) -> None:
        """Take nothing any more."""
        for track in (self.shown, self._pending):
            if track is not None:
                track.outputs.discard(self)
        self.shown = self._pending = None


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
        for line in lines:
            # 31 bits: some stacks read SSRCs as signed.
            self.outputs[line.mid] = output = Output(
                self.downlink, line, random.randrange(1, 1 << 31)
            )
            output.on_change = self._changed
        self._by_ssrc = {output.ssrc: output for output in self.outputs.values()}
        peer.on_rtcp = self._receive_rtcp
        peer.on_restarted = self._restarted

    @property
    def ssrcs(self) -> dict[str, int]:
        """mid → SSRC of our streams."""
        return {mid: output.ssrc for mid, output in self.outputs.items()}

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
        for item in rtcp.parse(packet):
            output = self._by_ssrc.get(getattr(item, "ssrc", 0))
            if output is None:
                continue
            if isinstance(item, rtcp.Nack):
                output.retransmit(item.sequences[:200], time.monotonic())
            elif isinstance(item, rtcp.KeyframeRequest):
                output.request_keyframe()

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
