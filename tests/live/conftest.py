"""A real server: aiohttp, python-socketio, inbox and database; real clients over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import socketio
from aiohttp import web

from server import paths
from server.config import load
from server.db.engine import Database
from server.i18n import read_languages
from server.inbox import Inbox
from server.live.gateway import Gateway, make_server
from server.permissions import Actor
from server.signalling import Signalling
from server.state import State, apply
from server.steering import Steering
from server.telling import OnLive
from tests.cast import Cast

PATIENCE_S = 60.0


@dataclass
class Page:
    """A client that keeps its state as a page does."""

    client: socketio.AsyncClient
    seq: int = 0
    state: State = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    live: dict[str, Any] = field(default_factory=dict)
    snapshots: int = 0
    closed: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.client.on("snapshot", self._on_snapshot)
        self.client.on("events", self._on_events)
        self.client.on("head", self._on_head)
        self.client.on("live", self._on_live)
        self.client.on("disconnect", self._on_disconnect)

    def _on_snapshot(self, snapshot: dict[str, Any]) -> None:
        self.state, self.seq = snapshot["state"], snapshot["seq"]
        self.snapshots += 1
        self._news.set()

    def _on_events(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            if event["seq"] > self.seq:
                self.state = apply(self.state, event["type"], event["data"])
                self.seq = event["seq"]
                self.events.append(event)
        self._news.set()

    def _on_head(self, seq: int) -> None:
        self.seq = max(self.seq, seq)
        self._news.set()

    def _on_live(self, facts: list[dict[str, Any]]) -> None:
        self.live |= {fact["type"]: fact["data"] for fact in facts}
        self._news.set()

    def _on_disconnect(self, _reason: object = None) -> None:
        self.closed = True
        self._news.set()

    async def until(self, true: Callable[[Page], bool]) -> None:
        """Wait for something to become true. Raises: TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            while not true(self):
                self._news.clear()
                await self._news.wait()

    async def send(self, type_: str, payload: object, key: object) -> dict[str, Any]:
        """A command; gives its acknowledgement."""
        answer: dict[str, Any] = await self.client.call(type_, (payload, key), timeout=PATIENCE_S)
        return answer


@dataclass
class Venue:
    """The running server."""

    url: str
    gateway: Gateway
    inbox: Inbox
    database: Database
    cast: Cast
    tell: OnLive
    """as media workers do"""
    pages: list[Page] = field(default_factory=list)

    async def open(
        self,
        actor: Actor,
        since: int | None = None,
        *,
        secret: str | None = None,
        headers: dict[str, str] | None = None,
        lang: str = "vi",
        **hello: str | bool,
    ) -> Page:
        """Connect a seat. Raises: socketio's ConnectionError where it is refused."""
        secret = self.cast.secrets[actor.holder] if secret is None else secret
        cookie = f"seat_{actor.holder}={secret}; lang={lang}"
        page = Page(socketio.AsyncClient(reconnection=False))
        self.pages.append(page)
        await page.client.connect(
            self.url,
            headers={"Cookie": cookie, **(headers or {})},
            auth={"seat": actor.holder, "since": since, **hello},
            transports=["websocket"],
            wait_timeout=PATIENCE_S,
        )
        return page

    async def close(self, page: Page) -> None:
        """Hang up."""
        await page.client.disconnect()
        await page.until(lambda p: p.closed)


def cookie(venue: Venue, actor: Actor) -> str:
    """What the browser of a seat sends along."""
    return f"seat_{actor.holder}={venue.cast.secrets[actor.holder]}"


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


async def _blank(_request: web.Request) -> web.Response:
    """A page for scripts."""
    return web.Response(text="<!doctype html><html lang=vi>", content_type="text/html")


@asynccontextmanager
async def serving(database: Database, cast: Cast, tmp_path: Path) -> AsyncIterator[Venue]:
    """The cast's conference, served. No media worker: nobody asks for media here."""
    inbox = Inbox(database)
    inbox.start()
    config = load({}, data_dir=tmp_path)
    steering = Steering(database, [], config.recordings_dir)
    server = make_server()
    gateway = Gateway(server, inbox, database, Signalling(config, steering), read_languages())
    app = web.Application()
    server.attach(app)
    app.router.add_static("/static", paths.STATIC)
    app.router.add_get("/blank", _blank)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    tell = steering.telling.on_live
    venue = Venue(f"http://127.0.0.1:{port}", gateway, inbox, database, cast, tell)
    yield venue
    for page in venue.pages:
        if page.client.connected:
            await page.client.disconnect()
    await gateway.stop()
    await inbox.stop()
    await steering.stop()
    await runner.cleanup()


@pytest.fixture
async def venue(database: Database, cast: Cast, tmp_path: Path) -> AsyncIterator[Venue]:
    """For one test, on its loop."""
    async with serving(database, cast, tmp_path) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="session")
async def visited(database: Database, cast: Cast, tmp_path: Path) -> AsyncIterator[Venue]:
    """``venue`` on the loop of the browser that visits it."""
    async with serving(database, cast, tmp_path) as served:
        yield served
