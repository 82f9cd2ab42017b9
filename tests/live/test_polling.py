"""Long polling: what is posted is heard in order and within bounds, and who polls no more is cut off."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from server.live import engine
from server.live.allowance import BYTES_OF_FRAME, FRAMES_BURST, FRAMES_PER_S
from server.live.client import LOOKED_AT
from server.live.polling import MOST_PACKETS
from server.live.websocket import MOST_QUEUED_BYTES
from tests.live.conftest import PATIENCE_S, Venue, cookie

pytestmark = pytest.mark.parametrize("kind", ["sqlite"])


class Pieces(aiohttp.payload.Payload):
    """A body whose length is known, of which the first piece comes before the others."""

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(pieces)
        self._pieces = pieces
        self._size = sum(map(len, pieces))
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._pieces).decode(encoding, errors)

    async def write(self, writer: Any) -> None:
        first, *rest = self._pieces
        await writer.write(first)
        self.begun.set()
        await self.go_on.wait()
        await writer.write(b"".join(rest))


@asynccontextmanager
async def one_who_polls_no_more(
    venue: Venue,
) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A moderator's desk that greeted by long polling, and then asked for nothing: with what, and
    where to."""
    actor = venue.cast.moderator
    address = f"{venue.url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession(headers={"Cookie": cookie(venue, actor)}) as http:
        async with http.get(address) as opened:
            sid = json.loads((await opened.text())[1:])["sid"]
        hello = "40" + json.dumps({"seat": actor.holder})
        await (await http.post(f"{address}&sid={sid}", data=hello)).read()
        async with asyncio.timeout(PATIENCE_S):
            while venue.gateway._server.eio.sockets[sid].owner is None:
                await asyncio.sleep(0.01)
            yield http, f"{address}&sid={sid}"


async def test_a_flood_by_polling_waits_as_well(venue: Venue) -> None:
    page = await venue.open(venue.cast.organiser)
    each, count = "42" + json.dumps(["no.such", {"x": "x" * 900_000}, "k"]), 4
    cost = count * (1 + len(each) / BYTES_OF_FRAME)
    async with one_who_polls_no_more(venue) as (http, address):
        began_s = time.monotonic()

        async def flood() -> float:
            for _ in range(count):
                async with http.post(address, data=each) as answer:
                    assert answer.status == 200
            return time.monotonic()

        flooding = asyncio.create_task(flood())
        for number in range(5):
            mute = {"site": venue.cast.hue, "muted": number % 2 == 0}
            assert (await page.send("site.mute", mute, f"k{number}"))["ok"]
            assert not flooding.done()
        # The last is taken as soon as there is anything left for it.
        soonest_s = (cost * (count - 1) / count - 2 * FRAMES_BURST) / FRAMES_PER_S
        assert await flooding - began_s > soonest_s > 0


async def test_what_was_posted_comes_before_what_the_upgraded_line_brings(venue: Venue) -> None:
    mute = '42%d["site.mute",{"site":%d,"muted":true},"k%d"]'
    asked = [mute % (number, venue.cast.hue, number) for number in range(11)]
    async with one_who_polls_no_more(venue) as (http, address):
        body = "\x1e".join(["3"] * FRAMES_BURST + asked[:10])
        async with http.post(address, data=body) as answer:
            assert answer.status == 200
        async with http.ws_connect(address.replace("polling", "websocket")) as line:
            await line.send_str("2probe")
            assert (await line.receive()).data == "3probe"
            await line.send_str("5")
            await line.send_str(asked[10])
            heard: list[int] = []
            async with asyncio.timeout(PATIENCE_S):
                while len(heard) < 11:
                    told = (await line.receive()).data
                    if told.startswith("43"):
                        heard.append(int(told[2 : told.index("[")]))
            assert heard == list(range(11))


async def test_of_empty_packets_one_request_holds_so_many(venue: Venue) -> None:
    async with one_who_polls_no_more(venue) as (http, address):
        async with http.post(address, data="\x1e".join(["3"] * (MOST_PACKETS + 1))) as answer:
            assert answer.status == 400
        async with asyncio.timeout(PATIENCE_S):
            while len(venue.gateway.connections):
                await asyncio.sleep(0.01)


