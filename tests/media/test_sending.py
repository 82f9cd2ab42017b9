"""Both ways of sending bursts, over real sockets with real SRTP."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator

import pytest
from pylibsrtp import Policy, Session

from server.media import flight, rtp, sending
from server.media.bursts import Burst, Packet, equalise
from server.media.sending import Lanes
from server.media.srtp import Srtp
from tests.media.built import needs_built

KEY = bytes(range(30))
SSRC, MID = 0x1234ABCD, b"wall7"


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The sender's and the receiver's."""
    pair = tuple(socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for each in pair:
        each.bind(("127.0.0.1", 0))
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        each.settimeout(60)
    yield pair[0], pair[1]
    for each in pair:
        each.close()


def _make(way: str, sock: socket.socket, *, offload: bool) -> sending.Sender:
    if way == "plain":
        return sending.Plain(sock, offload=offload)
    needs_built()
    return sending.Compiled(sock, offload=offload)


def _srtp(kind: int) -> Srtp:
    return Srtp(Session(Policy(key=KEY, ssrc_type=kind)))


def _packets(sizes: list[int], first: int = 70_000) -> list[Packet]:
    found = []
    for i, size in enumerate(sizes):
        head = rtp.head(
            padding=False, marker=i == len(sizes) - 1, payload_type=100,
            sequence=(first + i) & 0xFFFF, timestamp=90_000, ssrc=7,
        )  # fmt: skip
        data = head + os.urandom(size)
        header = rtp.parse(data)
        assert header is not None
        found.append(Packet(first + i, header, data, False))
    return found


def _lane(srtp: Srtp, receiver: socket.socket, sent: int = 0) -> sending.Lane:
    """``sent``: packets so far, by which transport-wide numbers go on."""
    under_way = flight.flight()
    for _ in range(sent):
        under_way.send(100, 1.0)
    head = rtp.Head(SSRC, [(5, MID)], transport_id=3)
    return sending.Lane(srtp, head, receiver.getsockname(), 102, 65_600, 0xFFFFFF00, under_way)


@pytest.mark.parametrize("way", ["plain", "compiled"])
@pytest.mark.parametrize("offload", [True, False])
def test_each_packet_arrives_whole_and_numbered_anew(
    sockets: tuple[socket.socket, socket.socket], way: str, offload: bool
) -> None:
    """Runs of equal sizes, a smaller last one, a larger next one, more than one run holds."""
    sender = _make(way, sockets[0], offload=offload)
    sizes = [900, 900, 900, 300, 900, 901, 20] + [1100] * 150 + [1, 1400, 0]
    packets = _packets(sizes)
    burst, lane = Burst(packets), _lane(_srtp(Policy.SSRC_ANY_OUTBOUND), sockets[1], 65_500)
    inbound = _srtp(Policy.SSRC_ANY_INBOUND)
    for lap in range(2):
        sender.forward(Lanes((lane,)), burst, 1.0)
        sender.flush()
        for i, packet in enumerate(packets if lap == 0 else []):
            got = inbound.unprotect(memoryview(sockets[1].recv(2048)), rtcp=False)
            assert got is not None
            header = rtp.parse(got)
            assert header is not None
            assert header.sequence == (packet.number + 65_600) & 0xFFFF
            assert header.timestamp == (90_000 + 0xFFFFFF00) & 0xFFFFFFFF
            assert (header.ssrc, header.payload_type) == (SSRC, 102)
            assert header.marker == packet.header.marker
            extensions = {number: bytes(value) for number, value in rtp.extensions(got, header)}
            assert extensions == {3: ((65_500 + i) & 0xFFFF).to_bytes(2, "big"), 5: MID}
            assert got[header.payload_start :] == packet.data[12:]
        if lap == 0:  # libsrtp refuses the same numbers a second time
            assert sender.dropped == 0
    sockets[1].settimeout(0.05)
    with pytest.raises(TimeoutError):
        sockets[1].recv(2048)


@pytest.mark.parametrize("way", ["plain", "compiled"])
def test_what_cannot_be_sent_is_counted_and_stops_nothing(
    sockets: tuple[socket.socket, socket.socket], way: str
) -> None:
    sender = _make(way, sockets[0], offload=True)
    outbound = _srtp(Policy.SSRC_ANY_OUTBOUND)
    nowhere = _lane(outbound, sockets[1])
    nowhere.address = ("255.255.255.255", 9)  # refused without SO_BROADCAST
    sender.forward(Lanes((nowhere,)), Burst(_packets([500] * 5)), 1.0)
    sender.forward(Lanes((_lane(outbound, sockets[1]),)), Burst(_packets([500] * 5, 70_005)), 1.0)
    sender.flush()
    assert sender.dropped == 5
    assert len([sockets[1].recv(2048) for _ in range(5)]) == 5


@pytest.mark.parametrize("way", ["plain", "compiled"])
def test_a_burst_goes_to_all_of_its_receivers_and_what_comes_after_it_never_before(
    sockets: tuple[socket.socket, socket.socket], way: str
) -> None:
    sender = _make(way, sockets[0], offload=True)
    lanes = Lanes(_lane(_srtp(Policy.SSRC_ANY_OUTBOUND), sockets[1], 10 * i) for i in range(70))
    for first in (70_000, 70_003):
        sender.forward(lanes, Burst(_packets([700, 700, 40], first)), 1.0)
    del lanes  # receivers may leave in between
    sender.flush()
    numbers = []
    for _ in range(70 * 6):
        data = sockets[1].recv(2048)
        numbers.append((data[17] << 8 | data[18], data[2] << 8 | data[3]))
    assert sender.dropped == 0
    for i in range(70):
        mine = numbers[3 * i : 3 * i + 3] + numbers[210 + 3 * i : 213 + 3 * i]
        assert mine == [(10 * i + n, (70_000 + 65_600 + n) & 0xFFFF) for n in range(6)]


@pytest.mark.parametrize("way", ["plain", "compiled"])
def test_streams_of_one_receiver_that_go_together_arrive_whole_and_in_order(
    sockets: tuple[socket.socket, socket.socket], way: str
) -> None:
    """Bursts of many sizes and of two streams in turn, to two receivers; more than one send holds."""
    sender = _make(way, sockets[0], offload=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(2)
        receivers = (sockets[1], other)
        rng = random.Random(5)
        inbound, lanes = [], []
        for receiver in receivers:
            outbound = _srtp(Policy.SSRC_ANY_OUTBOUND)
            inbound.append(_srtp(Policy.SSRC_ANY_INBOUND))
            lanes.append([_lane(outbound, receiver) for _ in range(2)])
            lanes[-1][1].head = rtp.Head(SSRC + 1, [(5, MID)], transport_id=3)
            lanes[-1][1].flight = lanes[-1][0].flight
        together = [Lanes(pair) for pair in zip(*lanes, strict=True)]
        sent: list[tuple[int, bytes]] = []
        numbers = [70_000, 70_000]
        for turn in range(60):
            stream = turn % 2
            packets = _packets(
                rng.choices((0, 40, 500, 501, 1100), k=1 + turn % 4), numbers[stream]
            )
            numbers[stream] += len(packets)
            sender.forward(together[stream], Burst(packets), 1.0)
            sent += [(SSRC + stream, packet.data[12:]) for packet in packets]
            if turn % 20 == 19:
                sender.flush()
        for receiver, srtp in zip(receivers, inbound, strict=True):
            for i, (ssrc, payload) in enumerate(sent):
                got = srtp.unprotect(memoryview(receiver.recv(2048)), rtcp=False)
                assert got is not None
                header = rtp.parse(got)
                assert header is not None
                assert (header.ssrc, got[header.payload_start :]) == (ssrc, payload)
                assert dict(rtp.extensions(got, header))[3] == i.to_bytes(2, "big")
    assert sender.dropped == 0


def test_packets_of_a_frame_that_differ_by_a_byte_are_made_equal() -> None:
    packets = _packets([1143, 1144, 1144, 1145, 300])
    originals = [packet.data for packet in packets]
    padded = equalise(packets)
    assert {packet.number for packet in padded} == {packet.number for packet in packets[:3]}
    assert [len(packet.data) for packet in packets] == [1157, 1157, 1157, 1157, 312]
    for packet, original in zip(packets, originals, strict=True):
        header = rtp.parse(packet.data)
        assert header is not None
        assert packet.data[12 : header.payload_end] == original[12:]
    assert Burst(packets).octets == 1143 + 1144 + 1144 + 1145 + 300
