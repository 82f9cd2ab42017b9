"""A worker without a session looks at the clock once a second, and is awake as soon as web says something."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from server.media import messages, worker
from server.media.router import Conference
from tests.media.harness import eventually


class Hall(Conference):
    """One in which somebody sends, or nobody."""

    somebody = False
    ticks = 0

    @property
    def lively(self) -> bool:
        return self.somebody

    def tick(self, now_s: float) -> None:
        self.ticks += 1


async def test_it_rests_until_web_speaks_and_not_while_somebody_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "REST_AFTER", 2)
    monkeypatch.setattr(worker, "TICK_S", 0.005)
    udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.create_server(("127.0.0.1", 0))
    udp.bind(("127.0.0.1", 0))
    made = worker.Worker(udp, tcp, tmp_path / "control", [tmp_path / "recorder"], ["127.0.0.1"])
    hall = made._conferences["x"] = Hall("x", lambda _: None, lambda _: None, lambda _: None)
    rest, rests = made._rests, []

    async def watched() -> bool:
        rests.append(None)
        rests[-1] = await rest()
        return rests[-1]

    monkeypatch.setattr(made, "_rests", watched)
    stop = asyncio.Event()
    with udp, tcp:
        running = asyncio.create_task(made.run(stop))
        try:
            await eventually(lambda: None in rests)
            made._message(messages.Forget("another"), lambda _: None)
            await eventually(lambda: False in rests)
            await eventually(lambda: rests[-1] is None)  # it rests again
            hall.somebody = True
            made._message(messages.Forget("another"), lambda _: None)
            await eventually(lambda: rests[-1] is not None)
            known, hall.ticks = len(rests), 0
            await eventually(lambda: hall.ticks > worker.SECOND)
            assert len(rests) == known, "nobody rests while somebody sends"
            hall.somebody = False
            await eventually(lambda: True in rests)
        finally:
            stop.set()
            await running
