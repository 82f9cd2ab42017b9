"""WHIP and WHEP over HTTP, with a real worker and aiortc peers; replay files by bearer token."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from sqlalchemy import select

from server.conferences.models import Conference
from server.media.sdp import MAX_BYTES
from server.media.sessions import MAX_SESSIONS_A_HOLDER
from server.people.links import create_link
from server.people.models import Link
from server.permissions import Role
from server.recordings.models import Recording
from server.web import whip
from server.web.rates import DEVICE_RATE
from server.web.site import SITE, now
from tests.media.harness import Grey, Process, Tone, eventually
from tests.web.conftest import Browser, House
from tests.web.ffmpeg import LUMA, SIZE

SDP = {"Content-Type": "application/sdp", "Accept": "*/*"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag", "Accept": "*/*"}


@pytest.fixture
def kind() -> str:
    """Tokens and seats are found alike in both: the tests of people and of their rights have them."""
    return "sqlite"


@pytest.fixture(scope="module")
def worker() -> Iterator[Process]:
    process = Process()
    deadline = time.monotonic() + 20
    while not process.control.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    yield process
    process.verify()
    process.stop()


@pytest.fixture
def controls(worker: Process) -> list[str]:
    """This module has a real worker."""
    return [str(worker.control)]


@pytest.fixture
async def peers() -> AsyncIterator[list[RTCPeerConnection]]:
    """Peer connections that are closed at the end."""
    made: list[RTCPeerConnection] = []
    yield made
    await asyncio.gather(*(peer.close() for peer in made))


def a_token(house: House, role: Role, site_id: int | None = None) -> str:
    with house.database.write_session() as session:
        ends = now() + timedelta(hours=1)
        conference = house.cast.conference_id
        _, token = create_link(session, role, conference, now(), ends, site_id=site_id)
        session.commit()
    return token


def bearer(token: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **SDP, **headers}


def a_publisher(peers: list[RTCPeerConnection]) -> RTCPeerConnection:
    peers.append(RTCPeerConnection())
    peers[-1].addTrack(Grey(200))
    peers[-1].addTrack(Tone(440))
    return peers[-1]


async def post(browser: Browser, path: str, peer: RTCPeerConnection, token: str) -> str:
    """Offer, take the answer; gives the session's address."""
    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp
    answer, text = await browser.raw("POST", path, data=offer, headers=bearer(token))
    assert answer.status == 201, text
    assert answer.headers["Content-Type"] == "application/sdp" and answer.headers[
        "ETag"
    ].startswith('"')
    await peer.setRemoteDescription(RTCSessionDescription(text, "answer"))
    return answer.headers["Location"]


async def test_an_encoder_publishes_and_a_player_watches_it(
    house: House, peers: list[RTCPeerConnection]
) -> None:
    browser = house.browser()
    encoder = a_token(house, Role.ENCODER, house.cast.hue)
    location = await post(browser, "/whip/tap-huan", a_publisher(peers), encoder)
    assert location.startswith("/whip/tap-huan/")
    player = RTCPeerConnection()
    peers.append(player)
    player.addTransceiver("video", direction="recvonly")
    player.addTransceiver("audio", direction="recvonly")
    watching = await post(
        browser, "/whep/tap-huan?source=site:hue", player, a_token(house, Role.VIEWER)
    )
    track = player.getTransceivers()[0].receiver.track
    frame = await asyncio.wait_for(track.recv(), 60)
    assert (frame.width, frame.height) == (160, 120)
    steering = house.server.app[SITE].signalling.steering

    def flows() -> bool:
        """Is it told so? That may come after the picture."""
        told = steering.telling.current(house.cast.conference_id).get("publications", {})
        facts = told.get("site:hue")
        return facts is not None and facts["alive"] and facts["audio"]

    await eventually(flows)
    with house.database.read_session() as session:
        used = session.scalars(select(Link.role).where(Link.redeemed_at.is_not(None)))
        assert set(used) == {"encoder", "viewer"}, "organisers see that both were set up"
    stranger = a_token(house, Role.ENCODER, house.cast.da_nang)
    stop = {"Authorization": f"Bearer {encoder}", **FRAGMENT, "If-Match": "*"}
    for path, token in ((location, encoder), (location, encoder), (watching, stranger)):
        wanted = 403 if token == stranger else 200
        answer, _ = await browser.raw("DELETE", path, headers=bearer(token))
        assert answer.status == wanted
    await eventually(
        lambda: not steering.telling.current(house.cast.conference_id)["publications"].get(
            "site:hue"
        )
    )
    answer, _ = await browser.raw("PATCH", location, data="a=end-of-candidates", headers=stop)
    assert answer.status == 404, "it has ended"


