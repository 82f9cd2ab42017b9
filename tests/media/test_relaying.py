"""What goes on by itself (``relay.c``), held equal to what Python forwards and notes."""

from __future__ import annotations

import itertools
import random
import shutil
import socket
import time
from collections.abc import Iterator

import pytest
from pylibsrtp import Policy, Session

from server.media import (
    flight,
    messages,
    native,
    negotiation,
    reading,
    relaying,
    rtp,
    sdp,
    sending,
    uplink,
)
from server.media.bursts import Burst, Packet, equalise
from server.media.downlink import Downlink
from server.media.layer import Layer
from server.media.limits import Allowance
from server.media.negotiation import Sources, slot_lines
from server.media.output import Output
from server.media.publication import Publication
from server.media.reading import Arrival, Ids, Relayed, Stream
from server.media.recording import Tap, wall_us
from server.media.relaying import Relay
from server.media.router import Conference
from server.media.sending import Lanes
from server.media.srtp import Srtp
from server.media.subscription import Watcher
from server.media.switching import Switch
from tests.media.camera import publication
from tests.media.raw import PARAMETERS, SLICE, Make, RawPeer

KEY = bytes(range(30))
PICTURE, SOUND = 7, 9
MTU = 1200

pytestmark = pytest.mark.skipif(
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


@pytest.fixture
def line() -> Iterator[Line]:
    """See ``Line``."""
    made = Line()
    yield made
    made.close()


def _packet(
    ssrc: int, number: int, size: int, timestamp: int, transport: int = 0, kind: int = 96
) -> bytes:
    block = rtp.extension_block([(3, transport.to_bytes(2, "big")), (1, b"\x85")])
    return rtp.head(
        padding=False, marker=bool(number & 1), payload_type=kind, sequence=number & 0xFFFF,
        timestamp=timestamp, ssrc=ssrc, block=block,
    ) + bytes([number & 255]) * size  # fmt: skip


def test_what_goes_on_by_itself_is_what_python_would_have_sent_and_is_told_of(line: Line) -> None:
    rng = random.Random(11)
    numbers = {PICTURE: 65_500, SOUND: 3}
    transport = 0
    for ssrc, relay in line.relays.items():
        relay.arm(numbers[ssrc] - 1, line.lanes[ssrc])
    for turn in range(120):
        now_s, timestamp = 100.0 + turn, 3000 * turn
        sent: dict[int, list[Packet]] = {PICTURE: [], SOUND: []}
        plain: dict[int, list[bytes]] = {PICTURE: [], SOUND: []}
        for _ in range(rng.randrange(1, 9)):
            ssrc = rng.choice((PICTURE, PICTURE, SOUND))
            timestamp += rng.choice((0, 0, 0, 3000))
            size = rng.choice((0, 40, 900, 901, 902, 905, 1100))
            data = _packet(ssrc, numbers[ssrc], size, timestamp, turn)
            line.send(data)
            header = rtp.parse(data)
            assert header is not None
            plain[ssrc].append(data)
            sent[ssrc].append(Packet(numbers[ssrc], header, data, False))
            numbers[ssrc] += 1
        assert line.read(now_s) == [], "nothing is left to do"
        for packets in sent.values():
            equalise(packets) if packets else None
        assert [came[1] for came in line.inlet.take_came()] == [turn] * sum(map(len, sent.values()))
        (at_once,) = line.reader.relayed()
        assert line.reader.untold == 0
        assert at_once[:3] == ("owner", line.theirs.getsockname(), now_s)
        told = at_once.relayed
        for ssrc, packets in sent.items():
            mine = [each for each in told if each.header.ssrc == ssrc]
            assert [each.packet for each in mine] == [packet.data for packet in packets]
            assert [each.size for each in mine] == [len(data) for data in plain[ssrc]]
            assert [each.header for each in mine] == [each.header for each in packets]
            for each in mine:
                assert (each.at_s, each.transport, each.level) == (now_s, turn, 5)
        for which in range(2):
            got = line.got(which)
            assert len(got) == len(told)
            for ssrc, packets in sent.items():
                mine_s = [data for data in got if int.from_bytes(data[8:12]) == 100 + ssrc]
                assert len(mine_s) == len(packets)
                for data, packet in zip(mine_s, packets, strict=True):
                    header = rtp.parse(data)
                    assert header is not None
                    assert header.sequence == (packet.number + 65_600) & 0xFFFF
                    assert header.timestamp == (packet.header.timestamp + 0xFFFFFF00) & 0xFFFFFFFF
                    assert header.marker == packet.header.marker
                    assert data[0] & 0x20 == packet.data[0] & 0x20
                    assert (
                        data[header.payload_start :] == packet.data[packet.header.payload_start :]
                    )
            for data in got:
                header = rtp.parse(data)
                assert header is not None
                number = dict(rtp.extensions(data, header))[3]
                assert bytes(number) == (transport & 0xFFFF).to_bytes(2, "big")
                transport += 1
            transport -= len(got) if which == 0 else 0
    assert line.sender.dropped == 0


def _relayed(line: Line) -> list[Relayed]:
    """All that has gone on by itself; by one address."""
    return [each for told in line.reader.relayed() for each in told.relayed]


def test_what_is_not_the_next_one_or_too_much_is_left_to_python(line: Line) -> None:
    relay = line.relays[PICTURE]

    def kinds(*numbers: int, now_s: float = 100.0) -> list[int]:
        """Of those that are left."""
        for number in numbers:
            line.send(_packet(PICTURE, number, 100, 0))
        return [arrival.kind for _, arrival in line.read(now_s) if arrival is not None]

    assert kinds(1, 2) == [reading.MEDIA] * 2, "it is not armed"
    relay.arm(2, line.lanes[PICTURE])
    assert kinds(3, 4) == [] and line.reader.untold == 2
    assert kinds(6, 7) == [reading.MEDIA] * 2, "what is missing is to be asked for at once"
    assert kinds(5) == [] and line.reader.untold == 3
    relay.disarm()
    assert kinds(8) == [reading.MEDIA]
    assert [each.header.sequence for each in _relayed(line)] == [3, 4, 5]
    relay.arm(10, None)
    assert kinds(9) == [reading.MEDIA], "late"
    assert kinds(11) == [] and line.reader.untold == 1, "noted, though there is nobody"
    assert [len(line.got(which)) for which in range(2)] == [3, 3]


def test_a_packet_behind_one_that_is_missing_on_the_line_is_left_to_python(line: Line) -> None:
    """By transport-wide numbers: of its own stream it is the next one."""
    for ssrc, relay in line.relays.items():
        relay.arm(0, line.lanes[ssrc])

    def left(ssrc: int, number: int, transport: int) -> bool:
        line.send(_packet(ssrc, number, 10, 0, transport))
        relay = line.relays[ssrc]
        found = line.read(100.0)
        relay.arm(number, line.lanes[ssrc])
        return bool(found)

    assert left(SOUND, 1, 40_000), "the first one: who knows"
    assert left(SOUND, 2, 65_534)
    assert not left(PICTURE, 1, 65_535)
    assert not left(PICTURE, 2, 0), "the next turn of numbers"
    assert left(SOUND, 3, 2)
    assert not left(PICTURE, 3, 1), "late, and asked for already"
    assert not left(PICTURE, 4, 3) and left(SOUND, 4, 5)
    assert left(SOUND, 5, 40_000), "a new beginning"
    assert not left(PICTURE, 5, 40_001)


def test_beyond_what_a_publisher_may_send_nothing_goes_on_by_itself() -> None:
    line = Line(packets_per_s=10)
    try:
        line.relays[PICTURE].arm(0, line.lanes[PICTURE])
        left = 0
        for number in range(1, 1101):
            line.send(_packet(PICTURE, number, 10, 0))
            left += len(line.read(100.0))
            _relayed(line), line.inlet.take_came()
        assert left == 100, "of 1,000 at once, and ten a second"
        line.relays[PICTURE].arm(1100, line.lanes[PICTURE])
        line.send(_packet(PICTURE, 1101, 10, 0))
        assert line.read(101.0) == []
    finally:
        line.close()


def test_what_is_never_asked_about_fills_no_memory(line: Line) -> None:
    line.relays[PICTURE].arm(0, line.lanes[PICTURE])
    left = []
    for number in range(1, 1500):
        line.send(_packet(PICTURE, number, MTU, 0))
        left += line.read(100.0)
    assert line.reader.untold + len(left) == 1499
    assert left and line.reader.untold > 500
    told = [each.header.sequence for each in _relayed(line)]
    assert told == list(range(1, len(told) + 1))


async def test_the_books_are_those_of_what_is_forwarded_by_python(raw: Make) -> None:
    """One publication gets packets, another hears of the same later."""
    now, later = (publication(raw()) for _ in range(2))
    rng = random.Random(3)
    number, timestamp, at_s = 65_000, 0, 10.0
    told: list[Relayed] = []
    for _ in range(3000):
        number += rng.choice((1, 1, 1, 1, 2))
        timestamp += rng.choice((0, 3000))
        at_s += 0.001
        begins = rng.random() < 0.02
        data = rtp.head(
            padding=False, marker=True, payload_type=106, sequence=number & 0xFFFF,
            timestamp=timestamp & 0xFFFFFFFF, ssrc=5,
        ) + (PARAMETERS if begins else SLICE) + bytes(rng.randrange(50))  # fmt: skip
        header = rtp.parse(data)
        assert header is not None
        _bind(now), _bind(later)
        arrival = Arrival(None, reading.MEDIA, True, 7, number & 0xFFFF, -1, header)
        now.peer.on_media(data, arrival, at_s)
        told.append(Relayed(data, at_s, len(data), 7, number & 0xFFFF, -1, *header))
        if rng.random() < 0.2:
            later.peer.on_relayed(told)
            told.clear()
            assert _books(now) == _books(later)
    later.peer.on_relayed(told)
    assert _books(now) == _books(later)


def test_when_packets_came_is_known_before_the_books_are_kept(line: Line) -> None:
    """Their sender is told of them sooner; of those that are left to Python it is told there."""
    for ssrc, relay in line.relays.items():
        relay.arm(0, line.lanes[ssrc])
    rng = random.Random(5)
    numbers, by_python, came = dict.fromkeys(line.relays, 0), [], []
    for transport in range(65_400, 65_900):
        ssrc = rng.choice(tuple(line.relays))
        numbers[ssrc] += 1
        line.send(_packet(ssrc, numbers[ssrc], 50, 0, transport & 0xFFFF))
        left = line.read(float(transport))
        by_python += [arrival.transport for _, arrival in left if arrival is not None]
        if left:
            line.relays[ssrc].arm(numbers[ssrc], line.lanes[ssrc])
        came += line.inlet.take_came() if rng.random() < 0.1 else []
    came += line.inlet.take_came()
    assert line.inlet.take_came() == [] and len(by_python) < 5
    assert [number for _, number in came] == [
        number & 0xFFFF for number in range(65_400, 65_900) if number & 0xFFFF not in by_python
    ]
    told = [(each.at_s - each.age * reading.AGE_S, each.transport) for each in _relayed(line)]
    assert sorted(came) == sorted(told)


def test_beyond_what_there_is_room_for_python_hears_of_when_packets_came(line: Line) -> None:
    line.relays[SOUND].arm(0, line.lanes[SOUND])
    left = []
    for number in range(1, 701):
        line.send(_packet(SOUND, number, 10, 0, number))
        left += line.read(100.0)
    came = line.inlet.take_came()
    heard = [arrival.transport for _, arrival in left if arrival is not None]
    assert heard and sorted([number for _, number in came] + heard) == list(range(1, 701))


async def test_the_books_may_wait_while_nobody_waits_for_anything(raw: Make) -> None:
    conference = Conference("hoi-nghi", lambda told: None, lambda told: None, lambda feed: None)
    found, watching = publication(raw()), raw()
    assert found.video is not None
    layer = found.video.layers[0]
    _bind(found)
    conference.add(found)
    assert conference.calm
    layer.requests.want()
    assert not conference.calm, "a keyframe is to be asked for"
    layer.requests.arrived(1.0)
    assert conference.calm
    offer = watching.offer().replace("a=sendonly", "a=recvonly")
    lines = negotiation.accept_offer(sdp.parse(offer), publishing=False)
    watcher = Watcher("stage", "seat-b", watching.peer, lines)
    conference.add(watcher)
    assert not conference.calm, "it is not known yet what it is worth"
    watcher.choose(1.0)
    assert conference.calm
    output = watcher.outputs["v"]
    output.want(layer, 1.0)
    layer.requests.arrived(1.0)
    assert not conference.calm, "it awaits a keyframe"
    output.want(None, 1.0)
    assert conference.calm


def _bind(found: Publication) -> None:
    assert found.video is not None
    if found.video.layers[0].ssrc is None:
        found.streams.bind(found.video.layers[0], 5, 0.0)


def _publishing(line: Line, raw: Make) -> tuple[RawPeer, Layer]:
    """A publisher whose one layer goes on over ``line``."""
    peer = raw()
    found = publication(peer)
    assert found.video is not None
    layer = found.video.layers[0]
    _bind(found)
    line.inlet.owner, peer.ice._reader = peer.peer.binding, line.reader
    line.inlet.know(Ids(), [Stream(5, 106, b"", layer.relay)])
    return peer, layer


def _exhaust(found: uplink.Uplink, now_s: float) -> None:
    """No more may be sent, and more has been sent for so long that it is cut off with the next packet."""
    while found.limit.take(1, now_s):
        pass
    found._excess = now_s - uplink.EXCESS_S - 1, now_s


def _books(found: Publication) -> object:
    assert found.video is not None
    layer = found.video.layers[0]
    arrivals = vars(layer.arrivals) | {"holes": sorted(layer.arrivals.holes), "_answers": None}
    kept = layer.history.get(layer.arrivals.highest or 0)
    return arrivals, kept, layer._entered, layer.received_at_s


@pytest.mark.parametrize("excess", [False, True], ids=["a layer that comes", "a cut off publisher"])
async def test_who_leaves_is_told_of_all_that_it_was_sent_and_sent_none_of_it_again(
    line: Line, raw: Make, excess: bool
) -> None:
    """Else the next source would go on by numbers that were sent, or a packet go twice: no index may seal
    two packets (RFC 7714, 8.1).
    """
    peer, layer = _publishing(line, raw)
    again: list[Packet] = []

    class Member(Switch):
        """Notes what is left to it."""

        def receive(self, layer: Layer, burst: Burst, now_s: float) -> None:
            again.extend(burst.packets)

    member = Member(90_000)
    layer.attach(member)
    layer.fan.join(member, line.lanes[PICTURE].lanes[0], 0)
    first = _packet(5, 1, 10, 3000, kind=106)
    header = rtp.parse(first)
    assert header is not None
    layer.receive(first, header, 10.0)
    assert layer.fan.lanes is not None and layer.relay is not None
    line.sender.prepare(layer.fan.lanes)
    layer._arm()
    assert layer.relay.armed
    sent: list[int] = []

    def leave() -> None:
        layer.fan.leave(member)
        sent.append(layer.fan.tally.packets)

    for number in (2, 3, 4):
        line.send(_packet(5, number, 10, 3000 * number, kind=106))
    assert line.read(11.0) == [] and line.reader.untold == 3
    if excess:
        _exhaust(layer.track.publication.uplink, 11.0)
        layer.track.publication.uplink.on_excess = leave
        line.send(_packet(5, 5, 10, 15_000, kind=106))
        for data, address, arrival in line.reader.read(11.0):
            assert arrival is not None and isinstance(address, tuple)
            peer.ice._take(data, address, arrival, 11.0)
    else:
        layer.track.on_layers = leave  # it was silent for a second
        peer.ice.catch_up()
    assert sent == [4] and again == []


async def test_who_is_asked_what_it_was_sent_may_be_made_to_leave_by_that(
    line: Line, raw: Make
) -> None:
    """What went on by itself is noted first, and a layer that has begun again changes who receives what."""
    peer, layer = _publishing(line, raw)
    output = Output(Downlink(peer.peer), slot_lines(0, False)[0], Sources(1, 2))
    output.rewriter.switch(layer, 0, 0, 10.0)
    layer.attach(output)
    output._join(layer.fan, line.lanes[PICTURE].lanes[0], 0)
    first = _packet(5, 1, 10, 3000, kind=106)
    header = rtp.parse(first)
    assert header is not None
    layer.receive(first, header, 10.0)
    assert layer.fan.lanes is not None and layer.relay is not None
    line.sender.prepare(layer.fan.lanes)
    layer._arm()
    layer.track.on_layers = output.leave_fan  # it was silent for a second
    for number in (2, 3, 4):
        line.send(_packet(5, number, 10, 3000 * number, kind=106))
    assert line.read(11.0) == [] and line.reader.untold == 3
    assert output.packets == 4 and output._fan is None


async def test_nothing_overtakes_what_is_held(raw: Make) -> None:
    """A repeat that came before the packet itself may be held; both would be sealed under one index."""
    found = publication(raw())
    assert found.video is not None
    layer = found.video.layers[0]
    _bind(found)
    layer.attach(Tap(found.video, lambda media: None))

    def take(number: int) -> bool:
        data = _packet(5, number, 10, 3000 * number, kind=106)
        header = rtp.parse(data)
        assert header is not None and layer.relay is not None
        layer.receive(data, header, 10.0 + number / 100)
        return layer.relay.armed

    assert take(1)
    assert not take(2), "no marker: the rest of the frame is waited for"
    assert take(3)


async def test_it_is_armed_while_nobody_needs_more_than_other_numbers(raw: Make) -> None:
    found = publication(raw())
    assert found.video is not None
    layer = found.video.layers[0]
    assert layer.relay is not None
    _bind(found)

    def take(number: int) -> bool:
        data = _packet(5, number, 10, 3000 * number)
        header = rtp.parse(data)
        assert header is not None
        layer.receive(data, header, 10.0 + number / 100)
        return layer.relay is not None and layer.relay.armed

    assert not layer.relay.armed and take(1), "nobody receives it: it is only counted"
    tap = Tap(found.video, lambda media: None)
    layer.attach(tap)
    assert not layer.relay.armed and take(3), "a recorder may hear of it later"
    layer.attach(Switch(90_000))
    assert not layer.relay.armed and not take(5), "who awaits a keyframe may not"


async def test_who_may_hear_later_hears_of_all_and_of_when_it_came(raw: Make) -> None:
    found = publication(raw())
    assert found.video is not None
    layer = found.video.layers[0]
    _bind(found)
    told: list[messages.Media] = []
    tap = Tap(found.video, told.append)
    tap.want(layer, 0.0)
    begin_s = time.monotonic() - 0.5
    for number in range(5):
        data = rtp.head(
            padding=False, marker=True, payload_type=106, sequence=number,
            timestamp=3000 * number, ssrc=5,
        ) + (SLICE if number else PARAMETERS)  # fmt: skip
        header = rtp.parse(data)
        assert header is not None
        layer.note([Relayed(data, begin_s + number / 100, len(data), 0, -1, -1, *header)])
    assert [each.packets[0][2:4] for each in told] == [bytes([0, i]) for i in range(5)]
    steps_us = [after.at_us - before.at_us for before, after in itertools.pairwise(told)]
    assert told[0].at_us <= wall_us() - 450_000 and min(steps_us) > 0


def test_where_nothing_was_compiled_nothing_goes_on_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled = uplink.limit()
    assert isinstance(compiled, uplink.Compiled) and relaying.relay(compiled) is not None
    monkeypatch.setattr(native, "library", lambda: None)
    assert relaying.relay(uplink.limit()) is None
    with pytest.raises(RuntimeError):
        uplink.Compiled(Allowance(1, 1), Allowance(1, 1))
    with pytest.raises(RuntimeError):
        Relay(compiled)
