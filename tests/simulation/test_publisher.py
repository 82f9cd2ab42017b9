"""A simulated room at work: its WHIP publication reaches a real aiortc player through the server."""

from __future__ import annotations

import asyncio
import colorsys
from pathlib import Path

import av
from aiortc import MediaStreamTrack, RTCPeerConnection

from server.conferences.models import Conference, Site
from server.permissions import Role
from server.simulation.clips import make_clip
from server.simulation.publisher import SimulatedSite
from server.simulation.scenes import hue_of
from server.web.site import now
from tests.web.conftest import House, house, rates  # noqa: F401
from tests.web.test_whip import a_token, controls, peers, post, worker  # noqa: F401

INDEX = 4


async def _frames(track: MediaStreamTrack, count: int) -> list[av.VideoFrame]:
    return [await asyncio.wait_for(track.recv(), 20) for _ in range(count)]


def _on_stage(house: House) -> None:  # noqa: F811
    """The room is shown on stage and holds the floor."""
    with house.database.write_session() as session:
        session.get_one(Site, house.cast.hue).floor_since = now()
        session.get_one(Conference, house.cast.conference_id).stage = "site:hue"
        session.commit()


async def test_a_player_sees_and_hears_the_room(
    house: House, peers: list[RTCPeerConnection], tmp_path: Path  # noqa: F811
) -> None:
    _on_stage(house)
    clip = make_clip("Yên Mỹ", INDEX, tmp_path)
    base_url = str(house.server.make_url("")).rstrip("/")
    encoder = a_token(house, Role.ENCODER, house.cast.hue)
    site = SimulatedSite(base_url, "tap-huan", encoder, clip)
    running = asyncio.create_task(site.run())
    await asyncio.wait_for(site.connected.wait(), 15)
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
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
