"""What the demo's JSON line promises to programs: addresses and tokens."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiortc import RTCPeerConnection, RTCSessionDescription

from server.simulation.client import SeatClient
from server.simulation.reference import TITLE
from tests.e2e.conftest import Demo

# None is driven here, but the demo is the one that those tests share: another would cost four times as much
# as all that is asked of it.
pytestmark = pytest.mark.browser

SEATS = ("moderator", "operator", "display", "trainee", "speaker", "advisor", "observer")
PAGES = {"organiser": "/conferences/{0.conference}", "viewer": "/replay/{0.recording}"}
"""Links that lead to a page instead of a seat's."""
SDP = "application/sdp"


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A program that keeps no cookies."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="session")
async def peer() -> AsyncIterator[RTCPeerConnection]:
    """Closed in the end."""
    connection = RTCPeerConnection()
    yield connection
    await connection.close()


def bearer(token: str, media_type: str = SDP) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Content-Type": media_type}


async def test_every_address_answers_a_stranger(demo: Demo, http: aiohttp.ClientSession) -> None:
    assert set(demo.urls) == {*SEATS, *PAGES, "check_in"}
    for url in demo.urls.values():
        async with http.get(url, allow_redirects=False) as answer:
            assert answer.status == 200 and answer.content_type == "text/html", url
            assert "<form" in await answer.text()
            assert not [
                name for name in answer.cookies if name.startswith("seat_")
            ], "not yet spent"


async def test_every_link_becomes_a_seat_that_is_connected(demo: Demo) -> None:
    for role in SEATS:
        client = SeatClient(demo.base_url)
        try:
            await client.open(demo.urls[role])
            await client.connect()
            assert client.state["me"]["role"] == role
            assert client.state["conference"]["state"] == "live"
        finally:
            await client.close()


@pytest.mark.parametrize("role", PAGES)
async def test_a_link_leads_to_its_page(demo: Demo, role: str) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as person:
        async with person.get(demo.urls[role]) as page:
            csrf = re.search(r'name="csrf" value="([^"]+)"', await page.text())
        assert csrf is not None
        headers = {"Origin": demo.base_url}
        async with person.post(demo.urls[role], data={"csrf": csrf[1]}, headers=headers) as page:
            assert page.status == 200 and page.url.path == PAGES[role].format(demo)
            assert TITLE in await page.text()


async def test_an_encoder_publishes_and_a_player_watches(
    demo: Demo, http: aiohttp.ClientSession, peer: RTCPeerConnection
) -> None:
    whep = f"{demo.base_url}/whep/{demo.conference}?source=stage"
    for kind in ("video", "audio"):
        peer.addTransceiver(kind, direction="recvonly")
    tracks = {}
    peer.on("track", lambda track: tracks.update({track.kind: track}))
    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp
    async with http.post(whep, data=offer, headers=bearer(demo.tokens["viewer"])) as answer:
        assert answer.status == 201 and answer.content_type == SDP
        assert answer.headers["ETag"]
        location = answer.headers["Location"]
        sdp = await answer.text()
    await peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
    async with asyncio.timeout(60):
        picture = await tracks["video"].recv()
        sound = await tracks["audio"].recv()
    assert (picture.width, picture.height) == (640, 360) and sound.samples > 0
    for _ in range(2):  # again is no error
        deleted = await http.delete(demo.base_url + location, headers=bearer(demo.tokens["viewer"]))
        assert deleted.status == 200

    whip = f"{demo.base_url}/whip/{demo.conference}"
    sender = RTCPeerConnection()
    for kind in ("video", "audio"):
        sender.addTransceiver(kind, direction="sendonly")
    await sender.setLocalDescription(await sender.createOffer())
    offer = sender.localDescription.sdp
    async with http.post(whip, data=offer, headers=bearer(demo.tokens["encoder"])) as answer:
        assert answer.status == 201 and "a=recvonly" in await answer.text()
        location = answer.headers["Location"]
    deleted = await http.delete(demo.base_url + location, headers=bearer(demo.tokens["encoder"]))
    assert deleted.status == 200
    await sender.close()


async def test_encoders_and_players_are_refused_plainly(
    demo: Demo, http: aiohttp.ClientSession
) -> None:
    whip, encoder = f"{demo.base_url}/whip/{demo.conference}", demo.tokens["encoder"]
    whep, viewer = f"{demo.base_url}/whep/{demo.conference}", demo.tokens["viewer"]
    wrong = [
        (whip, {"Content-Type": SDP}, 401),
        (whip, bearer("khong-phai-ma"), 401),
        (whip, bearer(viewer), 403),
        (whep, bearer(encoder), 403),
        (f"{demo.base_url}/whip/hoi-nghi-khac", bearer(encoder), 404),
        (f"{demo.base_url}/whep/hoi-nghi-khac", bearer(viewer), 404),
        (whip, bearer(encoder, "application/json"), 415),
        (whip, bearer(encoder), 422),
        (whep, bearer(viewer), 422),
    ]
    for url, headers, status in wrong:
        async with http.post(url, data="v=0 and nothing else", headers=headers) as answer:
            assert answer.status == status, (url, headers, await answer.text())
    async with http.get(f"{demo.base_url}/replay/{demo.recording}/master.m3u8") as answer:
        assert answer.status == 401
    async with http.get(
        f"{demo.base_url}/replay/{demo.recording}/master.m3u8", headers=bearer(viewer)
    ) as answer:
        assert answer.status == 200 and (await answer.text()).startswith("#EXTM3U")
