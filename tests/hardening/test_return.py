"""All phones of a conference come back in the same moment after a SIGKILL of the web process.

The short form of 1,703 phones, ``RETURNING_PHONES=1703`` makes the long one. Each phone is one task
on one raw WebSocket, and tries again at once: no page is so hasty.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.conferences.joining import join_by_code
from server.db.engine import Database
from server.permissions import Role
from server.simulation.client import SeatClient
from tests.hardening.conference import Made, make_conference
from tests.test_supervisor import Running, until

pytestmark = pytest.mark.alone

PHONES = int(os.environ.get("RETURNING_PHONES", "400"))
AWAY = PHONES // 4
"""of them have no line for a while, and miss something before the server is killed"""
PATIENCE_S = 60.0
MOST_GROWTH_KB = 24_000
"""What the new process may hold more than the old one did with the same phones."""


class Phone:
    """A trainee's page, as far as the socket sees it."""

    def __init__(self, http: aiohttp.ClientSession, seat: str, secret: str) -> None:
        self._http, self._seat, self._secret = http, seat, secret
        self.seq: int | None = None
        self.heard: list[int] = []
        """``seq`` of the events that came, in their order"""
        self.snapshots = 0
        self.welcomes = 0
        self._task: asyncio.Task[None] | None = None

    def go(self) -> None:
        """Be there from now on."""
        self._task = asyncio.create_task(self._stay())

    async def leave(self) -> None:
        """Be away, which it may be already."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _stay(self) -> None:
        while True:
            try:
                await self._connect()
            except (aiohttp.ClientError, ConnectionError):
                await asyncio.sleep(0.01)

    async def _connect(self) -> None:
        headers = {"Cookie": f"seat_{self._seat}={self._secret}"}
        address = "/socket.io/?EIO=4&transport=websocket"
        async with self._http.ws_connect(address, headers=headers) as line:
            async for message in line:
                await self._take(line, message.data)

    async def _take(self, line: aiohttp.ClientWebSocketResponse, packet: str) -> None:
        if packet.startswith("0"):
            await line.send_str("40" + json.dumps({"seat": self._seat, "since": self.seq}))
        elif packet == "2":
            await line.send_str("3")
        elif packet.startswith("42"):
            self._hear(*json.loads(packet[2:]))
        elif packet.startswith("44"):  # the database is busy: the page would try again as well
            await line.send_str("40" + json.dumps({"seat": self._seat, "since": self.seq}))
        else:
            assert packet.startswith("40{"), packet

    def _hear(self, name: str, data: Any) -> None:
        if name == "snapshot":
            self.snapshots += 1
            self.seq = data["seq"]
        elif name == "events":
            self.heard += [event["seq"] for event in data]
            self.seq = self.heard[-1]
        elif name == "head":
            self.seq = data
        else:
            self.welcomes += any(fact["type"] == "clock" for fact in data)


def take_seats(url: str, made: Made) -> list[tuple[str, str]]:
    """(seat, secret) of everyone on the roster."""
    database, now = Database(url), datetime.now(UTC)
    with database.write_session() as session:
        taken = [join_by_code(session, made.join_code, code, code, now) for code in made.codes]
        seats = [(seat.id, secret) for seat, secret in taken]
        session.commit()
    database.close()
    return seats


async def happens(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not check():
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def with_phones(base: str, seats: Sequence[tuple[str, str]]) -> AsyncIterator[list[Phone]]:
    """A phone for each (seat, secret); none is left behind, whatever happens."""
    unlimited = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(base, connector=unlimited) as http:
        phones = [Phone(http, seat, secret) for seat, secret in seats]
        try:
            yield phones
        finally:
            for phone in phones:
                await phone.leave()


@contextlib.asynccontextmanager
async def served_page(running: Running, made: Made, role: Role) -> AsyncIterator[SeatClient]:
    page = SeatClient(running.base)
    try:
        await page.open(f"/join/{made.tokens[role]}")
        await page.connect()
        yield page
    finally:
        await page.close()


def resyncs(running: Running) -> dict[str, int]:
    """How those who came to this process were brought up to date."""
    text = running.get("/metrics")[1]
    return {
        how: int(float(count))
        for how, count in re.findall(r'diemcau_resyncs_total\{how="(\w+)"\} (\S+)', text)
    }


def memory_kb(pid: int) -> int:
    """Resident set."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


async def mute(desk: SeatClient, made: Made, *turns: bool) -> None:
    """Events that everyone hears."""
    for muted in turns:
        await desk.send("site.mute", {"site": made.site, "muted": muted})


async def everyone_came(phones: Sequence[Phone], times: int) -> None:
    """Each has been welcomed so often: it has all that it missed."""
    await happens(lambda: all(phone.welcomes == times for phone in phones))


async def test_all_phones_return_at_once(tmp_path: Path, sqlite_template: Path) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    path = tmp_path / "diemcau.sqlite3"
    shutil.copy(sqlite_template, path)
    made = await make_conference(f"sqlite:///{path}", PHONES)
    seats = take_seats(f"sqlite:///{path}", made)
    running = Running(tmp_path)
    try:
        until(running.healthy)
        async with (
            with_phones(running.base, seats) as phones,
            served_page(running, made, Role.MODERATOR) as desk,
            served_page(running, made, Role.OPERATOR),
        ):
            await _return(running, made, phones, desk)
    finally:
        running.stop()
    log = running.log.read_text(errors="replace")
    assert "Traceback" not in log and '"exception"' not in log


async def _return(running: Running, made: Made, phones: Sequence[Phone], desk: SeatClient) -> None:
    room = str(made.site)

    def counts() -> Any:
        here = desk.live.get("presence", {}).get(room, {})
        return here.get("trainee"), here.get("operator")

    for phone in phones:
        phone.go()
    await everyone_came(phones, 1)
    await happens(lambda: counts() == (PHONES, 1) and "operator" in desk.state["sites"][room])
    connected = desk.state["sites"][room]["operator"]

    gone, kept = phones[:AWAY], phones[AWAY:]
    for phone in gone:
        await phone.leave()
    await mute(desk, made, True, False, True)
    missed = [(desk.seq or 0) - back for back in (2, 1, 0)]
    await happens(lambda: all(phone.heard == missed for phone in kept))

    before = running.children()["web"]["pid"]
    before_kb = memory_kb(before)
    os.kill(before, signal.SIGKILL)
    desk.live.clear()  # what it still believes of who is there
    for phone in gone:
        phone.go()
    await everyone_came(gone + kept, 2)
    after = running.children()["web"]["pid"]
    assert after != before
    assert all(phone.heard == missed for phone in phones), "what was missed, once and in order"
    assert all(phone.snapshots == 1 for phone in phones), "the one that it began with"

    # The desk and the room come back as well: they are less hasty than the phones.
    await happens(lambda: counts() == (PHONES, 1) and sum(resyncs(running).values()) == PHONES + 2)
    assert resyncs(running) == {"missed": PHONES + 2}
    assert desk.state["sites"][room]["operator"] == connected, "it was never away"
    await mute(desk, made, False)
    await happens(lambda: all(phone.heard == [*missed, desk.seq] for phone in phones))
    assert memory_kb(after) < before_kb + MOST_GROWTH_KB
    for phone in phones:
        await phone.leave()
    await happens(lambda: counts() == (0, 1))
