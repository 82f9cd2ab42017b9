"""What is no packet ends its own connection with one line in the log, and touches nothing else."""

from __future__ import annotations

import asyncio
import gc
import json
import logging

import aiohttp
import pytest
from structlog.testing import capture_logs

from server.errors import Invalid
from server.live.websocket import STRANGER_BYTES
from server.permissions import Actor
from tests.live.conftest import PATIENCE_S, Page, Venue

pytestmark = pytest.mark.parametrize("kind", ["sqlite"])

MALFORMED: tuple[str | bytes, ...] = (
    "",
    "9",
    "x",
    "b4nonsense",
    "\x00",
    "4",
    "4z",
    "42",
    "42{}",
    "42[]",
    "42[1]",
    '42["question.ask"',
    "4" + "[" * 50_000,
    "42[" + "[" * 50_000,
    '42/admin,["question.ask",{},"k"]',
    "42" + "9" * 40 + '["question.ask",{},"k"]',
    "42" + "9" * 400 + '["question.ask",{},"k"]',
    '451-["question.ask",{"_placeholder":true,"num":0}]',
    "40{}",
    "43" + "9" * 400 + "[]",
    "44{}",
    "47",
    b"\x00\xff",
    b"",
)
ENDED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


async def bystander(venue: Venue) -> Page:
    page = await venue.open(venue.cast.moderator)
    await page.until(lambda p: bool(p.state))
    return page


def _seated(venue: Venue, actor: Actor) -> aiohttp.ClientSession:
    secret = venue.cast.secrets[actor.holder]
    return aiohttp.ClientSession(headers={"Cookie": f"seat_{actor.holder}={secret}"})


async def _ends(line: aiohttp.ClientWebSocketResponse) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await line.receive()).type not in ENDED:
            pass


@pytest.mark.parametrize("message", MALFORMED, ids=lambda message: repr(message[:20]))
async def test_frames_of_a_seat(
    venue: Venue, message: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    page, actor = await bystander(venue), venue.cast.trainee
    address = f"{venue.url}/socket.io/?EIO=4&transport=websocket"
    hello = json.dumps({"seat": actor.holder, "since": None})
    with capture_logs() as logs, caplog.at_level(logging.WARNING):
        async with _seated(venue, actor) as http, http.ws_connect(address) as line:
            await line.send_str("40" + hello)
            while '"snapshot"' not in (await line.receive_str()):
                pass
            for _again in range(3):  # they come in one go, and are one fault
                await (line.send_str if isinstance(message, str) else line.send_bytes)(message)
            await _ends(line)
    said = [each for each in logs if each["event"] == "socket.malformed"]
    assert len(said) == 1 and said[0]["log_level"] == "warning", logs
    assert said[0]["seat"] == actor.holder and said[0]["peer"] == "127.0.0.1"
    assert "exc_info" not in str(logs) and not caplog.records
    await _unharmed(venue, page)


async def _unharmed(venue: Venue, page: Page) -> None:
    trainee = venue.cast.trainee.holder
    await asyncio.wait_for(_gone(venue, trainee), PATIENCE_S)
    before = page.seq
    answer = await page.send("site.mute", {"site": venue.cast.hue, "muted": True}, "key")
    assert answer["ok"] and not page.closed
    await page.until(lambda p: p.seq > before)


async def _gone(venue: Venue, seat: str) -> None:
    """Its connection is forgotten at once, not at the next ping."""
    while any(each.actor.holder == seat for each in venue.gateway.connections):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("lang", "said"),
    [
        ("vi", "Máy chủ không có kênh này. Hãy tải lại trang."),
        ("en", "The server has no such channel. Reload the page."),
    ],
)
@pytest.mark.parametrize("greets", [False, True], ids=["stranger", "seat"])
async def test_another_namespace_is_refused_in_the_readers_language(
    venue: Venue, lang: str, said: str, greets: bool
) -> None:
    """It is no harm, so that a seat which asks for one is not cut off."""
    page, actor = await bystander(venue), venue.cast.trainee
    address = f"{venue.url}/socket.io/?EIO=4&transport=websocket"
    cookie = {"Cookie": f"seat_{actor.holder}={venue.cast.secrets[actor.holder]}; lang={lang}"}
    async with aiohttp.ClientSession(headers=cookie) as http, http.ws_connect(address) as line:
        if greets:
            await line.send_str("40" + json.dumps({"seat": actor.holder, "since": None}))
            while '"snapshot"' not in (await line.receive_str()):
                pass
        await line.send_str('40/admin,{"seat":"x"}')
        async with asyncio.timeout(PATIENCE_S):
            while not (answer := await line.receive_str()).startswith("44/admin,"):
                pass
        refusal = {"ok": False, "error": "invalid", "message": said}
        assert json.loads(answer.removeprefix("44/admin,")) == {"message": said, "data": refusal}
        await line.send_str('421["question.ask",{"text":"Còn nghe không?"},"k"]')
        told = '431[{"ok":true' if greets else '431[{"ok":false,"error":"unauthenticated"'
        async with asyncio.timeout(PATIENCE_S):
            while not (await line.receive_str()).startswith(told):
                pass
    await _unharmed(venue, page)


