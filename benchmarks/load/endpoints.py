"""The ends of real WebRTC connections, lean enough that one core can be sixty receivers.

A ``Publisher`` replays a capture; a ``Viewer`` counts what comes by sequence numbers (they are not
encrypted), tells losses and delays, and sends the RTCP that a browser would. Both are ICE-lite, so
that a full agent (Janus) controls, or check themselves where the server is the lite one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from typing import Any

from server.media import rtcp, rtp, stun
from server.media.feedback import Feedback
from server.media.ice import IceLite
from server.media.peer import Peer, make_certificate

CHECK_S = 2.5
"""as Chromium's interval"""
FEEDBACK_S = 0.1
PAUSE_S = 0.033
"""between a capture's end and its next beginning"""
STAMP = struct.Struct("!4sd")
STAMP_MARK = b"bnch"
VIDEO_TYPE, RTX_TYPE, AUDIO_TYPE, TRANSPORT_ID, LEVEL_ID = 102, 103, 111, 3, 4
CERTIFICATE = make_certificate()

LINE = """m={kind} 9 UDP/TLS/RTP/SAVPF {type}
c=IN IP4 0.0.0.0
a=mid:{mid}
a={direction}
a=rtcp-mux
a=ice-ufrag:{ufrag}
a=ice-pwd:{password}
a=fingerprint:{fingerprint}
a=setup:{setup}
a=rtpmap:{type} {codec}
{rest}{candidate}"""
VIDEO_REST = """a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtcp-fb:102 nack
a=rtcp-fb:102 nack pli
a=rtcp-fb:102 transport-cc
"""
AUDIO_REST = "a=fmtp:111 useinbandfec=1\na=rtcp-fb:111 transport-cc\n"
EXTENSIONS = (
    "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\n"
)
LEVEL = "a=extmap:4 urn:ietf:params:rtp-hdrext:ssrc-audio-level\n"


class Endpoint:
    """A socket, ICE and DTLS-SRTP."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind((address, 0))
        self.ice = IceLite(self.socket)
        certificate, self.fingerprint = CERTIFICATE
        self.peer = Peer(self.ice, certificate)
        self.connected = asyncio.Event()
        self.peer.on_connected = self.connected.set
        self._remote: tuple[str, str] | None = None
        self._server: tuple[str, int] = ("", 0)
        self._tasks: list[asyncio.Task[None]] = []

    def describe(self, mids: list[tuple[str, str]], direction: str, setup: str) -> str:
        """Our description: (mid, kind) of its sections."""
        host, port = self.socket.getsockname()
        mids_text = " ".join(mid for mid, _ in mids)
        lines = f"v=0\no=- 1 2 IN IP4 {host}\ns=-\nt=0 0\na=ice-lite\na=group:BUNDLE {mids_text}\n"
        for mid, kind in mids:
            video = kind == "video"
            rest = (VIDEO_REST if video else AUDIO_REST + LEVEL) + EXTENSIONS
            lines += LINE.format(
                kind=kind, mid=mid, direction=direction, setup=setup,
                type=VIDEO_TYPE if video else AUDIO_TYPE,
                codec="H264/90000" if video else "opus/48000/2",
                ufrag=self.peer.binding.ufrag, password=self.peer.binding.password,
                fingerprint=self.fingerprint, rest=rest,
                candidate=f"a=candidate:1 1 udp 2130706431 {host} {port} typ host\n",
            )  # fmt: skip
        return lines.replace("\n", "\r\n")

    async def connect(self, remote: str) -> None:
        """Take the server's description and shake hands."""
        fields: dict[str, str] = {}
        candidate = ""
        for line in remote.splitlines():
            name, _, value = line[2:].partition(":")
            fields.setdefault(name, value)
            if name == "candidate" and " udp " in value.lower() and not candidate:
                candidate = value
        lite = "a=ice-lite" in remote
        self.ice.start(asyncio.get_running_loop())
        if lite:
            parts = candidate.split()
            self._server = (parts[4], int(parts[5]))
            self._remote = (fields["ice-ufrag"], fields["ice-pwd"])
            self.peer.binding.path = self._server
            self.ice.lead(self._server, self.peer.binding)
            self._tasks.append(asyncio.create_task(self._check()))
        kind, _, value = fields["fingerprint"].partition(" ")
        self.peer.describe_remote([(kind, value)], client=fields["setup"] != "active")
        if lite:
            self.peer.handle_reachable()
        await asyncio.wait_for(self.connected.wait(), 20)

    async def _check(self) -> None:
        assert self._remote is not None
        while True:
            name = f"{self._remote[0]}:{self.peer.binding.ufrag}"
            check = stun.request(os.urandom(12), name, self._remote[1], use_candidate=True)
            self.ice.send(check, self._server)
            await asyncio.sleep(CHECK_S)

    async def close(self) -> None:
        """Hang up."""
        for task in self._tasks:
            task.cancel()
        self.peer.close()
        await asyncio.sleep(0)


