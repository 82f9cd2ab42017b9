"""A real worker process with real sockets for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.media.harness import WorkerProcess


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[WorkerProcess]:
    """A worker with a web connection and a listening recorder."""
    process = WorkerProcess(tmp_path)
    await process.start()
    yield process
    await process.stop()