async def test_ffmpeg_publishes_and_ends_its_session(
    house: House, peers: list[RTCPeerConnection], tmp_path: Path
) -> None:
    """A real encoder: DTLS, SRTP and HTTP are FFmpeg's own."""
    browser = house.browser()
    url = str(house.server.make_url("/whip/tap-huan"))
    token = a_token(house, Role.ENCODER, house.cast.hue)
    command = [sys.executable, "-m", "tests.web.ffmpeg", url, token, str(tmp_path)]
    told = house.server.app[SITE].signalling.steering.telling

    def facts() -> dict[str, object]:
        found = told.current(house.cast.conference_id).get("publications", {})
        return dict(found.get("site:hue") or {})

    ffmpeg = await asyncio.create_subprocess_exec(*command)
    try:
        await eventually(lambda: facts().get("alive") and facts().get("audio"))
        peers.append(player := RTCPeerConnection())
        for kind in ("video", "audio"):
            player.addTransceiver(kind, direction="recvonly")
        viewer = a_token(house, Role.VIEWER)
        await post(browser, "/whep/tap-huan?source=site:hue", player, viewer)
        frame = await asyncio.wait_for(player.getTransceivers()[0].receiver.track.recv(), 60)
        assert (frame.width, frame.height) == SIZE
        assert bytes(frame.planes[0])[0] == pytest.approx(LUMA, abs=4)
        ffmpeg.terminate()
        assert await asyncio.wait_for(ffmpeg.wait(), 60) == 0
        await eventually(lambda: not facts())
    finally:
        with contextlib.suppress(ProcessLookupError):
            ffmpeg.kill()
        await ffmpeg.wait()


async def test_ice_restart_by_fragment_and_trickle(
    house: House, peers: list[RTCPeerConnection]
) -> None:
    browser = house.browser()
    token = a_token(house, Role.ENCODER, house.cast.hue)
    peer = a_publisher(peers)
    location = await post(browser, "/whip/tap-huan", peer, token)
    old = whip.credentials(peer.localDescription.sdp)
    etag = f'"{whip.etag_of(peer.localDescription.sdp)}"'
    headers = {"Authorization": f"Bearer {token}", **FRAGMENT}

    async def patch(body: str, **more: str) -> tuple[int, str, str | None]:
        answer, text = await browser.raw("PATCH", location, data=body, headers=headers | more)
        return answer.status, text, answer.headers.get("ETag")

    trickle = f"a=ice-ufrag:{old['ufrag']}\r\na=ice-pwd:{old['pwd']}\r\na=end-of-candidates\r\n"
    assert (await patch(trickle))[0] == 428
    assert (await patch(trickle, **{"If-Match": '"older"'}))[0] == 412
    assert (await patch(trickle, **{"If-Match": f"x{etag}"}))[0] == 412
    assert (await patch(trickle, **{"If-Match": etag}))[0] == 204
    restart = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901234\r\n"
    status, text, answered = await patch(restart, **{"If-Match": "*"})
    assert status == 200 and answered != etag
    server = whip.credentials(text)
    assert server["ufrag"] and server["pwd"] and "a=candidate:" in text
    assert server != whip.credentials(peer.remoteDescription.sdp)
    assert (await patch(trickle, **{"If-Match": etag}))[0] == 412
    for nonsense, code in (
        ("hello", "fragment"),
        ("a=ice-ufrag:abcd", "credentials"),
        ("a=ice-ufrag:ab cd\r\na=ice-pwd:short", "credentials"),
    ):
        status, text, _ = await patch(nonsense, **{"If-Match": "*"})
        assert (status, json.loads(text)["error"]) == (422, code), nonsense
    other = bearer(a_token(house, Role.ENCODER, house.cast.hue)) | FRAGMENT
    answer, _ = await browser.raw("PATCH", location, data=restart, headers=other)
    assert answer.status == 404


