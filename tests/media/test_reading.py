"""Both ways of reading the UDP socket, over real sockets; and compiled code, which unprotects and reads
headers on the way, held equal to Python.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator

import pytest
from pylibsrtp import Policy, Session

from server.media import addresses, native, reading, rtcp, rtp
from server.media.estimator import Compiled
from server.media.feedback import Feedback
from server.media.listening import Ear
from server.media.reading import DATAGRAM_BYTES, MAX_BATCH, Arrival, Ids, Reader, Stream
from server.media.srtp import MAX_SSRCS, Srtp
from tests.media.built import needs_built
from tests.media.harness import HAS_IPV6

WAYS = ("plain", "compiled")


def _reader(sock: socket.socket, way: str) -> Reader:
    if way == "compiled":
        needs_built()
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


FAMILIES = [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")]
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
    assert list(reader.read(time.monotonic())) == []
    sent = [bytes([i]) * size for i, size in enumerate([1, 0, 1200, 1200, 2048, 3000, 7])]
    for data in sent:
        theirs.send(data)
    found = [(bytes(data), address) for data, address, _ in reader.read(time.monotonic())]
    assert [data for data, _ in found] == [data[:DATAGRAM_BYTES] for data in sent if data]
    theirs.setblocking(True)
    theirs.settimeout(60)
    for address in {address for _, address in found}:
        addresses.send(ours, b"answer", address)
        assert theirs.recv(100) == b"answer", "the address is one that can be sent to"
    ours.setblocking(True)
    theirs.send(b"?")
    given, _ours = addresses.split(found[0][1])
    assert ours.recvfrom(10)[1] == given, "as the socket itself gives it"


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
            read = [int.from_bytes(data, "big") for data, *_ in reader.read(time.monotonic())]
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
            found = [address for _, address, _ in reader.read(time.monotonic())]
            assert found == [stranger.getsockname() for stranger in strangers]
            for stranger in strangers:
                stranger.close()
        assert isinstance(reader, reading.Compiled)
        assert len(reader._known) <= 4


KEY = bytes(range(30))
IDS = Ids(transport=3, level=1, rid=4, layers=5)
STREAMS = [Stream(7, 96, b""), Stream(8, 96, b"hi"), Stream(9, 97, b"lo")]


def _srtp(kind: int) -> Srtp:
    return Srtp(Session(Policy(key=KEY, ssrc_type=kind)))


def _packet(ssrc: int, number: int, elements: list[tuple[int, bytes]], payload_type: int) -> bytes:
    block = rtp.extension_block(elements) if elements else b""
    named = {"payload_type": payload_type, "sequence": number, "timestamp": 3, "ssrc": ssrc}
    return rtp.head(padding=False, marker=bool(number & 1), block=block, **named) + b"payload"


class Way:
    """A compiled reader to which a peer has proven itself; ``theirs`` is its socket."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        needs_built()
        self.reader = reading.Compiled(ours)
        self.ours, self.theirs = ours, theirs
        self.protecting = _srtp(Policy.SSRC_ANY_OUTBOUND)
        self.inlet = self.reader.inlet(_srtp(Policy.SSRC_ANY_INBOUND), "owner")
        assert self.inlet is not None
        self.inlet.know(IDS, STREAMS)
        theirs.send(b"who")
        self.address = next(self.reader.read(time.monotonic()))[1]
        self.reader.lead(self.address, self.inlet)

    def send(self, *packets: bytes, kind: bool = False) -> list[bytes]:
        """Protected; what was sent."""
        sent = []
        for packet in packets:
            protected = self.protecting.protect(packet, b"", rtcp=kind)
            assert protected is not None
            sent.append(bytes(protected))
            self.theirs.send(sent[-1])
        return sent

    def read(self) -> list[tuple[bytes, Arrival | None]]:
        """All that has come."""
        found = [
            (bytes(data), where, arrival)
            for data, where, arrival in self.reader.read(time.monotonic())
        ]
        assert {where for _, where, _ in found} <= {self.address}
        return [(data, arrival) for data, _, arrival in found]


@pytest.fixture
def way(sockets: tuple[socket.socket, socket.socket]) -> Way:
    """See ``Way``."""
    return Way(*sockets)