async def test_who_polls_sends_one_request_at_a_time(venue: Venue) -> None:
    """Else as many as it opens connections would wait with what they hold."""
    async with one_who_polls_no_more(venue) as (http, address):
        slow = Pieces([b"3", b"3"])
        first = asyncio.create_task(http.post(address, data=slow))
        await slow.begun.wait()
        async with http.post(address, data="3") as second:
            assert second.status == 400
        async with asyncio.timeout(PATIENCE_S):
            while len(venue.gateway.connections):
                await asyncio.sleep(0.01)
        slow.go_on.set()
        (await first).close()


async def test_what_is_posted_in_pieces_is_heard_whole(venue: Venue) -> None:
    page = await venue.open(venue.cast.organiser)
    command = '421["site.mute",{"site":%d,"muted":true},"pieces"]' % venue.cast.hue
    async with one_who_polls_no_more(venue) as (http, address):
        pieces = Pieces([command[:20].encode(), command[20:].encode()])
        posting = asyncio.create_task(http.post(address, data=pieces))
        await pieces.begun.wait()
        await asyncio.sleep(0.1)  # the server has begun to read
        pieces.go_on.set()
        async with await posting as answer:
            assert answer.status == 200
        await page.until(lambda p: any(e["type"] == "site.muted" for e in p.events))


async def test_who_leaves_in_the_middle_of_a_request_is_gone(
    venue: Venue, caplog: pytest.LogCaptureFixture
) -> None:
    async with one_who_polls_no_more(venue) as (http, address):
        pieces = Pieces([b"3", b"3"])
        posting = asyncio.create_task(http.post(address, data=pieces))
        await pieces.begun.wait()
        await asyncio.sleep(0.1)
        with capture_logs() as logs:
            posting.cancel()
            async with asyncio.timeout(PATIENCE_S):
                while len(venue.gateway.connections):
                    await asyncio.sleep(0.01)
    assert not logs and not caplog.records


async def test_who_does_not_poll_is_cut_off_as_well(venue: Venue) -> None:
    count = 0
    async with one_who_polls_no_more(venue):
        while len(venue.gateway.connections) == 1:
            venue.tell(venue.cast.conference_id, "lines", {"x": "x" * 200_000})
            count += 1
            await asyncio.sleep(0.01)
    assert count < 2 * MOST_QUEUED_BYTES / 200_000 + LOOKED_AT


async def test_who_does_not_poll_counts_among_all_together(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    relieve = venue.gateway._server.eio._relieve
    async with one_who_polls_no_more(venue):
        for _ in range(3):
            venue.tell(venue.cast.conference_id, "lines", {"x": "x" * 200_000})
            await asyncio.sleep(0.01)
        assert relieve() > 400_000 and len(venue.gateway.connections) == 1
        monkeypatch.setattr(engine, "MOST_QUEUED_IN_ALL", 300_000)
        relieve()
        while len(venue.gateway.connections):
            await asyncio.sleep(0.01)
    assert relieve() == 0


async def test_of_many_strangers_those_who_came_first_go(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MOST_STRANGERS", 5)
    address = f"{venue.url}/socket.io/?EIO=4&transport=polling"
    eio = venue.gateway._server.eio
    async with one_who_polls_no_more(venue):
        known = set(eio.sockets)
        async with aiohttp.ClientSession() as http:
            sids = []
            for _ in range(8):
                async with http.get(address) as response:
                    sids.append(json.loads((await response.text())[1:])["sid"])
            async with asyncio.timeout(PATIENCE_S):
                while set(eio.sockets) != known | set(sids[3:]):
                    await asyncio.sleep(0.01)
            async with http.get(f"{address}&sid={sids[0]}") as response:
                assert response.status == 400
        assert len(venue.gateway.connections) == 1, "who has said who it is stays"
        assert list(eio.strangers) == sids[3:]
