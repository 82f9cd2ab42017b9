"""Connections to a web process within this one: few are taken at a time, none is kept that asks nothing."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from server import app
from server.config import Config
from server.listening import TAKEN_AT_ONCE
from tests.listening import Watched

pytestmark = pytest.mark.alone

POLLING = b"/socket.io/?EIO=4&transport=polling"
BEGUN = b"GET " + POLLING + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def served(listening: socket.socket, tmp_path: Path, template: Path) -> AsyncIterator[None]:
    """The web process within this one, until it is left."""
    shutil.copy(template, tmp_path / "d.db")
    url, folder = f"sqlite:///{tmp_path / 'd.db'}", tmp_path / "r"
    config = Config(data_dir=tmp_path, database_url=url, secret_key="k" * 40, recordings_dir=folder)
    listening.setblocking(False)
    serving = asyncio.create_task(app.serve(config.with_(workers=0), listening, str(tmp_path)))
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_those_who_are_here_wait_for_few_who_come(
    tmp_path: Path, sqlite_template: Path
) -> None:
    """Where a thousand connections come at once, none is turned away and few are taken in one turn."""
    watched = Watched()
    async with served(watched, tmp_path, sqlite_template):
        await _whole(watched.getsockname(), BEGUN)
        most = await watched.most_in_one_turn(300)
    assert most <= TAKEN_AT_ONCE + 1, "newer versions of asyncio take one more"


async def test_a_connection_that_asks_nothing_whole_is_closed(
    tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "IDLE_S", 0.5)
    monkeypatch.setattr("server.web.middleware.BODY_WITHIN_S", 0.5)
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    body = b"Host: x\r\nContent-Length: 5000\r\n"
    kind = b"Content-Type: application/x-www-form-urlencoded\r\n\r\ncsrf="
    async with served(listening, tmp_path, sqlite_template):
        sid = re.search(rb'"sid":"([^"]+)"', await _whole(address, BEGUN))
        assert sid, "a poller's session"
        beginnings = (
            b"",
            b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
            b"POST /sign-in HTTP/1.1\r\n" + body + kind,
            b"POST " + POLLING + b"&sid=" + sid[1] + b" HTTP/1.1\r\n" + body + kind,
        )
        async with asyncio.timeout(60):
            await asyncio.gather(*(_drip(address, each) for each in beginnings))


async def _whole(address: tuple[str, int], request: bytes) -> bytes:
    """All that comes of a request."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    return answer


async def _drip(address: tuple[str, int], beginning: bytes) -> None:
    """Send the beginning, then a byte every now and then, until the server has hung up."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(beginning)
    with contextlib.suppress(ConnectionError):
        while not reader.at_eof():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    assert b" 500 " not in (await reader.read(1 << 16)).split(b"\r\n")[0]
            if beginning:
                writer.write(b"a")
    writer.close()
