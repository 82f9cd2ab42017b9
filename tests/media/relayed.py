"""A publisher whose packets go on by themselves (``relay.c``), and its two receivers."""

from __future__ import annotations

import shutil
import socket

import pytest
from pylibsrtp import Policy, Session

from server.media import flight, native, reading, rtp, sending, uplink
from server.media.limits import Allowance
from server.media.reading import Arrival, Ids, Stream
from server.media.relaying import Relay
from server.media.sending import Lanes
from server.media.srtp import Srtp

KEY = bytes(range(30))
PICTURE, SOUND = 7, 9

needs_compiler = pytest.mark.skipif(
    native.library() is None and shutil.which("cc") is None, reason="no compiler"
)


def _srtp(kind: int) -> Srtp:
    return Srtp(Session(Policy(key=KEY, ssrc_type=kind)))


def _bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind(("127.0.0.1", 0))
    return sock


class Line:
    """A publisher of a picture and a sound, each relayed to the same two receivers."""

    def __init__(self, packets_per_s: float = 1e6) -> None:
        self.ours, self.theirs = _bound(), _bound()
        self.receivers = [_bound(), _bound()]
        self.inbound = [_srtp(Policy.SSRC_ANY_INBOUND) for _ in self.receivers]
        self.sender = sending.Compiled(self.ours)
        self.reader = reading.Compiled(self.ours)
        self.reader.relay_by(self.sender)
        limit = uplink.Compiled(Allowance(packets_per_s, 1000), Allowance(1e9, 1e9))
        self.relays = {ssrc: Relay(limit) for ssrc in (PICTURE, SOUND)}
        self.flights = [flight.flight() for _ in self.receivers]
        peers = [_srtp(Policy.SSRC_ANY_OUTBOUND) for _ in self.receivers]
        self.lanes = {
            ssrc: Lanes(
                sending.Lane(
                    srtp, rtp.Head(100 + ssrc, [(5, b"v")], transport_id=3),
                    receiver.getsockname(), 102, 65_600, 0xFFFFFF00, way,
                )
                for srtp, receiver, way in zip(peers, self.receivers, self.flights, strict=True)
            )
            for ssrc in (PICTURE, SOUND)
        }  # fmt: skip
        for lanes in self.lanes.values():
            self.sender.prepare(lanes)
        self.protecting = _srtp(Policy.SSRC_ANY_OUTBOUND)
        inlet = self.reader.inlet(_srtp(Policy.SSRC_ANY_INBOUND), "owner")
        assert inlet is not None
        self.inlet = inlet
        streams = [Stream(ssrc, 96, b"", relay) for ssrc, relay in self.relays.items()]
        inlet.know(Ids(transport=3, level=1), streams)
        self.reader.lead(self.theirs.getsockname(), inlet)

    def send(self, plain: bytes) -> None:
        """From the publisher."""
        data = self.protecting.protect(plain, b"", rtcp=False)
        assert data is not None
        self.theirs.sendto(data, self.ours.getsockname())

    def read(self, now_s: float) -> list[tuple[bytes, Arrival | None]]:
        """What is left for Python."""
        return [(bytes(data), arrival) for data, _, arrival in self.reader.read(now_s)]

    def got(self, which: int) -> list[bytes]:
        """What has come to a receiver, plain."""
        found = []
        while True:
            try:
                data = self.receivers[which].recv(2048)
            except BlockingIOError:
                return found
            plain = self.inbound[which].unprotect(memoryview(data), rtcp=False)
            assert plain is not None
            found.append(bytes(plain))

    def close(self) -> None:
        """All sockets."""
        for sock in (self.ours, self.theirs, *self.receivers):
            sock.close()


def packet_of(
    ssrc: int, number: int, size: int, timestamp: int, transport: int = 0, kind: int = 96
) -> bytes:
    """One of its plain packets: with its number on the line and a level."""
    block = rtp.extension_block([(3, transport.to_bytes(2, "big")), (1, b"\x85")])
    return rtp.head(
        padding=False, marker=bool(number & 1), payload_type=kind, sequence=number & 0xFFFF,
        timestamp=timestamp, ssrc=ssrc, block=block,
    ) + bytes([number & 255]) * size  # fmt: skip
