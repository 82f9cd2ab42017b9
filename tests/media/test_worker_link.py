"""Web's connection to a worker ends when it shall, whatever the worker says meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server.media import messages
from server.worker_link import WorkerLink


@pytest.mark.parametrize("turns", range(8))
async def test_a_link_ends_though_a_report_arrives_at_that_moment(
    tmp_path: Path, turns: int
) -> None:
    """Each number of turns of the loop between the report and the end: one of them meets it."""
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(writer)

    server = await asyncio.start_unix_server(accept, tmp_path / "worker")
    heard: list[messages.FromWorker] = []
    link = WorkerLink(
        str(tmp_path / "worker"),
        heard=lambda _, message: heard.append(message),
        arrived=lambda _: None,
        ended=lambda _: None,
    )
    link.start()
    await asyncio.wait_for(link.connected.wait(), 5)
    worker = await accepted.get()
    await asyncio.sleep(0.01)
    worker.write(messages.encode(messages.Load(cpu=0, packets_received=0, packets_sent=0)))
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.wait_for(link.stop(), 5)
    worker.close()
    server.close()