class Publisher(Endpoint):
    """Replays ``capture``: rows of (s, kind, marker, head, bytes of payload), over and over."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.ssrcs = {"video": 0x11110000 | os.getpid() & 0xFFFF, "audio": 0x22220000}
        self.sent = {"video": 0, "audio": 0}
        self._transport = 0
        self._picture_s: float | None = None
        """of the picture that is not whole yet"""
        self._sequence = {"video": 0, "audio": 0}

    def offer(self) -> str:
        """To publish a picture and sound."""
        text = self.describe([("0", "video"), ("1", "audio")], "sendonly", "actpass")
        lines = text.split("\r\n")
        at = next(i for i, line in enumerate(lines) if line == "a=mid:1")
        lines.insert(at, f"a=ssrc:{self.ssrcs['audio']} cname:bench")
        at = next(i for i, line in enumerate(lines) if line == "a=mid:0")
        lines.insert(at, f"a=ssrc:{self.ssrcs['video']} cname:bench")
        return "\r\n".join(line for line in lines if line != "a=ice-lite" or self.lite)

    lite = True
    """do we leave the checks to the server (Janus)?"""

    async def play(self, capture: list[Any], seconds: float, speed: float) -> None:
        """Replay at ``speed`` for so long; only the pictures are quicker."""
        begin_s = time.monotonic()
        length_s = capture[-1][0] + PAUSE_S
        lap, i = 0, 0
        while True:
            now_s = time.monotonic() - begin_s
            if now_s > seconds:
                return
            while (at_s := (lap * length_s + capture[i][0]) / speed) <= now_s:
                self._send(capture[i], lap * length_s + capture[i][0])
                i += 1
                if i == len(capture):
                    lap, i = lap + 1, 0
            await asyncio.sleep(max(0.0005, begin_s + at_s - time.monotonic()))

    def _send(self, row: Any, media_s: float) -> None:
        _, kind, marker, head_hex, size = row
        video = kind == "video"
        if video:  # all packets of a picture have its time
            media_s = self._picture_s or media_s
            self._picture_s = None if marker else media_s
        sequence = self._sequence[kind] = (self._sequence[kind] + 1) & 0xFFFF
        self._transport = (self._transport + 1) & 0xFFFF
        block = [(TRANSPORT_ID, struct.pack("!H", self._transport))]
        if not video:
            block.append((LEVEL_ID, b"\x94"))
        head = rtp.head(
            padding=False,
            marker=bool(marker),
            payload_type=VIDEO_TYPE if video else AUDIO_TYPE,
            sequence=sequence,
            timestamp=int(media_s * (90_000 if video else 48_000)) & 0xFFFFFFFF,
            ssrc=self.ssrcs[kind],
            block=rtp.extension_block(block),
        )
        payload = bytes.fromhex(head_hex)
        if size - len(payload) >= STAMP.size:
            payload += STAMP.pack(STAMP_MARK, time.monotonic())
            payload += bytes(size - len(payload))
        self.peer.send_rtp(head, payload)
        self.sent[kind] += 1


class Stream:
    """What a viewer counts of one SSRC."""

    __slots__ = ("first", "highest", "received", "repeats")

    def __init__(self, sequence: int, payload_type: int) -> None:
        self.first = self.highest = sequence + 65536
        self.received = 0
        self.repeats = payload_type == RTX_TYPE
        """retransmissions and the padding of probes: no media that anybody waits for"""


class Viewer(Endpoint):
    """Counts; looks into every ``sample``-th packet for its delay."""

    def __init__(self, address: str, sample: int = 0) -> None:
        super().__init__(address)
        self.streams: dict[int, Stream] = {}
        self.delays_s: list[float] = []
        self._sample = sample
        self._feedback = Feedback()
        self._buffer = bytearray(2048)
        self._view = memoryview(self._buffer)
        self._transport_id = 0
        self.ssrc = int.from_bytes(os.urandom(4), "big")

    def count(self, transport_id: int) -> None:
        """From now on read in our own way; ``transport_id`` of feedback's extension, 0: none."""
        self._transport_id = transport_id
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.socket.fileno())
        loop.add_reader(self.socket.fileno(), self._readable)
        self._tasks.append(asyncio.create_task(self._report()))
        if self._sample:
            self.peer.on_rtp = self._delay

    def restart(self) -> None:
        """Count from here."""
        self.streams.clear()
        self.delays_s.clear()

    def totals(self) -> tuple[int, int]:
        """(expected, received) of media since ``restart``."""
        media = self.media
        expected = sum(s.highest - s.first + 1 for s in media)
        return expected, sum(s.received for s in media)

    @property
    def media(self) -> list[Stream]:
        """What comes but for what is repeated."""
        return [stream for stream in self.streams.values() if not stream.repeats]

    @property
    def repeated(self) -> int:
        """Packets beside the media since ``restart``."""
        return sum(stream.received for stream in self.streams.values() if stream.repeats)

    def _readable(self) -> None:
        buffer, view, receive = self._buffer, self._view, self.socket.recvfrom_into
        streams = self.streams
        while True:
            try:
                size, address = receive(buffer)
            except OSError:
                return
            if buffer[0] < 128:
                self.ice.receive(view[:size], address, time.monotonic())
                continue
            if 192 <= buffer[1] <= 223:
                continue
            sequence = buffer[2] << 8 | buffer[3]
            ssrc = buffer[8] << 24 | buffer[9] << 16 | buffer[10] << 8 | buffer[11]
            stream = streams.get(ssrc)
            if stream is None:
                stream = streams[ssrc] = Stream(sequence, buffer[1] & 127)
            stream.received += 1
            ahead = (sequence - stream.highest) & 0xFFFF
            if 0 < ahead < 0x8000:
                stream.highest += ahead
            if self._transport_id and buffer[0] & 0x10:
                self._heard(size)
            if self._sample and sequence % self._sample == 0 and not stream.repeats:
                self.peer.handle_srtp(view[:size], time.monotonic())

    def _heard(self, size: int) -> None:
        """The transport-wide number, found as a browser finds it."""
        buffer, position = self._buffer, 16
        end = 16 + 4 * (buffer[14] << 8 | buffer[15])
        while position < min(end, size):
            element = buffer[position]
            if element >> 4 == self._transport_id:
                number = buffer[position + 1] << 8 | buffer[position + 2]
                self._feedback.receive(number, time.monotonic())
                return
            position += 2 + (element & 15) if element else 1

    def _delay(self, packet: memoryview, now_s: float) -> None:
        data = bytes(packet)
        at = data.find(STAMP_MARK, 12, 80)
        if at >= 0:
            _, sent_s = STAMP.unpack_from(data, at)
            self.delays_s.append(now_s - sent_s)

    async def _report(self) -> None:
        """Transport feedback ten times a second, a receiver report once."""
        beat = 0
        await asyncio.sleep(FEEDBACK_S * (self.ssrc % 100) / 100)  # not all at the same moment
        while True:
            await asyncio.sleep(FEEDBACK_S)
            beat += 1
            media = next(iter(self.streams), 0)
            if self._transport_id:
                for feedback in self._feedback.report(self.ssrc, media):
                    self.peer.send_rtcp(feedback)
            if beat % 10 == 0:
                blocks = [
                    rtcp.ReportBlock(ssrc, 0, 0, s.highest - 65536, 0, 0, 0)
                    for ssrc, s in list(self.streams.items())[:31]
                ]
                self.peer.send_rtcp(rtcp.receiver_report(self.ssrc, blocks, "bench"))
