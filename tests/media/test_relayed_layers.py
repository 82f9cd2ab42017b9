"""When a layer goes on by itself; and its books, which are those of what Python forwards."""

from __future__ import annotations

import itertools
import random
import time

from server.media import messages, negotiation, reading, rtp, sdp
from server.media.publication import Publication
from server.media.reading import Arrival, Relayed
from server.media.recording import Tap, wall_us
from server.media.router import Conference
from server.media.subscription import Watcher
from server.media.switching import Switch
from tests.media.camera import publication
from tests.media.raw import PARAMETERS, SLICE, Make
from tests.media.relayed import needs_compiler, packet_of

pytestmark = needs_compiler


def _bind(found: Publication) -> None:
    assert found.video is not None
    if found.video.layers[0].ssrc is None:
        found.streams.bind(found.video.layers[0], 5, 0.0)


def _books(found: Publication) -> object:
    assert found.video is not None
    layer = found.video.layers[0]
    arrivals = vars(layer.arrivals) | {"holes": sorted(layer.arrivals.holes), "_answers": None}
    kept = layer.history.get(layer.arrivals.highest or 0)
    return arrivals, kept, layer._entered, layer.received_at_s


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


async def test_nothing_overtakes_what_is_held(raw: Make) -> None:
    """A repeat that came before the packet itself may be held; both would be sealed under one index."""
    found = publication(raw())
    assert found.video is not None
    layer = found.video.layers[0]
    _bind(found)
    layer.attach(Tap(found.video, lambda media: None))

    def take(number: int) -> bool:
        data = packet_of(5, number, 10, 3000 * number, kind=106)
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
        data = packet_of(5, number, 10, 3000 * number)
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
