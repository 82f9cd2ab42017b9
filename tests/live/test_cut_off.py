"""Who reads nothing, answers nothing or takes too much is cut off; who floods waits; nobody else notices."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import pytest

from server.live import allowance, engine, gateway, metrics
from server.live.allowance import FRAMES_BURST, FRAMES_PER_S
from server.live.websocket import MOST_QUEUED_BYTES, STRANGER_BYTES
from tests.live.conftest import PATIENCE_S, Raw, Venue

pytestmark = pytest.mark.parametrize("kind", ["sqlite"])


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
