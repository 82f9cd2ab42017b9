"""A real worker process with real sockets for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from aiohttp import web
from playwright.async_api import Browser, async_playwright

from benchmarks.load.chromium import CHROMIUM
from tests.media.camera import Camera
from tests.media.harness import Process, WorkerProcess
from tests.media.lines import BadLine
from tests.media.pages import ARGUMENTS, SCRIPT
from tests.media.raw import RawPeer


@pytest.fixture(scope="session")
def media_process() -> Iterator[Process]:
    """One worker for all tests: its conferences come and go."""
    process = Process()
    yield process
    process.stop()


@pytest.fixture
async def worker(media_process: Process) -> AsyncIterator[WorkerProcess]:
    """The worker with a web connection and a listening recorder."""
    connected = WorkerProcess(media_process)
    await connected.start()
    yield connected
    await connected.stop()


@pytest.fixture
async def raw() -> AsyncIterator[Callable[[], RawPeer]]:
    """Makes peers of bare packets."""
    peers: list[RawPeer] = []

    def make() -> RawPeer:
        peers.append(RawPeer())
        return peers[-1]

    yield make
    for peer in peers:
        await peer.close()


@pytest.fixture
async def camera() -> AsyncIterator[Camera]:
    """A publisher of three layers."""
    peer = Camera()
    yield peer
    await peer.close()


@pytest.fixture
async def line() -> AsyncIterator[BadLine]:
    """A line without faults until the test makes some; ended with it."""
    made = BadLine()
    yield made
    await made.stop()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for two pages."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        await chromium.close()


@pytest.fixture
async def origin() -> AsyncIterator[str]:
    """A static server with the one page."""

    async def serve(request: web.Request) -> web.Response:
        return web.Response(text=SCRIPT, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}/"
    await runner.cleanup()
