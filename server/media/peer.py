"""One peer: DTLS-SRTP over a place on the ICE socket. THE place of aiortc's private names.

aiortc's ``RTCDtlsTransport`` makes the handshake over an object with ``_recv``, ``_send`` and
``role``. Media never goes through it: once the handshake is done its two SRTP sessions are
driven by ``srtp.py``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    SRTPProtectionProfile,
)

from server.media import rtp, srtp, tcp
from server.media.binding import Binding
from server.media.bursts import Burst
from server.media.flight import Flight
from server.media.ice import IceLite
from server.media.listening import Ear
from server.media.reading import Arrival, Ids, Inlet, Relayed, Stream
from server.media.sending import Lane, Lanes
from server.media.srtp import SALT_BYTES, Sealing, Srtp, can_seal

log = logging.getLogger(__name__)

PRIVATE_NAMES: tuple[tuple[object, str], ...] = (
    (RTCDtlsTransport, "_set_role"),
    (RTCDtlsTransport, "_recv_next"),
    (RTCDtlsTransport, "_setup_srtp"),
    *srtp.PRIVATE_NAMES,
)
"""each private function that this module counts on; a test asserts that it exists"""
PRIVATE_ATTRIBUTES = ("_rx_srtp", "_tx_srtp", "_srtp_profiles", "_role", "_state", "_ssl")
"""the same for attributes of a transport"""

EXPORTER = b"EXTRACTOR-dtls_srtp"
"""label of SRTP's keys (RFC 5764, 4.2)"""
CHANGE_CIPHER_SPEC, HANDSHAKE = 20, 22
"""content types of DTLS records (RFC 6347, 4.1)"""
MAX_QUEUED_DTLS = 32
MAX_LATE_ANSWERS = 10
"""repetitions of the last flight to a client that has not got it"""
RESEND_S = (0.1, 0.2, 0.4, 0.8, 1.6)
"""after so long a flight of the handshake is sent again while the next is not due, then every 1.6 s:
OpenSSL repeats one after 1 s only, and FFmpeg's WHIP muxer loses the first ClientHello"""


def make_certificate() -> tuple[RTCCertificate, str]:
    """A fresh certificate and its SDP fingerprint (``sha-256 AB:CD…``)."""
    certificate = RTCCertificate.generateCertificate()
    for fingerprint in certificate.getFingerprints():
        if fingerprint.algorithm == "sha-256":
            return certificate, f"sha-256 {fingerprint.value}"
    raise RuntimeError("no sha-256 fingerprint")


def _cost(profile: SRTPProtectionProfile) -> tuple[bool, int]:
    """AES-GCM before AES-CM with its HMAC, and 128 bits before 256, which cost a third more a packet."""
    return b"AEAD" not in profile.openssl_profile, profile.key_length


class _DtlsPath:
    """What ``RTCDtlsTransport`` takes for its ICE transport."""

    role = "controlled"

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._transmit = send
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_QUEUED_DTLS)
        self._flight: list[bytes] = []
        """what was sent since something last arrived"""
        self._answered = False
        self.flights = 0
        """begun so far"""
        self.late_answers = 0

    def feed(self, data: bytes | None) -> None:
        """A datagram has arrived; None: no more will."""
        self._answered = True  # perhaps in part only: the flight is kept until there is a next one
        if data is None and self._queue.full():
            self._queue.get_nowait()
        if not self._queue.full():
            self._queue.put_nowait(data)

    def resend(self) -> None:
        """Send the latest flight once more, byte by byte: so it is no other to who has it."""
        for data in self._flight:
            self._transmit(data)

    def mute(self) -> None:
        """Send nothing from now on."""
        self._transmit = lambda data: None

    async def _recv(self) -> bytes:
        data = await self._queue.get()
        if data is None:
            raise ConnectionError
        return data

    async def _send(self, data: bytes) -> None:
        if self._answered or not self._flight:
            self._answered = False
            self._flight.clear()
            self.flights += 1
        self._flight.append(data)
        self._transmit(data)