def test_what_comes_from_a_peer_is_unprotected_and_streams_that_are_known_are_read(
    way: Way,
) -> None:
    number, level = (3, b"\x12\x34"), (1, b"\x85")
    packets = [
        _packet(7, 1, [number, level], 96),
        _packet(8, 2, [number, (4, b"hi")], 96),
        _packet(8, 3, [number, (4, b"lo")], 96),  # names another
        _packet(9, 4, [], 97),
        _packet(9, 5, [], 96),  # of another type
        _packet(10, 6, [number], 96),  # of nobody
        _packet(7, 7, [number, (5, b"\x01\0\x64")], 96),  # tells which layers are sent
    ]
    protected = way.send(*packets)
    found = way.read()
    assert [data for data, _ in found] == packets
    arrivals = [arrival for _, arrival in found]
    assert [a and a.first for a in arrivals] == [True, *[False] * 6]
    kinds = [a.kind for a in arrivals if a is not None]
    media, plain = reading.MEDIA, reading.RTP
    assert kinds == [media, media, plain, media, plain, plain, reading.TELLING]
    told = [(a.transport, a.level) for a in arrivals if a is not None and a.kind == media]
    assert told == [(0x1234, 5), (0x1234, -1), (-1, -1)]
    for packet, arrival in found:
        assert arrival is not None and arrival.owner == "owner"
        if arrival.kind == media:
            assert arrival.header == rtp.parse(packet)

    way.theirs.send(protected[0])  # again
    way.theirs.send(bytes([0x80]) * 40)
    way.theirs.send(bytes([0x80]) * 7)
    way.theirs.send(b"\x16anything else")
    report = rtcp.receiver_report(1, [], "cname")
    way.send(report, kind=True)
    assert [
        (data if a is None or a.kind == reading.RTCP else None, a and a.kind)
        for data, a in way.read()
    ] == [
        (None, reading.FORGED),
        (None, reading.FORGED),
        (None, reading.FORGED),
        (b"\x16anything else", None),
        (report, reading.RTCP),
    ]


def test_how_long_ago_a_packet_came_is_told_whenever_it_is_read(way: Way) -> None:
    assert way.read() == []
    way.send(_packet(7, 1, [], 96))
    time.sleep(0.03)
    way.send(_packet(7, 2, [], 96))
    (_, before), (_, after) = way.read()
    assert before is not None and after is not None
    assert before.age - after.age >= 0.03 / reading.AGE_S - 1


def test_rtcp_goes_by_the_ear_of_who_has_one(way: Way) -> None:
    line = Compiled(100.0)
    falls: list[float] = []
    ear, feedback = Ear(line, falls.append), Feedback()
    assert way.inlet is not None
    way.inlet.hear(ear)

    def tell(at_s: float, lost: int = 0) -> bytes:
        numbers = [line.send(1000, at_s + i * 0.005) for i in range(40)]
        for number in numbers[lost:]:
            feedback.receive(number, at_s + 0.2)
        return b"".join(feedback.report(9, 7))

    report, remb = rtcp.receiver_report(1, [], "cname"), rtcp.remb(9, 500_000, [7])
    way.send(tell(100.0), report, remb, tell(100.2), kind=True)
    forged = bytearray(way.protecting.protect(report, b"", rtcp=True) or b"")
    forged[9] ^= 1
    way.theirs.send(forged)
    arrivals = [(bytes(data), arrival) for data, _, arrival in way.reader.read(100.4)]
    assert [arrival and (arrival.kind, arrival.first) for _, arrival in arrivals] == [
        (reading.HEARD, True),  # its address is alive, and all others that were heard say no more
        (reading.RTCP, False),
        (reading.FORGED, False),
    ]
    assert arrivals[1][0] == remb
    assert line.counted == 80 and ear.take_count() == 3
    kinds: list[int] = []
    for i in range(2, 20):
        way.send(tell(100.0 + i * 0.2, 30), kind=True)
        kinds += [a.kind for *_, a in way.reader.read(100.2 + i * 0.2) if a is not None]
    assert set(kinds) == {reading.HEARD, reading.FELL} and not falls, "whoever reads says so"


def test_who_has_closed_or_is_led_no_more_is_a_stranger_again(way: Way) -> None:
    assert way.inlet is not None
    for end in (way.inlet.close, lambda: way.reader.lead(way.address, None)):
        sent = way.send(_packet(7, 1, [], 96))
        end()
        assert way.read() == [(sent[0], None)], "as it came"
        way = Way(way.ours, way.theirs)
    way.send(_packet(7, 1, [], 96), _packet(7, 2, [], 96))
    rows = way.reader.read(time.monotonic())
    next(rows)
    way.reader.lead(way.address, None)
    assert list(rows) == [], "what was read with the one that ended it is lost"


@pytest.mark.parametrize("is_rtcp", [False, True])
def test_of_one_peer_as_many_streams_are_taken_as_can_be_looked_for_quickly(
    way: Way, is_rtcp: bool
) -> None:
    plain = _srtp(Policy.SSRC_ANY_INBOUND)

    def passes(ssrc: int, number: int) -> list[bool]:
        """By compiled code, and by Python."""
        report = rtcp.receiver_report(ssrc, [], "cname")
        (sent,) = way.send(report if is_rtcp else _packet(ssrc, number, [], 96), kind=is_rtcp)
        ((_, arrival),) = way.read()
        heard = plain.unprotect(memoryview(sent), rtcp=is_rtcp)
        return [arrival is not None and arrival.kind != reading.FORGED, heard is not None]

    for ssrc in range(MAX_SSRCS):
        assert passes(ssrc, 1) == [True, True]
    assert passes(MAX_SSRCS, 1) == [False, False]
    assert passes(0, 2) == passes(MAX_SSRCS - 1, 2) == [True, True], "who was there before goes on"


