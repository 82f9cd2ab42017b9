"""A peer of bare packets: it sends and counts exactly what a test wants, and encodes nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable

from server.media import messages, negotiation, rtcp, rtp, sdp, stun
from server.media.ice import IceLite
from server.media.peer import Peer, make_certificate
from server.media.sending import Address
from tests.media.harness import SLUG, WorkerProcess, eventually

OFFER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s={name}
t=0 0
a=group:BUNDLE v a
a=ice-ufrag:{ufrag}
a=ice-pwd:{password}
a=fingerprint:{fingerprint}
a=setup:{setup}
m=video 9 UDP/TLS/RTP/SAVPF 106
c=IN IP4 0.0.0.0
a=mid:v
a={direction}
a=rtcp-mux
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=rtpmap:106 {codec}/90000
a=fmtp:106 packetization-mode=1;profile-level-id=42e01f
a=rtcp-fb:106 nack
a=rtcp-fb:106 nack pli
a=rtcp-fb:106 transport-cc
m=audio 9 UDP/TLS/RTP/SAVPF 109
c=IN IP4 0.0.0.0
a=mid:a
a={direction}
a=rtcp-mux
a=extmap:4 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=rtpmap:109 opus/48000/2
"""
PARAMETERS = bytes.fromhex("67") + b"sps"
SLICE = bytes.fromhex("61") + b"slice"
GRANTS = {
    "seat-a": messages.Grant(publish=("site:a",), receive=True, own="site:a"),
    "seat-b": messages.Grant(publish=("site:b",), receive=True, own="site:b"),
    "display": messages.Grant(receive=True),
}


class Lossy(Peer):
    """Loses the next ``losing`` media packets on their way in, before SRTP sees them."""

    losing = 0

    def handle_srtp(self, data: memoryview, now_s: float) -> bool:
        """As the line does."""
        if self.losing and not 192 <= data[1] <= 223:
            self.losing -= 1
            return False
        return super().handle_srtp(data, now_s)