async def test_who_wrote_an_offer_reads_what_is_wrong_with_it(
    house: House, peers: list[RTCPeerConnection]
) -> None:
    """In the log of an encoder: a code for programs, and a sentence that names the line."""
    browser = house.browser()
    encoder, viewer = a_token(house, Role.ENCODER, house.cast.hue), a_token(house, Role.VIEWER)
    peer = a_publisher(peers)
    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp
    only_vp9 = offer.replace("VP8/90000", "VP9/90000").replace("H264/90000", "VP9/90000")
    for token, body, status, code, words in (
        (encoder, "", 422, "sdp_head", "v=0"),
        (encoder, b"v=0\xff", 422, "sdp_head", "v=0"),
        (encoder, "x" * 300_000, 422, "sdp_size", "bytes: 300000 > 200000"),
        (encoder, offer + "a=ssrc:%d\r\n", 422, "sdp_line", "a=ssrc:%d"),
        (encoder, only_vp9, 406, "video_codec", "VP9/90000"),
        (encoder, offer.replace("opus/48000/2", "x/48000/2"), 406, "audio_codec", "x/48000"),
        (encoder, offer.replace("sendrecv", "recvonly"), 422, "direction", "a=recvonly"),
        (viewer, offer.replace("sendrecv", "sendonly"), 422, "direction", "a=sendonly"),
        (encoder, offer.replace("ice-ufrag", "ice-ufrage"), 422, "ice_ufrag", "a=ice-ufrag"),
        (encoder, offer.replace("a=setup:actpass", "a=setup:x"), 422, "setup", ": x."),
        (encoder, offer.replace("a=fingerprint:", "a=x:"), 422, "fingerprint", "sha-256"),
        (encoder, offer.replace("a=group:BUNDLE", "a=x"), 422, "bundle", "m=video (a=mid:0)"),
        (viewer, offer.replace("a=rtcp-mux", "a=x"), 422, "rtcp_mux", "m=video (a=mid:0)"),
    ):
        headers = bearer(token, **{"Accept-Language": "en"})
        path = "/whip/tap-huan" if token == encoder else "/whep/tap-huan"
        answer, text = await browser.raw("POST", path, data=body, headers=headers)
        told = json.loads(text)
        assert (answer.status, told["error"]) == (status, code), told
        assert words in told["message"], told


async def test_what_is_refused_and_how(house: House, peers: list[RTCPeerConnection]) -> None:
    browser, path = house.browser(), "/whip/tap-huan"
    encoder = a_token(house, Role.ENCODER, house.cast.hue)
    viewer = a_token(house, Role.VIEWER)
    peer = a_publisher(peers)
    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp

    async def status(token: str | None, body: str, where: str = path, **headers: str) -> int:
        sent = bearer(token) if token else dict(SDP)
        answer, text = await browser.raw("POST", where, data=body, headers=sent | headers)
        assert "Traceback" not in text
        if answer.status == 401:
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        return answer.status

    assert await status(None, offer) == 401
    assert await status("khong-dung", offer) == 401
    assert await status(viewer, offer) == 403
    assert await status(encoder, offer, "/whip/hoi-nghi-khac") == 404
    assert await status(encoder, offer, **{"Content-Type": "application/json"}) == 415
    assert await status(viewer, offer, "/whep/tap-huan?source=../x") == 400
    assert await status(viewer, offer, "/whep/tap-huan?source=site:khong-co") == 404
    with house.database.write_session() as session:
        session.get_one(Conference, house.cast.conference_id).state = "ended"
        session.commit()
    house.server.app[SITE].signalling.steering.refresh(house.cast.conference_id)
    assert await status(encoder, offer) == 409


async def test_a_revoked_token_ends_its_session(
    house: House, peers: list[RTCPeerConnection]
) -> None:
    browser = house.browser()
    token = a_token(house, Role.ENCODER, house.cast.da_nang)
    await post(browser, "/whip/tap-huan", a_publisher(peers), token)
    steering = house.server.app[SITE].signalling.steering
    conference = house.cast.conference_id

    def published() -> bool:
        return "site:da-nang" in steering.telling.current(conference).get("publications", {})

    await eventually(published)
    with house.database.write_session() as session:
        for link in session.query(Link):
            link.revoked_at = now()
        session.commit()
    steering.refresh(conference)
    await eventually(lambda: not published())
    answer, _ = await browser.raw("POST", "/whip/tap-huan", data="v=0", headers=bearer(token))
    assert answer.status == 401