def test_more_addresses_than_there_is_room_for_are_read_as_they_come(way: Way) -> None:
    hosts = [f"10.{i >> 8}.{i & 255}.1" for i in range(4000)]
    prefix, rest = "::ffff:" if ":" in way.address[0] else "", way.address[2:]
    for host in hosts:
        way.reader.lead((prefix + host, 5, *rest), way.inlet)
    for host in hosts:
        way.reader.lead((prefix + host, 5, *rest), None)
    way.reader.lead(way.address, None)
    way.reader.lead(way.address, way.inlet)
    way.send(_packet(7, 1, [], 96))
    (row,) = [arrival for _, arrival in way.read()]
    assert row is not None and row.kind == reading.MEDIA, "there is room again"


def _plainly(packet: bytes) -> tuple[int, int, int, rtp.Header | None]:
    """What ``receive.c`` makes of a packet, in Python: kind, number, level, header."""
    header = rtp.parse(packet)
    if header is None:
        return reading.RTP, -1, -1, None
    stream = next((s for s in STREAMS if s[:2] == (header.ssrc, header.payload_type)), None)
    if stream is None:
        return reading.RTP, -1, -1, None
    numbers, levels, tells = [], [], False
    for identifier, value in rtp.extensions(packet, header):
        value = bytes(value)
        if identifier == IDS.transport:
            numbers += [int.from_bytes(value[:2])] if len(value) >= 2 else []
        elif identifier == IDS.level:
            levels += [value[0] & 127] if value else []
        elif identifier == IDS.layers:
            tells = True
        elif identifier == IDS.rid and stream.rid and value != stream.rid:
            return reading.RTP, -1, -1, None
    if len(numbers) > 1 or len(levels) > 1:
        return reading.RTP, -1, -1, None
    kind = reading.TELLING if tells else reading.MEDIA
    return kind, *(numbers or [-1]), *(levels or [-1]), header


@pytest.mark.parametrize("profile", [b"\xbe\xde", b"\x10\x00"], ids=["one byte", "two bytes"])
@pytest.mark.parametrize("filler", [b"\0", None], ids=["padding", "elements"])
def test_of_a_header_no_more_is_read_than_any_browser_writes(
    way: Way, profile: bytes, filler: bytes | None
) -> None:
    """700 elements took 0.2 ms a packet, of which a publisher may send 4,000 a second."""
    number = b"\x31\x12\x34" if profile == b"\xbe\xde" else b"\x03\x02\x12\x34"
    filler = filler or (b"\x90\0" if profile == b"\xbe\xde" else b"\x09\0")
    for before, found in ((rtp.MAX_ELEMENTS - 1, 0x1234), (rtp.MAX_ELEMENTS, -1)):
        block = filler * before + number
        block += bytes(-len(block) % 4)
        packet = bytearray(_packet(7, before, [(1, b"\0")], 96))
        packet[12:20] = profile + (len(block) // 4).to_bytes(2, "big") + block
        assert _plainly(bytes(packet))[:2] == (reading.MEDIA, found)
        way.send(bytes(packet))
        ((_, arrival),) = way.read()
        assert arrival is not None and (arrival.kind, arrival.transport) == (reading.MEDIA, found)


def test_packets_of_any_kind_are_read_as_python_reads_them(way: Way) -> None:
    ffi, code = native.library() or (None, None)
    assert ffi is not None and code is not None and way.inlet is not None
    row = ffi.new("char[]", reading.ROW.size)
    chance = random.Random(int(os.environ.get("DIEMCAU_SEED", "5")))
    media = 0
    for _ in range(4000):
        elements = [
            (
                chance.choice((0, 1, 3, 4, 5)),
                chance.choice((b"\x81", b"\x12\x34", b"hi", b"lo", b"abc")),
            )
            for _ in range(chance.randrange(4))
        ]
        stream = chance.choice(STREAMS)
        packet = bytearray(
            _packet(stream.ssrc, chance.getrandbits(16), elements, stream.payload_type)
        )
        if chance.random() < 0.3:
            packet[0] |= chance.choice((0x20, 0x10, 0x03))
            packet += bytes([chance.randrange(12)])
        if chance.random() < 0.2 and elements:
            packet[12:14] = chance.choice((b"\x10\x00", b"\x10\x07", b"\0\0"))
        for _ in range(chance.choice((0, 0, 0, 1, 3))):
            packet[chance.randrange(len(packet))] = chance.getrandbits(8)
        data = bytes(
            packet[: chance.choice((len(packet), len(packet), chance.randrange(len(packet) + 1)))]
        )
        whole = ffi.from_buffer("uint8_t[]", data) if data else ffi.NULL
        code.diemcau_read_packet(way.inlet.memory, whole, len(data), row)
        _, _, _, kind, _, _, transport, level, *rest = reading.ROW.unpack(ffi.buffer(row))
        wanted = _plainly(data)
        assert kind == wanted[0], data.hex()
        if kind in (reading.MEDIA, reading.TELLING):
            media += 1
            assert (kind, transport, level, rtp.Header._make(rest)) == wanted, data.hex()
    assert media > 1000
