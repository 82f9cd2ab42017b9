"""What goes on by itself (``relay.c``), held equal to what Python forwards; all else is left to Python."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from server.media import native, reading, relaying, rtp, uplink
from server.media.bursts import Burst, Packet, equalise
from server.media.downlink import Downlink
from server.media.layer import Layer
from server.media.limits import Allowance
from server.media.negotiation import Sources, slot_lines
from server.media.output import Output
from server.media.reading import Ids, Relayed, Stream
from server.media.relaying import Relay
from server.media.switching import Switch
from tests.media.camera import publication
from tests.media.raw import Make, RawPeer
from tests.media.relayed import PICTURE, SOUND, Line, needs_compiler, packet_of

MTU = 1200

pytestmark = needs_compiler


@pytest.fixture
def line() -> Iterator[Line]:
    """See ``Line``."""
    made = Line()
    yield made
    made.close()


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
            data = packet_of(ssrc, numbers[ssrc], size, timestamp, turn)
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
            line.send(packet_of(PICTURE, number, 100, 0))
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
        line.send(packet_of(ssrc, number, 10, 0, transport))
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
            line.send(packet_of(PICTURE, number, 10, 0))
            left += len(line.read(100.0))
            _relayed(line), line.inlet.take_came()
        assert left == 100, "of 1,000 at once, and ten a second"
        line.relays[PICTURE].arm(1100, line.lanes[PICTURE])
        line.send(packet_of(PICTURE, 1101, 10, 0))
        assert line.read(101.0) == []
    finally:
        line.close()


def test_what_is_never_asked_about_fills_no_memory(line: Line) -> None:
    line.relays[PICTURE].arm(0, line.lanes[PICTURE])
    left = []
    for number in range(1, 1500):
        line.send(packet_of(PICTURE, number, MTU, 0))
        left += line.read(100.0)
    assert line.reader.untold + len(left) == 1499
    assert left and line.reader.untold > 500
    told = [each.header.sequence for each in _relayed(line)]
    assert told == list(range(1, len(told) + 1))


def test_when_packets_came_is_known_before_the_books_are_kept(line: Line) -> None:
    """Their sender is told of them sooner; of those that are left to Python it is told there."""
    for ssrc, relay in line.relays.items():
        relay.arm(0, line.lanes[ssrc])
    rng = random.Random(5)
    numbers, by_python, came = dict.fromkeys(line.relays, 0), [], []
    for transport in range(65_400, 65_900):
        ssrc = rng.choice(tuple(line.relays))
        numbers[ssrc] += 1
        line.send(packet_of(ssrc, numbers[ssrc], 50, 0, transport & 0xFFFF))
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
        line.send(packet_of(SOUND, number, 10, 0, number))
        left += line.read(100.0)
    came = line.inlet.take_came()
    heard = [arrival.transport for _, arrival in left if arrival is not None]
    assert heard and sorted([number for _, number in came] + heard) == list(range(1, 701))


def _publishing(line: Line, raw: Make) -> tuple[RawPeer, Layer]:
    """A publisher whose one layer goes on over ``line``."""
    peer = raw()
    found = publication(peer)
    assert found.video is not None
    layer = found.video.layers[0]
    assert found.streams.bind(layer, 5, 0.0)
    line.inlet.owner, peer.ice._reader = peer.peer.binding, line.reader
    line.inlet.know(Ids(), [Stream(5, 106, b"", layer.relay)])
    return peer, layer


def _exhaust(found: uplink.Uplink, now_s: float) -> None:
    """No more may be sent, and more has been sent for so long that it is cut off with the next packet."""
    while found.limit.take(1, now_s):
        pass
    found._excess = now_s - uplink.EXCESS_S - 1, now_s


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
    first = packet_of(5, 1, 10, 3000, kind=106)
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
        line.send(packet_of(5, number, 10, 3000 * number, kind=106))
    assert line.read(11.0) == [] and line.reader.untold == 3
    if excess:
        _exhaust(layer.track.publication.uplink, 11.0)
        layer.track.publication.uplink.on_excess = leave
        line.send(packet_of(5, 5, 10, 15_000, kind=106))
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
    first = packet_of(5, 1, 10, 3000, kind=106)
    header = rtp.parse(first)
    assert header is not None
    layer.receive(first, header, 10.0)
    assert layer.fan.lanes is not None and layer.relay is not None
    line.sender.prepare(layer.fan.lanes)
    layer._arm()
    layer.track.on_layers = output.leave_fan  # it was silent for a second
    for number in (2, 3, 4):
        line.send(packet_of(5, number, 10, 3000 * number, kind=106))
    assert line.read(11.0) == [] and line.reader.untold == 3
    assert output.packets == 4 and output._fan is None


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
