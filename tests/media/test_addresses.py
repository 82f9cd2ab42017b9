"""Where datagrams come from and go to, over real sockets of a machine with several addresses: all of
127.0.0.0/8 are this one's.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest
from pylibsrtp import Policy, Session

from server.media import addresses, reading, rtp, sending
from server.media.addresses import Address
from server.media.bursts import Burst, Packet
from server.media.srtp import Srtp
from tests.media.built import needs_built
from tests.media.harness import HAS_IPV6

WAYS = ("plain", "compiled")
LISTENING = ["0.0.0.0", *(["::"] if HAS_IPV6 else [])]


def _bound(host: str, *, blocking: bool = True) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if host == "::":
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((host, 0))
    sock.setblocking(blocking)
    return sock


@pytest.fixture(params=LISTENING)
def everywhere(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """It listens on all addresses."""
    with _bound(request.param, blocking=False) as sock:
        yield sock


def _asks(server: socket.socket, host: str) -> socket.socket:
    """Asked ``host``, and takes what comes from there alone."""
    client = _bound("::1" if ":" in host else "127.0.0.9")
    client.settimeout(10)
    client.connect((host, server.getsockname()[1]))
    client.send(b"?")
    return client


def _read(reader: reading.Reader) -> Address:
    ((_, address, _),) = reader.read(time.monotonic())
    return address


def _burst(sizes: list[int]) -> Burst:
    packets = []
    for number, size in enumerate(sizes, 1):
        named = {"payload_type": 96, "sequence": number, "timestamp": 3, "ssrc": 7}
        data = rtp.head(padding=False, marker=False, **named) + os.urandom(size)
        header = rtp.parse(data)
        assert header is not None
        packets.append(Packet(number, header, data, False))
    return Burst(packets)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("offload", [True, False])
def test_whoever_asked_one_of_our_addresses_is_answered_from_it(
    everywhere: socket.socket, way: str, offload: bool
) -> None:
    if way == "compiled":
        needs_built()
    reader = reading.reader(everywhere, way)
    kind = sending.Plain if way == "plain" else sending.Compiled
    sender = kind(everywhere, offload=offload)
    for host in (
        "127.0.0.5",
        "127.0.0.6",
        *(["::1"] if everywhere.getsockname()[0] == "::" else []),
    ):
        with _asks(everywhere, host) as client:
            address = _read(reader)
            addresses.send(everywhere, b"!", address)
            assert client.recv(10) == b"!"
            srtp = Srtp(Session(Policy(key=bytes(30), ssrc_type=Policy.SSRC_ANY_OUTBOUND)))
            lane = sending.Lane(srtp, rtp.Head(7, []), address, 96, 0, 0)
            sender.forward(sending.Lanes((lane,)), _burst([500, 500, 100, 700]), 1.0)
            sender.flush()
            assert len([client.recv(2048) for _ in range(4)]) == 4
    assert sender.dropped == 0


def test_who_asks_two_of_our_addresses_comes_over_two_paths(everywhere: socket.socket) -> None:
    reader = reading.reader(everywhere)
    with _bound("127.0.0.9") as client:
        for host in ("127.0.0.5", "127.0.0.6"):
            client.sendto(b"?", (host, everywhere.getsockname()[1]))
        first, second = (address for _, address, _ in reader.read(time.monotonic()))
    assert first[:2] == second[:2] and first != second


@pytest.mark.parametrize("listening", [*LISTENING, "127.0.0.1"])
def test_an_address_is_written_as_the_kernel_does(listening: str) -> None:
    needs_built()
    with _bound(listening, blocking=False) as ours:
        reader = reading.Compiled(ours)
        with _asks(ours, "127.0.0.1"):
            address = _read(reader)
        (written,) = reader._known
        assert addresses.write(ours.family, address) == written
        assert addresses.read(ours.family, written) == address
        assert len(addresses.split(address)[1]) == (listening != "127.0.0.1")
