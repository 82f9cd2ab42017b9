"""A real worker process with real sockets for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.media.harness import WorkerProcess
from tests.media.raw import RawPeer


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[WorkerProcess]:
    """A worker with a web connection and a listening recorder; silence is 2 s here."""
    process = WorkerProcess(tmp_path)
    await process.start("--silence-s", "2")
    yield process
    await process.stop()


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
