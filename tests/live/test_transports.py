"""Stock clients over every transport, order through an upgrade, slow readers, heartbeats, limits."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket as sockets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
from sqlalchemy import event
from structlog.testing import capture_logs

from server.live import allowance, engine, gateway, metrics
from server.live.allowance import BYTES_OF_FRAME, FRAMES_BURST, FRAMES_PER_S
from server.live.client import LOOKED_AT
from server.live.commands import MOST_IN_FLIGHT
from server.live.polling import MOST_PACKETS
from server.live.websocket import MOST_QUEUED_BYTES, STRANGER_BYTES
from server.permissions import Actor
from server.snapshot import SHARED_FOR, Shared, build
from tests.cast import START
from tests.live.conftest import PATIENCE_S, Page, Venue

pytestmark = pytest.mark.parametrize("kind", ["sqlite"])

ASK = {"text": "Khi nào có vắc-xin?"}
TRANSPORTS = ("websocket", "polling", "polling,websocket")


def cookie(venue: Venue, actor: Actor) -> str:
    return f"seat_{actor.holder}={venue.cast.secrets[actor.holder]}"


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


class Raw:
    """A WebSocket client that does just what it is told."""

    def __init__(self, venue: Venue, actor: Actor) -> None:
        self._venue, self._actor = venue, actor
        host, port = venue.url.removeprefix("http://").split(":")
        self.socket = sockets.socket()
        self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        self.socket.setblocking(False)
        self._address = (host, int(port))

    async def connect(self, greet: bool = True) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.socket, self._address)
        request = (
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Cookie: {cookie(self._venue, self._actor)}\r\n\r\n"
        )
        await loop.sock_sendall(self.socket, request.encode())
        await self.until(b'"sid"')
        if greet:
            hello = b"40" + json.dumps({"seat": self._actor.holder}).encode()
            frame = bytes((0x81, 0x80 | len(hello))) + bytes(4) + hello
            await loop.sock_sendall(self.socket, frame)
            await self.until(b"clock")

    async def until(self, marker: bytes) -> bytes:
        """Read until ``marker`` has come. Raises: ConnectionError where the line ends before."""
        data = b""
        async with asyncio.timeout(PATIENCE_S):
            while marker not in data:
                some = await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)
                if not some:
                    raise ConnectionResetError
                data += some
        return data


async def test_who_does_not_read_is_cut_off_and_nobody_else(venue: Venue) -> None:
    deaf, reader = Raw(venue, venue.cast.moderator), await venue.open(venue.cast.organiser)
    await deaf.connect()
    await reader.until(lambda p: "clock" in p.live)
    before = metrics.CUT_OFF._value.get()
    size, count = 200_000, 2 * MOST_QUEUED_BYTES // 200_000 + 40
    for number in range(count):
        venue.tell(venue.cast.conference_id, "lines", {"n": number, "x": "x" * size})
        await reader.until(lambda p, n=number: p.live.get("lines", {}).get("n") == n)  # type: ignore[misc]
    assert metrics.CUT_OFF._value.get() == before + 1
    with pytest.raises(ConnectionError):
        await deaf.until(b"never sent")
    async with asyncio.timeout(PATIENCE_S):
        while len(venue.gateway.connections) > 1:
            await asyncio.sleep(0.01)
    back = await venue.open(venue.cast.moderator, since=0)
    await back.until(lambda p: "clock" in p.live)
    deaf.socket.close()


def masked(message: bytes) -> bytes:
    """A client's frame of less than 126 bytes."""
    return bytes((0x81, 0x80 | len(message))) + bytes(4) + message


async def test_a_flood_is_read_bit_by_bit_and_nobody_waits_for_it(venue: Venue) -> None:
    flooder, page = Raw(venue, venue.cast.trainee), await venue.open(venue.cast.moderator)
    await flooder.connect()
    refused = metrics.REFUSED.labels("invalid")._value
    before = refused.get()
    flood = masked(b'421["x",{},"k"]') * 20_000
    began_s = time.monotonic()
    flooding = asyncio.create_task(
        asyncio.get_running_loop().sock_sendall(flooder.socket, flood)
    )  # fmt: skip
    for number in range(20):
        mute = {"site": venue.cast.hue, "muted": number % 2 == 0}
        assert (await page.send("site.mute", mute, f"k{number}"))["ok"]
    read = refused.get()
    most = 2 * FRAMES_BURST + FRAMES_PER_S * (time.monotonic() - began_s)
    assert 0 < read - before < most, "the rest waits in the network"
    async with asyncio.timeout(PATIENCE_S):
        while refused.get() <= read:  # and is read when it may be
            await asyncio.sleep(0.05)
    flooding.cancel()
    flooder.socket.close()


