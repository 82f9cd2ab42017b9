"""A real worker process with real sockets for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.media.harness import Process, WorkerProcess
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