class Peer:
    """ICE-lite, DTLS and SRTP with one remote peer; calls back with plain packets.

    ``on_rtp(packet, now_s)`` and ``on_rtcp(packet)`` get memoryviews that are valid during the
    call only. ``on_media(packet, arrival, now_s)`` gets packets of streams that ``know`` has told,
    where compiled code reads, and ``on_relayed(relayed)`` hears of those that went on by themselves.
    ``on_connected()`` comes once, ``on_restarted()`` after each ICE restart, ``on_moved()`` when its
    path is another, ``on_ended(reason)`` at most once, with ``left`` or ``failed``, and never after
    ``close``.
    """

    def __init__(self, ice: IceLite, certificate: RTCCertificate) -> None:
        self.binding: Binding = ice.bind(self)
        self._ice = ice
        self._path = _DtlsPath(self.binding.send)
        self._dtls = RTCDtlsTransport(cast(Any, self._path), [certificate])
        self._dtls._srtp_profiles = sorted(self._dtls._srtp_profiles, key=_cost)
        self._remote: RTCDtlsParameters | None = None
        self._task: asyncio.Task[None] | None = None
        self._inbound: Srtp | None = None
        self._outbound: Srtp | None = None
        self._inlet: Inlet | None = None
        self._known: tuple[Ids, Sequence[Stream]] = (Ids(), ())
        self._closed = False
        self._reachable = False
        self.client = False
        """do we open the DTLS handshake?"""
        self.farewell = True
        """is it told when we close? Who is not finds out by checks without an answer"""
        self.on_rtp: Callable[[memoryview, float], None] = lambda packet, now_s: None
        self.on_rtcp: Callable[[memoryview], None] = lambda packet: None
        self._ear: Ear | None = None
        """is done with most RTCP before ``on_rtcp``"""
        self.on_media: Callable[[bytes, Arrival, float], None] = lambda packet, arrival, now_s: None
        self.on_relayed: Callable[[Sequence[Relayed]], None] = lambda relayed: None
        self.on_connected: Callable[[], None] = lambda: None
        self.on_ended: Callable[[str], None] = lambda reason: None
        self.on_restarted: Callable[[], None] = lambda: None
        self.on_moved: Callable[[], None] = lambda: None

    @property
    def connected(self) -> bool:
        """Is the handshake done, so that media may flow?"""
        return self._outbound is not None and not self._closed

    @property
    def fingerprints(self) -> list[tuple[str, str]] | None:
        """The remote certificate's (algorithm, value) as described, None before that."""
        if self._remote is None:
            return None
        return [(f.algorithm, f.value) for f in self._remote.fingerprints]

    def describe_remote(self, fingerprints: list[tuple[str, str]], *, client: bool) -> None:
        """The remote description is known; ``client``: we open the DTLS handshake."""
        self.client = client
        self._dtls._set_role("client" if client else "server")
        self._remote = RTCDtlsParameters(
            fingerprints=[RTCDtlsFingerprint(algorithm=a, value=v) for a, v in fingerprints]
        )
        self._begin_when_ready()

    def _begin_when_ready(self) -> None:
        if self._reachable and self._remote and self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._handshake(self._remote))

    async def _handshake(self, remote: RTCDtlsParameters) -> None:
        resender = asyncio.get_running_loop().create_task(self._resend())
        try:
            await self._dtls.start(remote)
        except (
            Exception
        ) as error:  # OpenSSL and cryptography raise what they like on a bad certificate
            log.info("dtls handshake failed: %s", type(error).__name__)
        finally:
            resender.cancel()
        if self._closed:
            return
        if self._dtls.state != "connected":
            self._ended("failed")
            return
        self._inbound = Srtp(self._dtls._rx_srtp)
        self._inlet = self.binding.open(self._inbound)
        self.know(*self._known)
        if self._ear is not None:
            self.listen(self._ear)
        self._outbound = self._make_outbound()
        self._dtls.on("statechange", self._state_changed)
        self.catch_up()
        self.on_connected()

    def know(self, ids: Ids, streams: Sequence[Stream]) -> None:
        """Packets of these streams may be read by compiled code, in the place of those before."""
        self._known = ids, streams
        if self._inlet is not None:
            self._inlet.know(ids, streams)

    def listen(self, ear: Ear) -> None:
        """What it is done with does not come to ``on_rtcp``."""
        self._ear = ear
        if self._inlet is not None:
            self._inlet.hear(ear)

    def take_came(self) -> list[tuple[float, int]]:
        """As ``Inlet.take_came``."""
        return self._inlet.take_came() if self._inlet is not None else []

    def _make_outbound(self) -> Srtp:
        """What protects our packets: compiled code where it can, and libsrtp elsewhere."""
        dtls, tls, session = self._dtls, self._dtls._ssl, self._dtls._tx_srtp
        assert tls is not None
        name = tls.get_selected_srtp_profile()
        profile = next(p for p in dtls._srtp_profiles if p.openssl_profile == name)
        if profile.salt_length != SALT_BYTES or not can_seal():
            return Srtp(session)
        size = 2 * (profile.key_length + profile.salt_length)
        keys = tls.export_keying_material(EXPORTER, size)
        own = profile.get_key_and_salt(keys, 1 if dtls._role == "server" else 0)
        return Sealing(session, own[: profile.key_length], own[profile.key_length :])

    async def _resend(self) -> None:
        flights = tries = 0
        while True:
            await asyncio.sleep(RESEND_S[min(tries, len(RESEND_S) - 1)])
            if flights == self._path.flights:
                self._path.resend()
                tries += 1
            else:
                flights, tries = self._path.flights, 0

    def _state_changed(self) -> None:
        if self._dtls.state in ("closed", "failed"):
            self._ended("left")

    def _ended(self, reason: str) -> None:
        self.catch_up()
        if not self._closed:
            self.on_ended(reason)

    # From the socket.

    def handle_reachable(self) -> None:
        """A valid check: DTLS may begin, before any nomination."""
        if not self._reachable:
            self._reachable = True
            self._begin_when_ready()

    def handle_restarted(self) -> None:
        """The line is another one: what was under way on the old one may be lost."""
        self.on_restarted()

    def handle_moved(self) -> None:
        """What was made for the old path is of no use."""
        self.on_moved()

    def handle_dtls(self, data: bytes) -> None:
        """A DTLS datagram, kept while the remote description is awaited."""
        path = self._path
        if self.connected and not self.client and data[0] in (CHANGE_CIPHER_SPEC, HANDSHAKE):
            # The client repeats its flight, so it lacks our last one. Nobody else would repeat that.
            if path.late_answers < MAX_LATE_ANSWERS:
                path.late_answers += 1
                path.resend()
        path.feed(data)

    def handle_srtp(self, data: memoryview, now_s: float) -> bool:
        """Unprotect and hand on; False if it was not authentic."""
        if self._inbound is None or len(data) < 8 or self._closed:
            return False
        rtcp = 192 <= data[1] <= 223  # RFC 5761, section 4
        packet = self._inbound.unprotect(data, rtcp=rtcp)
        if packet is None:
            return False
        if not (rtcp and self._ear is not None and self._ear.hear(packet, now_s)):
            self.handle_plain(packet, rtcp, now_s)
        return True

    def handle_plain(self, packet: memoryview, rtcp: bool, now_s: float) -> None:
        """Hand on what is authentic."""
        if self._closed:
            return
        if rtcp:
            self.on_rtcp(packet)
        else:
            self.on_rtp(packet, now_s)

    def handle_media(self, packet: bytes, arrival: Arrival, now_s: float) -> None:
        """The same of a stream that is known."""
        if not self._closed:
            self.on_media(packet, arrival, now_s)

    def handle_relayed(self, relayed: Sequence[Relayed]) -> None:
        """The same of what went on by itself."""
        if not self._closed:
            self.on_relayed(relayed)

    def handle_fall(self, now_s: float) -> None:
        """What our ear has heard on the way lowered the budget."""
        if self._ear is not None and not self._closed:
            self._ear.on_fall(now_s)

    # To the socket.

    def send_rtp(self, head: bytes | bytearray, payload: bytes | memoryview) -> None:
        """Send one RTP packet, given in two parts: its header, which stays readable, with all that
        belongs to it (CSRCs, extensions), and its payload, which is sealed."""
        if self._outbound is not None:
            data = self._outbound.protect(head, payload, rtcp=False)
            if data is not None:
                self.binding.send(data)

    def forward(self, lanes: Lanes, burst: Burst, now_s: float) -> None:
        """Send a burst on lanes of any peers on this socket; see ``sending``."""
        self._ice.forward(lanes, burst, now_s)

    def lane(
        self, head: rtp.Head, payload_type: int, number: int, timestamp: int, flight: Flight | None
    ) -> Lane | None:
        """A way for bursts under ``head``; None without a path on the UDP socket."""
        path = self.binding.path
        if self._outbound is None or path is None or isinstance(path, tcp.Connection):
            return None
        return Lane(self._outbound, head, path, payload_type, number, timestamp, flight)

    def flush(self) -> None:
        """Send what waits to be sent together: nothing overtakes it."""
        self._ice.flush()

    def catch_up(self) -> None:
        """Hear of all that has gone on by itself."""
        self._ice.catch_up()

    def noted(self, call: Callable[[], None]) -> None:
        """Call once all of that is noted."""
        self._ice.noted(call)

    def defer(self, call: Callable[[], None]) -> None:
        """Call once all that has come is read, so that it may go on at once."""
        self.binding.defer(call)

    def together(self, call: Callable[[], None]) -> None:
        """Call, and send at once all that it sends."""
        self.binding.together(call)

    def send_rtcp(self, packet: bytes) -> None:
        """Send one (compound) RTCP packet."""
        if self._outbound is not None:
            data = self._outbound.protect(packet, b"", rtcp=True)
            if data is not None:
                self.binding.send(data)

    def close(self) -> None:
        """Say goodbye (close_notify) and forget everything. Idempotent."""
        if self._closed:
            return
        self.catch_up()  # what is told later is nobody's
        if not self.farewell:
            self._path.mute()
        self._closed = True
        if self._inlet is not None:
            self._inlet.close()
        stop = asyncio.get_running_loop().create_task(self._stop())
        _stopping.add(stop)
        stop.add_done_callback(_stopping.discard)

    async def _stop(self) -> None:
        try:
            await self._dtls.stop()
        except Exception:
            log.info("dtls shutdown failed", exc_info=True)
        self._path.feed(None)
        self.binding.close()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=1)
            self._task.cancel()


_stopping: set[asyncio.Task[None]] = set()
"""farewells under way, owned here since their peers are gone; see ``finish_closing``"""


async def finish_closing() -> None:
    """Wait for every farewell under way."""
    if _stopping:
        await asyncio.wait(set(_stopping), timeout=2)