GARBAGE: dict[str | bytes, int] = {
    "\x1e": 400,
    "9": 400,
    "bnonsens": 400,
    "bAAAA": 400,
    "d": 400,
    "d=": 400,
    "4" + "[" * 15_000: 200,
    "4" * (STRANGER_BYTES + 1): 400,
    "5": 400,
    b"\xff": 400,
}
"""body → the answer's status; where a packet is whole, its content is judged after the answer"""


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:12]))
async def test_garbage_by_long_polling(
    venue: Venue, body: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    page = await bystander(venue)
    address = f"{venue.url}/socket.io/?EIO=4&transport=polling"
    with capture_logs() as logs, caplog.at_level(logging.WARNING):
        async with aiohttp.ClientSession() as http:
            async with http.get(address) as opened:
                sid = json.loads((await opened.text())[1:])["sid"]
            async with http.post(f"{address}&sid={sid}", data=body) as answer:
                assert answer.status == GARBAGE[body], await answer.text()
    said = [each for each in logs if each["event"] == "socket.malformed"]
    assert len(said) == 1 and "exc_info" not in str(logs), logs
    assert not caplog.records
    await _unharmed(venue, page)


FOREIGN = (
    "EIO=3&transport=polling",
    "EIO=3&transport=websocket",
    "EIO=5&transport=polling",
    "transport=polling",
    "EIO=4&transport=pigeon",
    "EIO=4&transport=polling&j=x",
    "EIO=4&transport=polling&sid=nobody",
    "EIO=4&transport=websocket&sid=nobody",
)
"""handshakes of other versions of the protocol, or of none"""


async def test_handshakes_that_are_not_of_this_protocol(
    venue: Venue, caplog: pytest.LogCaptureFixture
) -> None:
    page = await bystander(venue)
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    }
    with capture_logs() as logs, caplog.at_level(logging.WARNING):
        async with aiohttp.ClientSession() as http:
            for query in FOREIGN:
                headers = upgrade if "websocket" in query else {}
                address = f"{venue.url}/socket.io/?{query}"
                async with http.get(address, headers=headers) as answer:
                    assert answer.status == 400, query
                async with http.post(address, data="4hello") as answer:
                    assert answer.status == 400, query
    assert "exc_info" not in str(logs)
    assert not any(record.exc_info for record in caplog.records)
    await _unharmed(venue, page)


async def test_a_command_that_is_wrong_is_let_go_once_it_is_answered(venue: Venue) -> None:
    """It may be large, and the cyclic collector comes seldom."""
    page = await bystander(venue)
    gc.collect()  # what others' tests left
    gc.disable()
    try:
        for number, wrong in enumerate(({"text": 1}, {"text": "Ừ", "more": "x" * 100_000}, [])):
            answer = await page.send("question.ask", wrong, f"k{number}")
            assert answer["error"] == "invalid"
        assert not [each for each in gc.get_objects() if isinstance(each, Invalid)]
    finally:
        gc.enable()