async def test_each_command_of_a_flood_is_answered(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late: whoever sends them is not taken for dead while its heartbeats wait behind them."""
    monkeypatch.setattr(allowance, "FRAMES_PER_S", 1000.0)
    page, engine = await venue.open(venue.cast.operator), venue.gateway._server.eio
    [flooder] = [connection.socket for connection in venue.gateway.connections]
    count, answers = 3600, dict[int, dict[str, Any]]()
    for number in range(count):
        payload = {"text": f"Câu {number}"}, f"k{number}"
        told = partial(answers.__setitem__, number)
        await page.client.emit("question.ask", payload, callback=told)
    async with asyncio.timeout(PATIENCE_S):
        while flooder.line._unread is None:
            await asyncio.sleep(0)
        for _turn in range(3):
            engine._ping([flooder])
        while len(answers) < count:
            await asyncio.sleep(0.05)
    assert {answer.get("error", "done") for answer in answers.values()} == {"done", "slow_down"}
    assert not page.closed


async def test_of_a_stranger_little_is_taken(venue: Venue) -> None:
    stranger = Raw(venue, venue.cast.trainee)
    await stranger.connect(greet=False)
    head = bytes((0x81, 0xFF)) + (900_000).to_bytes(8, "big") + bytes(4)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(stranger.socket, head + bytes(2 * STRANGER_BYTES))
    assert (1009).to_bytes(2, "big") in await stranger.until(b"\x88")
    stranger.socket.close()


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


async def test_memory_is_bounded_for_all_together(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MOST_QUEUED_IN_ALL", 900_000)
    deaf, reader = Raw(venue, venue.cast.moderator), await venue.open(venue.cast.organiser)
    await deaf.connect()
    for number in range(40):
        venue.tell(venue.cast.conference_id, "lines", {"n": number, "x": "x" * 200_000})
        await reader.until(lambda p, n=number: p.live.get("lines", {}).get("n") == n)  # type: ignore[misc]
        if venue.gateway._server.eio._relieve() == 0 and number > 30:
            break
    with pytest.raises(ConnectionError):
        await deaf.until(b"never sent")
    assert not reader.closed
    deaf.socket.close()


async def test_the_oldest_of_too_many_tabs_ends(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "MOST_OF_SEAT", 2)
    first, second, third = [await venue.open(venue.cast.trainee) for _ in range(3)]
    await first.until(lambda p: p.closed)
    assert not second.closed and not third.closed


async def test_one_large_message_alone_cuts_nobody_off(venue: Venue) -> None:
    slow = Raw(venue, venue.cast.moderator)
    await slow.connect()
    before = metrics.CUT_OFF._value.get()
    venue.tell(venue.cast.conference_id, "lines", {"x": "x" * (3 * MOST_QUEUED_BYTES)})
    await asyncio.sleep(0.05)
    venue.tell(venue.cast.conference_id, "lines", {"n": "behind it"})
    await slow.until(b"behind it")
    assert metrics.CUT_OFF._value.get() == before
    slow.socket.close()


class Counted:
    """A transport that counts its sends."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.sends: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sends.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def counted(venue: Venue, actor: Actor) -> Counted:
    """What is sent to ``actor`` from now on."""
    [connection] = [each for each in venue.gateway.connections if each.actor == actor]
    line = connection.socket.line
    assert line is not None
    line._obstruct()  # all goes by the transport
    line.descriptor = -1
    line._transport = transport = Counted(line._transport)  # type: ignore[assignment]
    return transport


async def test_ones_own_event_and_its_acknowledgement_are_one_send(venue: Venue) -> None:
    page, desk = await venue.open(venue.cast.trainee), await venue.open(venue.cast.moderator)
    for each in (page, desk):
        await each.until(lambda p: "clock" in p.live)
    own, others = counted(venue, venue.cast.trainee), counted(venue, venue.cast.moderator)
    asked = [page.send("question.ask", ASK, f"k{n}") for n in range(3)]
    assert all([(await answer)["ok"] for answer in asked])
    both = [send for send in own.sends if b"question.asked" in send and b'"ok":true' in send]
    assert len(both) == len([send for send in own.sends if b'"ok":true' in send]) == 3
    for send in both:
        assert send.index(b"question.asked") < send.index(b'"ok":true'), "the event comes first"
    await desk.until(lambda p: {e["data"].get("id") for e in p.events} >= {1, 2, 3})
    assert len(others.sends) >= 3 and len(page.state["sent"]) == 3


async def test_what_one_turn_has_for_one_client_is_one_send_in_order(venue: Venue) -> None:
    page, desk = await venue.open(venue.cast.organiser), await venue.open(venue.cast.moderator)
    for each in (page, desk):
        await each.until(lambda p: "clock" in p.live)
    own = counted(venue, venue.cast.organiser)
    [mine] = [c for c in venue.gateway.connections if c.actor == venue.cast.organiser]
    emit = venue.gateway._delivery.emit
    emit([mine], "live", [{"type": "n", "data": 1}])
    emit([mine], "live", [{"type": "n", "data": 2}])
    assert not own.sends, "they wait for each other"
    emit(list(venue.gateway.connections), "live", [{"type": "n", "data": 3}])
    emit([mine], "live", [{"type": "n", "data": 4}])
    await page.until(lambda p: p.live.get("n") == 4)
    numbers = [[int(n) for n in re.findall(rb'"data":(\d)', send)] for send in own.sends]
    assert numbers == [[1, 2, 3], [4]]


async def test_what_waits_is_sent_before_the_line_is_closed(venue: Venue) -> None:
    page = await venue.open(venue.cast.organiser)
    await page.until(lambda p: "clock" in p.live)
    [mine] = list(venue.gateway.connections)
    venue.gateway._delivery.emit([mine], "live", [{"type": "n", "data": "last"}])
    await venue.gateway._server.disconnect(mine.sid)
    await page.until(lambda p: p.closed)
    assert page.live["n"] == "last"


async def test_heartbeats(venue: Venue) -> None:
    deaf, page = Raw(venue, venue.cast.trainee), await venue.open(venue.cast.moderator)
    stranger = Raw(venue, venue.cast.operator)
    await deaf.connect()
    await stranger.connect(greet=False)
    engine = venue.gateway._server.eio
    [alive] = [c.socket for c in venue.gateway.connections if c.actor == venue.cast.moderator]
    async with asyncio.timeout(PATIENCE_S):
        for _turn in range(3):
            engine._ping(list(engine.sockets.values()))
            while not alive._answered:
                await asyncio.sleep(0.01)
        while len(engine.sockets) > 1:
            await asyncio.sleep(0.01)
    assert not page.closed, "who answers stays"
    for gone in (deaf, stranger):
        with pytest.raises(ConnectionError):
            await gone.until(b"never sent")
        gone.socket.close()


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
    host, port = venue.url.removeprefix("http://").split(":")
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


async def test_shared_snapshots_are_each_ones_own(venue: Venue) -> None:
    shared, everyone = Shared(), list(venue.cast.everyone())
    for actor in [*everyone, *reversed(everyone)]:
        with venue.database.read_session() as session:
            [state] = shared.build(session, [actor], 0, START)
            assert state == build(session, actor, START)
    with venue.database.read_session() as session:
        states = shared.build(session, everyone, 0, START)
        assert states == [build(session, actor, START) for actor in everyone]


async def test_what_many_roles_see_is_read_once(venue: Venue) -> None:
    queries = []
    for actors in ([venue.cast.moderator], venue.cast.everyone()):
        with venue.database.read_session() as session:
            said: list[Any] = []
            event.listen(
                session.connection(), "before_cursor_execute", lambda *call: said.append(call)
            )
            Shared().build(session, actors, 0, START)
            queries.append(len(said))
    assert 5 < queries[0] and queries[1] < 2 * queries[0]


async def test_shared_snapshots_are_not_kept(venue: Venue) -> None:
    shared = Shared()
    with venue.database.read_session() as session:
        for actor in (venue.cast.moderator, venue.cast.operator):
            shared.build(session, [actor], 0, START)
        assert len(shared._built) == 2
        shared.build(session, [venue.cast.display], 0, START + 2 * SHARED_FOR)
    assert len(shared._built) == 1