async def test_a_session_of_a_conference_that_is_over_has_ended(
    house: House, peers: list[RTCPeerConnection]
) -> None:
    browser, token = house.browser(), a_token(house, Role.ENCODER, house.cast.hue)
    location = await post(browser, "/whip/tap-huan", a_publisher(peers), token)
    with house.database.write_session() as session:
        session.get_one(Conference, house.cast.conference_id).state = "ended"
        session.commit()
    house.server.app[SITE].signalling.steering.refresh(house.cast.conference_id)
    headers = {"Authorization": f"Bearer {token}", **FRAGMENT, "If-Match": "*"}
    answer, _ = await browser.raw("PATCH", location, data="a=end-of-candidates", headers=headers)
    assert answer.status == 404
    answer, _ = await browser.raw("DELETE", location, headers=headers)
    assert answer.status == 200, "which is what was asked for"


async def test_a_link_has_so_many_players_and_says_when_there_may_be_one_more(
    house: House,
) -> None:
    browser, token = house.browser(), a_token(house, Role.VIEWER)
    player = RTCPeerConnection()
    player.addTransceiver("video", direction="recvonly")
    await player.setLocalDescription(await player.createOffer())
    offer = player.localDescription.sdp
    for _ in range(MAX_SESSIONS_A_HOLDER + 1):
        answer, _ = await browser.raw("POST", "/whep/tap-huan", data=offer, headers=bearer(token))
    assert answer.status == 429 and int(answer.headers["Retry-After"]) > 0
    await player.close()


async def test_spaces_in_a_header_are_no_other_token(house: House) -> None:
    browser, token = house.browser(), a_token(house, Role.VIEWER)
    found = set()
    for spaces in range(1, int(DEVICE_RATE.burst) + 3):
        headers = SDP | {"Authorization": "Bearer" + " " * spaces + token}
        answer, _ = await browser.raw("POST", "/whep/tap-huan", data="v=0", headers=headers)
        found.add(answer.status)
    assert found == {422, 429}


async def test_options_tell_what_may_be_posted(house: House) -> None:
    for path in ("/whip/tap-huan", "/whep/tap-huan"):
        answer, _ = await house.browser().raw("OPTIONS", path)
        assert answer.status == 204 and answer.headers["Accept-Post"] == "application/sdp"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        answer, _ = await house.browser().raw("OPTIONS", f"{path}/session")
        assert "PATCH, DELETE" in answer.headers["Access-Control-Allow-Methods"]
        assert answer.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
        assert "Accept-Post" not in answer.headers
        answer, _ = await house.browser().raw("POST", path, headers=dict(SDP))
        assert answer.status == 401 and answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        for method in ("GET", "PUT"):  # kept for later versions of the protocol
            answer, _ = await house.browser().raw(method, path)
            assert answer.status == 405 and "POST" in answer.headers["Allow"]


async def test_who_sets_up_an_encoder_is_told_what_is_wrong_and_what_to_do(house: House) -> None:
    encoder = a_token(house, Role.ENCODER, house.cast.hue)
    viewer = a_token(house, Role.VIEWER)

    async def told(method: str, path: str, token: str, **headers: str) -> tuple[int, str]:
        sent = bearer(token) | {"Accept": "application/json"} | headers
        answer, text = await house.browser().raw(method, path, data="v=0", headers=sent)
        return answer.status, json.loads(text)["message"]

    status, message = await told("POST", "/whip/tap-huan?source=may-quay", encoder)
    assert status == 400 and "source=may-quay " in message and "source=screen" in message
    status, message = await told("POST", "/whep/tap-huan?source=site:H%C3%BAe", viewer)
    assert status == 400 and "source=site:Húe " in message and "source=stage" in message
    english = {"Accept-Language": "en"}
    status, message = await told("PUT", "/whip/tap-huan", encoder, **english)
    assert status == 405 and "PUT" in message and "OPTIONS, POST" in message
    assert "encoder" in message
    status, message = await told("POST", "/whip/tap-huan/phien", encoder, **english)
    assert status == 405 and "DELETE, OPTIONS, PATCH" in message