class RawPeer:
    """One ICE-controlling peer on a socket of its own."""

    host = "127.0.0.1"

    def __init__(self, kind: type[Lossy] = Lossy) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((self.host, 0))
        self.ice = IceLite(self.socket, "plain")  # the worker that it speaks to is compiled
        self.ice.start(asyncio.get_running_loop())
        certificate, self.fingerprint = make_certificate()
        self.peer = kind(self.ice, certificate)
        self.peer.on_rtp = self._rtp
        self.peer.on_rtcp = self._rtcp
        self.packets: list[tuple[rtp.Header, bytes]] = []
        self.reports: list[bytes] = []
        self.session = ""
        self.remote: tuple[str, str] = ("", "")
        self.server: Address = ("", 0)
        self.video_ssrc, self.audio_ssrc = 0x1001, 0x2002

    def _rtp(self, packet: memoryview, now_s: float) -> None:
        header = rtp.parse(packet)
        assert header is not None
        self.packets.append((header, bytes(packet)))

    def _rtcp(self, packet: memoryview) -> None:
        self.reports.append(bytes(packet))

    def offer(
        self,
        direction: str = "sendonly",
        setup: str = "actpass",
        codec: str = "H264",
        name: str = "-",
    ) -> str:
        """An offer of one picture and one sound."""
        return OFFER.format(
            ufrag=self.peer.binding.ufrag,
            password=self.peer.binding.password,
            fingerprint=self.fingerprint,
            direction=direction,
            setup=setup,
            codec=codec,
            name=name,
        )

    def read(self, text: str) -> sdp.Description:
        """Take ufrag, password and address from the server's description."""
        lines = [line[2:].partition(":")[::2] for line in text.splitlines()]
        values = {name: value for name, value in reversed(lines)}
        self.remote = (values["ice-ufrag"], values["ice-pwd"])
        candidates = [value.split() for name, value in lines if name == "candidate"]
        parts = next(parts for parts in candidates if (":" in parts[4]) == (":" in self.host))
        self.server = (parts[4], int(parts[5]))
        if ":" in self.host:
            self.server += (0, 0)  # as recvfrom tells it
        return sdp.parse(text)

    def check(self, *, password: str | None = None, sock: socket.socket | None = None) -> bytes:
        """Send one connectivity check, and give it back."""
        username = f"{self.remote[0]}:{self.peer.binding.ufrag}"
        message = stun.request(
            os.urandom(12), username, password or self.remote[1], use_candidate=True
        )
        (sock or self.socket).sendto(message, self.server)
        return message

    async def connect(self, description: sdp.Description) -> None:
        """Check, shake hands, and wait until media may flow."""
        section = description.sections[0]
        self.peer.binding.path = self.server
        self.ice.lead(self.server, self.peer.binding)
        self.check()
        self.peer.describe_remote(section.fingerprints, client=section.setup != "active")
        self.peer.handle_reachable()
        await eventually(lambda: self.peer.connected)

    async def publish(
        self, worker: WorkerProcess, holder: str, source: str, **offer: str
    ) -> messages.Answered:
        """Publish as an encoder does."""
        answered = await worker.web.ask(
            messages.Publish, conference=SLUG, holder=holder, source=source,
            sdp=self.offer(**offer),
        )  # fmt: skip
        assert isinstance(answered, messages.Answered), answered
        self.session = answered.session
        await self.connect(self.read(answered.sdp))
        return answered

    async def receive(
        self,
        worker: WorkerProcess,
        holder: str,
        wall: int = 0,
        *,
        vp8: bool = True,
        rtx: bool = False,
        tells: bool = False,
    ) -> None:
        """Receive by slots as a page does. ``tells``: it will say what arrives."""
        offered = await worker.web.ask(messages.Receive, conference=SLUG, holder=holder, wall=wall)
        assert isinstance(offered, messages.Answered), offered
        self.session = offered.session
        description = self.read(offered.sdp)
        answer = self.answer(description, vp8=vp8, rtx=rtx, tells=tells)
        accepted = await worker.web.ask(
            messages.Accept, session=self.session, holder=holder, sdp=answer
        )
        assert isinstance(accepted, messages.Answered), accepted
        extensions = description.sections[0].extensions
        self.transport_id = extensions.get(rtp.TRANSPORT_CC_URI, 0)
        self.slots = {section.mid: section.ssrcs[0] for section in description.sections}
        await self.connect(description)

    def answer(
        self,
        description: sdp.Description,
        *,
        vp8: bool = True,
        rtx: bool = False,
        tells: bool = False,
    ) -> str:
        """To an offer of slots; as ``receive``."""
        lines = [
            negotiation.Line(
                section.mid,
                section.kind,
                [c for c in section.codecs.values() if vp8 or c.name != "VP8"],
                {u: n for u, n in section.extensions.items() if tells or u != rtp.TRANSPORT_CC_URI},
                rtx=section.rtx if rtx else {},
            )
            for section in description.sections
        ]
        binding = self.peer.binding
        transport = sdp.Transport(binding.ufrag, binding.password, self.fingerprint, "active", ())
        return negotiation.write_answer(description, lines, transport, session=1)

    def send_video(
        self,
        sequence: int,
        timestamp: int,
        payload: bytes,
        *,
        transport: int | None = None,
        marker: bool = True,
    ) -> None:
        """One packet of the picture."""
        block = b""
        if transport is not None:
            block = rtp.extension_block([(3, struct.pack("!H", transport))])
        self._send(106, sequence, timestamp, self.video_ssrc, payload, block, marker)

    def send_audio(
        self,
        sequence: int,
        payload: bytes,
        level: int | None = 20,
        *,
        timestamp: int | None = None,
    ) -> None:
        """One packet of sound, with its level in -dBov; ``timestamp``: after a pause."""
        block = b"" if level is None else rtp.extension_block([(4, bytes([level]))])
        timestamp = 960 * sequence if timestamp is None else timestamp
        self._send(109, sequence, timestamp, self.audio_ssrc, payload, block)

    def _send(
        self,
        kind: int,
        sequence: int,
        timestamp: int,
        ssrc: int,
        payload: bytes,
        block: bytes,
        marker: bool = True,
    ) -> None:
        head = rtp.head(
            padding=False, marker=marker, payload_type=kind, sequence=sequence & 0xFFFF,
            timestamp=timestamp & 0xFFFFFFFF, ssrc=ssrc, block=block,
        )  # fmt: skip
        self.peer.send_rtp(head, payload)

    def got(self, mid: str) -> list[tuple[rtp.Header, bytes]]:
        """(header, payload) of what a slot has received."""
        return [
            (h, p[h.payload_start : h.payload_end])
            for h, p in self.packets
            if h.ssrc == self.slots[mid]
        ]

    def items(self, kind: type) -> list[object]:
        """What the server's RTCP said of one kind."""
        return [i for report in self.reports for i in rtcp.parse(report) if isinstance(i, kind)]

    async def close(self) -> None:
        """Say goodbye."""
        self.peer.close()
        await asyncio.sleep(0.05)
        self.ice.stop(asyncio.get_running_loop())
        self.socket.close()

    async def pump(self, count: int = 1, *, tag: bytes = b"", start: int = 0) -> int:
        """Send ``count`` pictures of two packets and a sound each, real time; the next number."""
        for i in range(start, start + count):
            self.send_video(2 * i, 3000 * i, PARAMETERS + tag, transport=2 * i)
            self.send_video(2 * i + 1, 3000 * i, SLICE + tag, transport=2 * i + 1)
            self.send_audio(i, b"sound" + tag)
            await asyncio.sleep(0.02)
        return start + count


Make = Callable[[], RawPeer]
"""the fixture ``raw``"""


async def refusal_is_told(worker: WorkerProcess, *waiting: RawPeer) -> None:
    """Until the log says that packets from here were refused, and whose they claim to be; those who wait live
    on. It is told once in 10 s: others' tests may have had the last telling."""
    told = "refused kind=media from=127.0.0.1"
    async with asyncio.timeout(60):
        while f"{SLUG}/seat-a" not in worker.process.logged(told):
            for each in waiting:
                each.check()
            await asyncio.sleep(0.2)
