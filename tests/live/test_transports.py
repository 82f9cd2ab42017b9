"""Stock clients over every transport, order through an upgrade, and frames of the standard."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from server.live.allowance import FRAMES_BURST, FRAMES_PER_S
from server.live.commands import MOST_IN_FLIGHT
from server.permissions import Actor
from server.snapshot import build
from tests.cast import START
from tests.live.conftest import PATIENCE_S, Page, Raw, Venue, cookie

pytestmark = pytest.mark.parametrize("kind", ["sqlite"])

ASK = {"text": "Khi nào có vắc-xin?"}
TRANSPORTS = ("websocket", "polling", "polling,websocket")


async def stock(venue: Venue, actor: Actor, transports: str) -> Page:
    """A python-socketio client as it comes; "polling,websocket" begins with one and upgrades."""
    page = Page(socketio.AsyncClient(reconnection=False))
    venue.pages.append(page)
    await page.client.connect(
        venue.url,
        headers={"Cookie": cookie(venue, actor)},
        auth={"seat": actor.holder, "since": None},
        transports=transports.split(","),
        wait_timeout=PATIENCE_S,
    )
    return page


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_the_stock_client_in_python(venue: Venue, transports: str) -> None:
    page = await stock(venue, venue.cast.trainee, transports)
    await page.until(lambda p: p.snapshots == 1)
    assert page.client.transport() == transports.split(",")[-1]
    answer = await page.send("question.ask", ASK, "k")
    assert answer["ok"] and str(answer["result"]["question"]) in page.state["questions"]
    assert (await page.send("question.ask", {"text": 1}, "k2"))["error"] == "invalid"
    assert page.state == venue.database.read_now(build, venue.cast.trainee, START)
    await venue.close(page)
    async with asyncio.timeout(PATIENCE_S):
        while len(venue.gateway.connections):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_the_stock_client_in_javascript(venue: Venue, transports: str) -> None:
    actor = venue.cast.trainee
    script = Path(__file__).with_name("stock_client.mjs")
    arguments = (str(script), venue.url, actor.holder, cookie(venue, actor), transports)
    process = await asyncio.create_subprocess_exec(
        "node", *arguments, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(3 * PATIENCE_S):
        output, _ = await process.communicate()
    seen = json.loads(output)
    assert seen["snapshot"] and seen["answer"]["ok"], seen
    assert seen["transport"] == transports.split(",")[-1] and seen["answers"] == 40
    assert "question.asked" in seen["events"], "one's own event comes before the answer"


async def test_order_is_kept_through_an_upgrade(venue: Venue) -> None:
    actor = venue.cast.moderator
    heard: list[int] = []
    page = Page(socketio.AsyncClient(reconnection=False))
    venue.pages.append(page)

    def listen(facts: list[dict[str, Any]]) -> None:
        heard.extend(fact["data"]["n"] for fact in facts if fact["type"] == "lines")
        page._on_live(facts)

    page.client.on("live", listen)
    told = 0

    async def tell() -> None:
        nonlocal told
        while True:
            venue.tell(venue.cast.conference_id, "lines", {"n": told})
            told += 1
            await asyncio.sleep(0.002)

    telling = asyncio.create_task(tell())
    await page.client.connect(
        venue.url,
        headers={"Cookie": cookie(venue, actor)},
        auth={"seat": actor.holder, "since": None},
        wait_timeout=PATIENCE_S,
    )
    assert page.client.transport() == "websocket", "it began by polling"
    reached = told + 20
    await page.until(lambda _p: bool(heard) and heard[-1] >= reached)
    telling.cancel()
    assert heard == list(range(heard[0], heard[-1] + 1)), "each once, in order"


async def test_all_that_a_stock_client_posts_at_once_is_answered(venue: Venue) -> None:
    """It puts all that waits into one request, leaves where that takes 5 s, and where one poll brings
    more than 16 packets."""
    page, count = await stock(venue, venue.cast.moderator, "polling"), 1100
    assert count > 2 * FRAMES_BURST and (count - FRAMES_BURST) / FRAMES_PER_S > 5
    mute = {"site": venue.cast.hue, "muted": True}
    asked = [page.send("site.mute", mute, f"k{number}") for number in range(count)]
    answers = await asyncio.gather(*asked)
    assert {answer.get("error") for answer in answers} == {None, "slow_down"}
    assert sum(answer["ok"] for answer in answers) >= MOST_IN_FLIGHT
    while not (answer := await page.send("site.mute", mute, "later"))["ok"]:
        await asyncio.sleep(answer["retry_after_s"])


async def test_frames_of_the_standard(venue: Venue) -> None:
    actor = venue.cast.trainee
    address = f"{venue.url}/socket.io/?EIO=4&transport=websocket"
    headers = {"Cookie": cookie(venue, actor)}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.ws_connect(address, autoping=False, compress=15) as line:
            assert not line.compress, "one frame must serve all"
            await line.receive()
            await line.ping(b"are you there")
            pong = await line.receive(PATIENCE_S)
            assert (pong.type, pong.data) == (aiohttp.WSMsgType.PONG, b"are you there")
            await line.close()
            assert line.close_code == aiohttp.WSCloseCode.OK
        async with http.ws_connect(address) as line:
            await line.receive()
            await line.send_str("4" + "x" * 1_100_000)
            ended = await line.receive(PATIENCE_S)
            assert ended.data == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    raw = Raw(venue, actor)
    await raw.connect(greet=False)
    hello = b"40" + json.dumps({"seat": actor.holder}).encode()
    pieces = [hello[:5], hello[5:9], hello[9:]]
    for number, piece in enumerate(pieces):  # RFC 6455 section 5.4, each byte on its own
        first = (0x80 if number == 2 else 0) | (1 if number == 0 else 0)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(piece))
        for byte in bytes((first, 0x80 | len(piece))) + mask + masked:
            await asyncio.get_running_loop().sock_sendall(raw.socket, bytes([byte]))
    await raw.until(b"snapshot")
    raw.socket.close()
