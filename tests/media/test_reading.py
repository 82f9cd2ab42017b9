"""Both ways of reading the UDP socket, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from server.media import native, reading
from server.media.reading import DATAGRAM_BYTES, MAX_BATCH, Reader
from tests.media.harness import HAS_IPV6

WAYS = ("plain", "compiled")


def _reader(sock: socket.socket, way: str) -> Reader:
    if way == "compiled" and native.library() is None:
        pytest.skip("no compiler, so nothing compiled")
    return reading.reader(sock, way)


def _bound(host: str) -> socket.socket:
    sock = socket.socket(
        socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    )
    if host == "::":
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((host, 0))
    return sock


FAMILIES = [("127.0.0.1", "127.0.0.1")]
"""where we listen, and where it is sent to"""
if HAS_IPV6:
    FAMILIES += [("::", "127.0.0.1"), ("::", "::1")]


@pytest.fixture(params=FAMILIES)
def sockets(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The one that is read, and one that sends to it."""
    listening, host = request.param
    with _bound(listening) as ours, _bound(host) as theirs:
        theirs.connect((host, ours.getsockname()[1]))
        yield ours, theirs


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_is_read_in_order_cut_where_too_long_and_says_where_from(
    way: str, sockets: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = sockets
    reader = _reader(ours, way)
    assert list(reader.read()) == []
    sent = [bytes([i]) * size for i, size in enumerate([1, 0, 1200, 1200, 2048, 3000, 7])]
    for data in sent:
        theirs.send(data)
    found = [(bytes(data), address) for data, address in reader.read()]
    assert [data for data, _ in found] == [data[:DATAGRAM_BYTES] for data in sent if data]
    theirs.setblocking(True)
    theirs.settimeout(2)
    for address in {address for _, address in found}:
        ours.sendto(b"answer", address)
        assert theirs.recv(100) == b"answer", "the address is one that can be sent to"
    ours.setblocking(True)
    theirs.send(b"?")
    assert ours.recvfrom(10)[1] == found[0][1], "as the socket itself gives it"


@pytest.mark.parametrize("way", WAYS)
def test_a_flood_is_read_in_parts_and_an_error_of_an_earlier_send_hides_nothing(way: str) -> None:
    with _bound("127.0.0.1") as ours, _bound("127.0.0.1") as theirs:
        reader = _reader(ours, way)
        gone = _bound("127.0.0.1")
        nowhere = gone.getsockname()
        gone.close()
        for i in range(MAX_BATCH + 3):
            if i % 10 == 0:
                ours.sendto(b"?", nowhere)  # answered by ICMP
            theirs.sendto(i.to_bytes(2, "big"), ours.getsockname())
        numbers: list[int] = []
        for most in (MAX_BATCH, 3, 0):
            read = [int.from_bytes(data, "big") for data, _ in reader.read()]
            assert len(read) <= max(most, MAX_BATCH)
            numbers += read
        assert numbers == list(range(MAX_BATCH + 3))


def test_strangers_do_not_fill_the_memory_of_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_KNOWN", 4)
    with _bound("127.0.0.1") as ours:
        reader = _reader(ours, "compiled")
        for _ in range(3):
            strangers = [_bound("127.0.0.1") for _ in range(6)]
            for stranger in strangers:
                stranger.sendto(b"hello", ours.getsockname())
            found = [address for _, address in reader.read()]
            assert found == [stranger.getsockname() for stranger in strangers]
            for stranger in strangers:
                stranger.close()
        assert isinstance(reader, reading.Compiled)
        assert len(reader._known) <= 4
