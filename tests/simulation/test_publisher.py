"""A simulated room at work: its WHIP publication reaches a real aiortc player through the server."""

from __future__ import annotations

import asyncio
import colorsys
from collections.abc import AsyncIterator
from typing import Any, cast

import av
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection

from server.conferences.models import Conference, Site
from server.media.ice import IceLite
from server.media.peer import Peer, make_certificate
from server.permissions import Role
from server.simulation import publisher
from server.simulation.clips import Clip, make_clip
from server.simulation.publisher import SimulatedSite
from server.simulation.scenes import hue_of
from server.web.site import now
from tests.media.harness import Process, eventually
from tests.web.conftest import House, house, rates  # noqa: F401
from tests.web.test_whip import a_token, controls, kind, peers, post, worker  # noqa: F401

INDEX = 4


async def _frames(track: MediaStreamTrack, count: int) -> list[av.VideoFrame]:
    return [await asyncio.wait_for(track.recv(), 60) for _ in range(count)]


def _on_stage(house: House) -> None:  # noqa: F811
    """The room is shown on stage and holds the floor."""
    with house.database.write_session() as session:
        session.get_one(Site, house.cast.hue).floor_since = now()
        session.get_one(Conference, house.cast.conference_id).stage = "site:hue"
        session.commit()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """What the room shows."""
    return make_clip("Yên Mỹ", INDEX, tmp_path_factory.mktemp("clips"))


@pytest.fixture
async def site(house: House, clip: Clip) -> AsyncIterator[SimulatedSite]:  # noqa: F811
    """A room that publishes."""
    _on_stage(house)
    base_url = str(house.server.make_url("")).rstrip("/")
    site = SimulatedSite(base_url, "tap-huan", a_token(house, Role.ENCODER, house.cast.hue), clip)
    running = asyncio.create_task(site.run())
    await asyncio.wait_for(site.connected.wait(), 60)
    yield site
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def offers(site: SimulatedSite, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """By which it publishes again."""
    offers: list[str] = []
    negotiate = site._negotiate

    async def counting(http: Any, offer: str) -> Any:
        offers.append(offer)
        return await negotiate(http, offer)

    monkeypatch.setattr(site, "_negotiate", counting)
    return offers


async def test_a_player_sees_and_hears_the_room(
    house: House, peers: list[RTCPeerConnection], site: SimulatedSite  # noqa: F811
) -> None:
    player = RTCPeerConnection()
    peers.append(player)
    player.addTransceiver("video", direction="recvonly")
    player.addTransceiver("audio", direction="recvonly")
    viewer = a_token(house, Role.VIEWER)
    await post(house.browser(), "/whep/tap-huan?source=stage", player, viewer)
    video, audio = (transceiver.receiver.track for transceiver in player.getTransceivers())
    frames, sound = await asyncio.gather(_frames(video, 20), _frames(audio, 50))
    assert {(frame.width, frame.height) for frame in frames} == {(640, 360)}
    assert len({bytes(frame.planes[0]) for frame in frames}) > 10  # it moves
    pixel = frames[-1].to_image().resize((1, 1)).getpixel((0, 0))
    hue = colorsys.rgb_to_hsv(*(part / 255 for part in pixel))[0] * 360
    assert abs((hue - hue_of(INDEX) + 180) % 360 - 180) < 16  # sites are 33 degrees apart
    loudest = max(max(map(abs, memoryview(part.planes[0]).cast("h"))) for part in sound)
    assert loudest > 1000


async def test_a_room_comes_back_as_soon_as_a_worker_was_started_again(
    site: SimulatedSite,
    worker: Process,  # noqa: F811
    offers: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told so; silence alone would take very long here."""
    monkeypatch.setattr(publisher, "SILENT_AFTER_S", 1e9)
    worker.kill()
    await asyncio.sleep(1)
    worker.start()
    await eventually(lambda: offers and site.connected.is_set())


async def test_a_worker_that_is_slow_for_a_moment_keeps_the_room(
    site: SimulatedSite, worker: Process, offers: list[str]  # noqa: F811
) -> None:
    await asyncio.to_thread(worker.pause, publisher.ASKS_AFTER_S + 0.5)
    await asyncio.sleep(2 * publisher.ASKS_AFTER_S)
    assert site.connected.is_set() and not offers


async def test_a_room_hears_of_the_end_of_its_session() -> None:
    """Its path stands in for the server's."""
    peer = Peer(cast(IceLite, publisher._Path()), make_certificate()[0])
    reasons: list[str] = []
    peer.on_ended = reasons.append
    peer._ended("left")
    assert reasons == ["left"]
    peer.close()