async def test_turn_credentials_are_the_rest_schemes(house: House) -> None:
    site = house.server.app[SITE]
    site.config = house.config.with_(turn_url="turn:turn.example:3478", turn_secret="bí mật")
    headers = {"Authorization": f"Bearer {a_token(house, Role.VIEWER)}"}
    answer, _ = await house.browser().raw("OPTIONS", "/whep/tap-huan", headers=headers)
    link = answer.headers["Link"]
    name = link.split('username="')[1].split('"')[0]
    password = hmac.new("bí mật".encode(), name.encode(), hashlib.sha1).digest()
    assert 'rel="ice-server"' in link
    assert f'credential="{base64.b64encode(password).decode()}"' in link
    assert int(name.split(":")[0]) > now().timestamp()


async def test_files_of_a_recording_by_token_and_range(house: House) -> None:
    folder = house.config.recordings_dir / "rec-1"
    folder.mkdir(parents=True)
    (folder / "master.m3u8").write_text("#EXTM3U\n")
    (folder / "video-1.m4s").write_bytes(bytes(range(100)))
    (folder / "secret.txt").write_text("no")
    (folder / "stage.tail").write_bytes(b"no")
    with house.database.write_session() as session:
        conference = house.cast.conference_id
        session.add(Recording(id="rec-1", conference_id=conference, zero_at=now()))
        session.commit()
    browser = house.browser()
    headers = {"Authorization": f"Bearer {a_token(house, Role.VIEWER)}", "Accept": "*/*"}
    answer, text = await browser.get("/replay/rec-1/master.m3u8", headers=headers)
    assert answer.status == 200 and text == "#EXTM3U\n"
    assert answer.content_type == "application/vnd.apple.mpegurl"
    assert "no-cache" in answer.headers["Cache-Control"]
    ranged = headers | {"Range": "bytes=10-19"}
    answer, text = await browser.get("/replay/rec-1/video-1.m4s", headers=ranged)
    assert answer.status == 206 and text.encode() == bytes(range(10, 20))
    beyond = headers | {"Range": "bytes=100-"}
    assert (await browser.get("/replay/rec-1/video-1.m4s", headers=beyond))[0].status == 416
    for name in ("secret.txt", "none.m4s", "..%2f..%2fweb.db", "stage.tail"):
        answer, _ = await browser.get(f"/replay/rec-1/{name}", headers=headers)
        assert answer.status == 404, name
    assert (await browser.get("/replay/rec-1/master.m3u8"))[0].status == 401
    encoder = {"Authorization": f"Bearer {a_token(house, Role.ENCODER, house.cast.hue)}"}
    assert (await browser.get("/replay/rec-1/master.m3u8", headers=encoder))[0].status == 404
    trainee = house.browser()
    trainee.take_seat(house.cast, house.cast.trainee.holder)
    assert (await trainee.get("/replay/rec-1/master.m3u8"))[0].status == 200
    answer, text = await trainee.get("/replay/rec-1/journal.json", headers={"Accept": "*/*"})
    assert answer.status == 200 and '"markers": []' in text


def test_a_fragment_has_the_ice_part_of_the_first_section_alone() -> None:
    first = "m=audio 9,a=mid:0,a=ice-ufrag:u,a=candidate:1"
    lines = f"v=0,a=ice-lite,a=group:BUNDLE 0 1,{first},m=video 9,a=mid:1".split(",")
    answer = "\r\n".join(lines)
    made = whip.fragment_of(answer)
    assert "a=ice-ufrag:u" in made and "a=candidate:1" in made and "m=video" not in made
    assert "a=group:BUNDLE 0 1" in made, "its candidates are those of every section"


def test_credentials_are_read_at_once_however_they_are_spaced() -> None:
    spaces = " " * MAX_BYTES
    assert whip.credentials(f"a=ice-ufrag:{spaces}u{spaces}\r\na=ice-pwd:p \r\n") == {
        "ufrag": "u",
        "pwd": "p",
    }
