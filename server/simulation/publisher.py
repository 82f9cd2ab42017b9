"""A simulated room: publishes a clip over real WebRTC by WHIP, without encoding anything.

It is a controlling ICE agent with one address, and the server's own DTLS-SRTP peer; what it sends
is packetized once for each clip (RFC 6184). The clip is in step with the wall clock, so that the
dial in its picture is right.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import structlog
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket

from server.media import stun
from server.media.ice import IceLite
from server.media.peer import Peer, finish_closing, make_certificate
from server.simulation.clips import KEYFRAME_INTERVAL, OPUS_PACKET_S, Clip
from server.simulation.scenes import FRAME_RATE

log = structlog.get_logger("publisher")

VIDEO_TYPE, AUDIO_TYPE = 96, 111
VIDEO_HZ, AUDIO_HZ = 90_000, 48_000
FRAGMENT = "application/trickle-ice-sdpfrag"
MAX_PAYLOAD_BYTES = 1180
TICK_S = 0.02
CHECK_EVERY_S = 0.25
ASKS_AFTER_S, ASKS_EVERY_S = 0.6, 1.0
"""without an answer to our checks: whether the server still knows the session"""
SILENT_AFTER_S = 5.0
"""without an answer to our checks the server is gone, whatever it says"""
REPORT_EVERY_S = 2.0
CONNECT_WITHIN_S = 10.0
BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 4.0)
NTP_EPOCH_S = 2_208_988_800
"""seconds from 1900 to 1970 (RFC 5905, 6)"""
_FU_A, _TYPE, _REFERENCE = 28, 0x1F, 0xE0
_RTP = struct.Struct("!BBHII")


class Lost(Exception):
    """The server refused us, or went away."""


def packetize(access_unit: tuple[bytes, ...]) -> list[bytes]:
    """RTP payloads of one frame: single NAL units and FU-A fragments (RFC 6184, 5.6 and 5.8)."""
    payloads: list[bytes] = []
    for unit in access_unit:
        if len(unit) <= MAX_PAYLOAD_BYTES:
            payloads.append(unit)
            continue
        indicator, kind, rest = (unit[0] & _REFERENCE) | _FU_A, unit[0] & _TYPE, unit[1:]
        size = MAX_PAYLOAD_BYTES - 2
        pieces = [rest[at : at + size] for at in range(0, len(rest), size)]
        for index, piece in enumerate(pieces):
            edges = (0x80 if index == 0 else 0) | (0x40 if index == len(pieces) - 1 else 0)
            payloads.append(bytes((indicator, edges | kind)) + piece)
    return payloads


class _Path(asyncio.DatagramProtocol):
    """A controlling ICE agent with one path, in the place of the server's ICE socket."""

    def __init__(self) -> None:
        self.ufrag, self.password = secrets.token_hex(4), secrets.token_hex(12)
        self.heard_at_s = time.monotonic()
        self._transport: asyncio.DatagramTransport | None = None
        self._peer: Peer | None = None
        self._remote = ("", "")

    def bind(self, peer: Peer) -> _Path:
        """As ``IceLite.bind``: the place of the one peer."""
        self._peer = peer
        return self

    def open(self, srtp: object) -> None:
        """As ``Binding.open``: no compiled code reads here."""

    def catch_up(self) -> None:
        """As ``IceLite.catch_up``: nothing goes on by itself here."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def check(self, ufrag: str, password: str) -> None:
        """Send a connectivity check that nominates the path."""
        name = f"{ufrag}:{self.ufrag}"
        self.send(stun.request(secrets.token_bytes(12), name, password, use_candidate=True))

    def send(self, data: bytes | memoryview) -> None:
        """Send one datagram."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data)

    def datagram_received(self, data: bytes, _address: Any) -> None:
        """STUN, DTLS and SRTP by the first byte (RFC 7983)."""
        if self._peer is None or not data:
            return
        if data[0] < 4:
            if int.from_bytes(data[:2]) == stun.BINDING_SUCCESS:
                self.heard_at_s = time.monotonic()
                self._peer.handle_reachable()
        elif 20 <= data[0] <= 63:
            self._peer.handle_dtls(data)
        elif 128 <= data[0] <= 191:
            self._peer.handle_srtp(memoryview(data), time.monotonic())

    def error_received(self, _error: Exception) -> None:
        """The port is closed for a moment: the checks will tell."""

    def close(self) -> None:
        """Give the socket back."""
        if self._transport is not None:
            self._transport.close()


