"""Web's connection to a worker ends when it shall, whatever the worker says meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server import worker_link
from server.media import messages
from server.worker_link import WorkerLink

LOAD = messages.encode(messages.Load(cpu=0, packets_received=0, packets_sent=0))


async def test_a_worker_that_hangs_is_not_there_though_the_kernel_accepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_link, "SILENCE_S", 0.3)
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(writer)

    server = await asyncio.start_unix_server(accept, tmp_path / "worker")
    said: list[str] = []
    link = WorkerLink(
        str(tmp_path / "worker"),
        heard=lambda _link, _message: said.append("heard"),
        arrived=lambda _: said.append("arrived"),
        ended=lambda _: said.append("ended"),
    )
    link.start()
    await asyncio.wait_for(accepted.get(), 60)
    worker = await asyncio.wait_for(accepted.get(), 60)
    assert said == [], "it was given up and tried again, and never counted as there"
    worker.write(LOAD)
    await asyncio.wait_for(link.connected.wait(), 60)
    await asyncio.wait_for(accepted.get(), 60)
    assert said == ["arrived", "heard", "ended"] and link.reconnects == 1
    await link.stop()
    server.close()


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
    worker = await accepted.get()
    worker.write(LOAD)
    await asyncio.wait_for(link.connected.wait(), 60)
    await asyncio.sleep(0.01)
    worker.write(LOAD)
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.wait_for(link.stop(), 60)
    worker.close()
    server.close()