class _Track:
    """One stream's numbers: SSRC, sequence, counts for the sender report."""

    def __init__(self, payload_type: int, clock_hz: int, frames_hz: float) -> None:
        self.ssrc = secrets.randbits(32)
        self._type, self._clock_hz, self._frames_hz = payload_type, clock_hz, frames_hz
        self._sequence = secrets.randbits(15)
        self._base = secrets.randbits(32)
        self._packets = self._octets = 0
        self.next = 0
        """the number of the frame to send next, counted from the epoch"""

    def due(self, now_s: float, step: int) -> Iterator[int]:
        """Frames whose time has come; begins, and after a pause goes on, at a multiple of step."""
        newest = int(now_s * self._frames_hz)
        if newest - self.next > self._frames_hz:
            self.next = -(-newest // step) * step
        while self.next <= newest:
            yield self.next
            self.next += 1

    def head(self, frame: int, payload: bytes, extension: bytes, last: bool) -> bytes:
        """What stands before the payload of one packet: the header with a one-byte-header extension
        block (RFC 8285)."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._packets += 1
        self._octets += len(payload)
        kind = self._type | (0x80 if last else 0)
        head = _RTP.pack(0x90, kind, self._sequence, self._timestamp(frame), self.ssrc)
        return head + b"\xbe\xde\x00\x01" + extension

    def _timestamp(self, frame: float) -> int:
        return (self._base + int(frame * self._clock_hz / self._frames_hz)) & 0xFFFFFFFF

    def report(self, now_s: float) -> bytes:
        """A sender report (RFC 3550, 6.4.1)."""
        info = RtcpSenderInfo(
            ntp_timestamp=int((now_s + NTP_EPOCH_S) * (1 << 32)),
            rtp_timestamp=self._timestamp(now_s * self._frames_hz),
            packet_count=self._packets & 0xFFFFFFFF,
            octet_count=self._octets & 0xFFFFFFFF,
        )
        return bytes(RtcpSrPacket(ssrc=self.ssrc, sender_info=info))


@dataclass(frozen=True)
class _Session:
    """What the server calls it, and the state of its ICE session."""

    url: str
    etag: str


class SimulatedSite:
    """Publishes ``clip`` as the site of ``token`` until ``run`` is cancelled."""

    def __init__(
        self, base_url: str, conference: str, token: str, clip: Clip, *, verify_tls: bool = True
    ) -> None:
        self._url = f"{base_url}/whip/{conference}"
        self._origin = base_url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._ssl = True if verify_tls else False
        self._clip = clip
        self._frames = [packetize(unit) for unit in clip.access_units]
        self.connected = asyncio.Event()
        """set while its sound and picture go out"""

    async def run(self) -> None:
        """Publish; again whenever the server went away."""
        failures = 0
        while True:
            try:
                await self._publish()
            except (Lost, OSError, TimeoutError, aiohttp.ClientError) as error:
                if self.connected.is_set():
                    failures = 0
                self.connected.clear()
                log.info("publishes again", site=self._clip.name, why=type(error).__name__)
                await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                failures += 1

    async def _publish(self) -> None:
        path, (certificate, fingerprint) = _Path(), make_certificate()
        peer = Peer(cast(IceLite, path), certificate)
        ended = asyncio.Event()
        peer.on_ended = lambda _reason: ended.set()
        video = _Track(VIDEO_TYPE, VIDEO_HZ, FRAME_RATE)
        audio = _Track(AUDIO_TYPE, AUDIO_HZ, 1 / OPUS_PACKET_S)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._ssl)) as http:
            session = watching = None
            try:
                offer = _offer(path, fingerprint, video.ssrc, audio.ssrc)
                session, answer = await self._negotiate(http, offer)
                ufrag, password = _field(answer, "ice-ufrag"), _field(answer, "ice-pwd")
                kind, _, value = _field(answer, "fingerprint").partition(" ")
                host, port = _candidate(answer)
                await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: path, remote_addr=(host, port)
                )
                peer.describe_remote([(kind, value)], client=_field(answer, "setup") == "passive")
                watching = asyncio.create_task(self._watch(http, session, path, ended))
                await self._send(peer, path, (ufrag, password), video, audio, ended)
            finally:
                if watching is not None:
                    watching.cancel()
                peer.close()
                await finish_closing()
                if session is not None:
                    await self._delete(http, session)

    async def _negotiate(self, http: aiohttp.ClientSession, offer: str) -> tuple[_Session, str]:
        headers = {**self._headers, "Content-Type": "application/sdp"}
        async with http.post(self._url, data=offer, headers=headers) as response:
            if response.status != 201:
                raise Lost(str(response.status))
            if "Location" not in response.headers:
                raise Lost("an answer without a location")
            location = response.headers["Location"]
            url = location if location.startswith("http") else self._origin + location
            return _Session(url, response.headers.get("ETag", "")), await response.text()

    async def _watch(
        self, http: aiohttp.ClientSession, session: _Session, path: _Path, ended: asyncio.Event
    ) -> None:
        """Where nothing is heard, ask for the session by the least that may be said of it, that there
        are no more candidates (RFC 9725, 4.3.1): a worker that was started again knows none, and
        says so as soon as it can."""
        headers = {**self._headers, "Content-Type": FRAGMENT, "If-Match": session.etag}
        while not ended.is_set():
            await asyncio.sleep(TICK_S)
            if time.monotonic() - path.heard_at_s < ASKS_AFTER_S:
                continue
            with contextlib.suppress(OSError, TimeoutError, aiohttp.ClientError):
                body = "a=end-of-candidates\r\n"
                async with http.patch(session.url, data=body, headers=headers) as answer:
                    if answer.status == 404:
                        ended.set()
            await asyncio.sleep(ASKS_EVERY_S)

    async def _delete(self, http: aiohttp.ClientSession, session: _Session) -> None:
        try:
            async with asyncio.timeout(1), http.delete(session.url, headers=self._headers):
                pass
        except (OSError, TimeoutError, aiohttp.ClientError):
            pass  # it is going away as well

    async def _send(
        self,
        peer: Peer,
        path: _Path,
        remote: tuple[str, str],
        video: _Track,
        audio: _Track,
        ended: asyncio.Event,
    ) -> None:
        """Check, shake hands, then send what is due. Raises: Lost."""
        began_s = time.monotonic()
        path.heard_at_s = began_s
        checked_s = reported_s = 0.0
        while not ended.is_set():
            now_s, wall_s = time.monotonic(), time.time()
            if now_s - checked_s >= (CHECK_EVERY_S if peer.connected else 0.1):
                path.check(*remote)
                checked_s = now_s
            if peer.connected:
                self._send_due(peer, video, audio, wall_s)
                if now_s - reported_s >= REPORT_EVERY_S:
                    peer.send_rtcp(video.report(wall_s))
                    peer.send_rtcp(audio.report(wall_s))
                    reported_s = now_s
                self.connected.set()
            elif now_s - began_s > CONNECT_WITHIN_S:
                raise Lost("no handshake")
            if now_s - path.heard_at_s > SILENT_AFTER_S:
                raise Lost("silent")
            await asyncio.sleep(TICK_S)
        raise Lost("ended")

    def _send_due(self, peer: Peer, video: _Track, audio: _Track, wall_s: float) -> None:
        clip = self._clip
        for number in audio.due(wall_s, 1):
            index = number % len(clip.opus_packets)
            level = clip.audio_levels[index]
            extension = bytes((0x10, ord("1"), 0x20, level | (0x80 if level < 60 else 0)))
            sound = clip.opus_packets[index]
            peer.send_rtp(audio.head(number, sound, extension, False), sound)
        for number in video.due(wall_s, KEYFRAME_INTERVAL):
            payloads = self._frames[number % len(self._frames)]
            for index, payload in enumerate(payloads):
                last = index == len(payloads) - 1
                peer.send_rtp(video.head(number, payload, b"\x100\x00\x00", last), payload)


def _offer(path: _Path, fingerprint: str, video_ssrc: int, audio_ssrc: int) -> str:
    shared = [
        "c=IN IP4 0.0.0.0",
        "a=sendonly",
        "a=rtcp-mux",
        f"a=ice-ufrag:{path.ufrag}",
        f"a=ice-pwd:{path.password}",
        f"a=fingerprint:{fingerprint}",
        "a=setup:actpass",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid",
    ]
    lines = [
        "v=0",
        f"o=- {secrets.randbits(62)} 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        f"m=video 9 UDP/TLS/RTP/SAVPF {VIDEO_TYPE}",
        *shared,
        "a=mid:0",
        f"a=rtpmap:{VIDEO_TYPE} H264/{VIDEO_HZ}",
        f"a=fmtp:{VIDEO_TYPE} level-asymmetry-allowed=1;packetization-mode=1;"
        "profile-level-id=42e01f",
        f"a=ssrc:{video_ssrc} cname:room",
        f"m=audio 9 UDP/TLS/RTP/SAVPF {AUDIO_TYPE}",
        *shared,
        "a=extmap:2 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=mid:1",
        f"a=rtpmap:{AUDIO_TYPE} opus/{AUDIO_HZ}/2",
        f"a=fmtp:{AUDIO_TYPE} minptime=10;useinbandfec=1",
        f"a=ssrc:{audio_ssrc} cname:room",
    ]
    return "\r\n".join(lines) + "\r\n"


def _field(answer: str, name: str) -> str:
    found = re.search(rf"^a={name}:(.+?)\r?$", answer, re.MULTILINE)
    if found is None:
        raise Lost(f"an answer without {name}")
    return found[1]


def _candidate(answer: str) -> tuple[str, int]:
    """The first UDP candidate of component 1 (RFC 8839, 5.1)."""
    found = re.search(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ", answer, re.M | re.I)
    if found is None:
        raise Lost("an answer without candidates")
    return found[1], int(found[2])
