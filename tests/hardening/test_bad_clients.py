"""Clients that flood, stall, or come and go, and one that locks the database: nobody else notices.

One real server for the file. A *bystander* answers a quiz all the while; in the end no process has
died or met what it did not expect. ``HALF_OPEN_CONNECTIONS=10000`` makes the long form.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import shutil
import socket
import sqlite3
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from server.live.allowance import BYTES_OF_FRAME, FRAMES_BURST, FRAMES_PER_S
from server.live.websocket import SLICE_BYTES
from server.permissions import Role
from server.simulation.client import SeatClient
from tests.hardening.conference import Bridge, Made, make_conference
from tests.test_supervisor import Running, until

pytestmark = pytest.mark.alone

PHONES = 30
STORMING = 8
HALF_OPEN = int(os.environ.get("HALF_OPEN_CONNECTIONS", "1000"))
MOST_GROWTH_KB = 48_000
"""What the web process may hold more afterwards: far less than the floods send."""
MOST_CONNECTION_KB = 16
"""What a connection that is open may take in it."""


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Bridge]:
    folder = tmp_path_factory.mktemp("clients")
    path = folder / "diemcau.sqlite3"
    shutil.copy(sqlite_template, path)
    made = asyncio.run(make_conference(f"sqlite:///{path}", PHONES))
    running = Running(folder)
    try:
        until(running.healthy)
        yield Bridge(running, made)
        assert running.healthy()
        assert [child["restarts"] for child in running.children().values()] == [0, 0, 0]
    finally:
        if running.process.poll() is None:
            running.stop()
    log = running.log.read_text(errors="replace")
    assert "Traceback" not in log and '"exception"' not in log
    assert "Cannot send" not in log, "a line for each client that has gone"


class Bystander:
    """Answers over and over, and is always heard."""

    def __init__(self, phone: SeatClient, made: Made) -> None:
        self._phone, self._made = phone, made
        self.answered = 0

    async def run(self) -> None:
        """Until it is cancelled. Raises: what a refusal or a lost line raises."""
        item = self._phone.state["runs"][str(self._made.run)]["item"]
        while True:
            choice = {"run": self._made.run, "item": item, "option": self.answered % 2}
            await self._phone.send("activity.answer", choice)
            self.answered += 1
            await asyncio.sleep(0.05)


@asynccontextmanager
async def undisturbed(bridge: Bridge, connections: int = 0) -> AsyncIterator[Bystander]:
    """The bystander is heard before, during and after; memory is bounded, with so many
    connections open in the end."""
    before_kb = bridge.memory_kb()
    phone = await bridge.phone()
    bystander = Bystander(phone, bridge.made)
    acting = asyncio.create_task(bystander.run())
    try:
        yield bystander
        heard = bystander.answered
        async with asyncio.timeout(60):
            while bystander.answered < heard + 3:
                assert not acting.done(), acting
                await asyncio.sleep(0.05)
        assert bridge.memory_kb() < before_kb + MOST_GROWTH_KB + connections * MOST_CONNECTION_KB
    finally:
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)
        await phone.close()


def frame(payload: bytes, head: int = 0x81) -> bytes:
    """A masked frame, by default a whole text (RFC 6455 section 5.2); the mask is 0."""
    size = len(payload)
    if size < 126:
        return bytes((head, 0x80 | size)) + b"\0\0\0\0" + payload
    if size < 1 << 16:
        return struct.pack("!BBH", head, 0xFE, size) + b"\0\0\0\0" + payload
    return struct.pack("!BBQ", head, 0xFF, size) + b"\0\0\0\0" + payload


class Raw:
    """A client that does as it is told, not as it should."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.socket = socket.socket()
        self.socket.setblocking(False)

    async def send(self, data: bytes, within_s: float = 60) -> None:
        """Raises: OSError once it is cut off; TimeoutError where the server reads no more."""
        async with asyncio.timeout(within_s):
            await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def connect(self, first: bytes = b"") -> Raw:
        """A connection, and the first bytes on it."""
        async with asyncio.timeout(60):
            await asyncio.get_running_loop().sock_connect(self.socket, self._bridge.address)
        await self.send(first)
        return self

    async def open(self, phone: SeatClient) -> Raw:
        """A WebSocket with the cookies of ``phone``, greeted as its seat."""
        await self.greet(phone)
        await self.read(b'42["snapshot"')
        return self

    async def greet(self, phone: SeatClient) -> Raw:
        """``open``, without waiting for an answer."""
        await self.connect(self._bridge.handshake(phone))
        await self.read(b"101 Switching")
        await self.send(frame(b'40{"seat":"%s","since":null}' % phone.seat.encode()))
        return self

    async def read(self, mark: bytes) -> None:
        """Until ``mark`` has come. Raises: ConnectionError, TimeoutError."""
        held = b""
        async with asyncio.timeout(60):
            while mark not in held:
                data = await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)
                if not data:
                    raise ConnectionResetError
                held = held[-100:] + data

    def answers(self) -> list[bytes]:
        """Why commands were refused, of the answers that have come."""
        held = b""
        with contextlib.suppress(BlockingIOError):
            while data := self.socket.recv(1 << 16):
                held += data
        return re.findall(rb'{"ok":false,"error":"(\w+)"', held)

    async def ended(self) -> None:
        """Until the server has hung up, whatever it sends before."""
        with contextlib.suppress(ConnectionError):
            await self.read(b"\xff\xfe never sent")

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


# --- connections ---------------------------------------------------------------------------------


async def test_half_open_connections(bridge: Bridge) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert most > HALF_OPEN + 200, "more open files are needed: ulimit -n"
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    phone = await bridge.phone()
    whole = bridge.handshake(phone)
    beginnings = (b"", whole[:40], whole, whole, whole)
    lines: list[Raw] = []
    try:
        async with undisturbed(bridge, HALF_OPEN):
            for at in range(0, HALF_OPEN, 50):
                some = [Raw(bridge) for _ in range(50)]
                lines += some
                await asyncio.gather(
                    *(raw.connect(beginnings[n % 5]) for n, raw in enumerate(some, at))
                )
            assert (await phone.send("question.ask", {"text": "Còn nghe không?"}))["question"]
    finally:
        for raw in lines:
            raw.close()
        await phone.close()


async def test_clients_that_are_gone_before_they_are_answered(bridge: Bridge) -> None:
    """A page that is closed while it connects is no fault of ours, and writes none to the log."""
    phone = await bridge.phone()
    async with undisturbed(bridge):
        for delay_ms in range(60):
            come = Raw(bridge)
            greets = delay_ms % 2 == 0
            gone = await (come.greet(phone) if greets else come.connect(bridge.handshake(phone)))
            await asyncio.sleep(delay_ms % 6 / 1000)
            gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            gone.close()
    await phone.close()


async def test_a_reconnect_storm(bridge: Bridge) -> None:
    phones = [await bridge.phone() for _ in range(STORMING)]
    async with undisturbed(bridge):
        for _wave in range(6):
            storm = [Raw(bridge) for _ in range(5 * len(phones))]
            coming = (raw.open(phones[n % len(phones)]) for n, raw in enumerate(storm))
            await asyncio.gather(*coming)
            for raw in storm:
                raw.close()
    desk, room = SeatClient(bridge.running.base), str(bridge.made.site)
    await desk.open(f"/join/{bridge.made.tokens[Role.MODERATOR]}")
    await desk.connect()
    async with asyncio.timeout(60):  # presence is right again: these, each counted once
        while desk.live.get("presence", {}).get(room, {}).get("trainee") != len(phones):
            await desk.wait()
    await desk.close()
    for phone in phones:
        await phone.close()


# --- what is sent --------------------------------------------------------------------------------


async def test_floods(bridge: Bridge) -> None:
    phone = await bridge.phone()
    ask = b'42%d["question.ask",{"text":"' + b"x" * 60_000 + b'"},"k%d"]'
    async with undisturbed(bridge):
        # A megabyte and more a second of commands, whose answers are not read.
        flood = await Raw(bridge).open(phone)
        began_s = time.monotonic()
        with contextlib.suppress(OSError, TimeoutError):
            for number in range(100):
                await flood.send(frame(ask % (number, number)), 2)
        await flood.read(b'430[{"ok":false,"error":"invalid"')
        answered = flood.answers()
        most = 2 * FRAMES_BURST + FRAMES_PER_S * (time.monotonic() - began_s)
        assert set(answered) <= {b"invalid"}, "too long, each of them"
        assert len(answered) <= 1 + most / (1 + 60_000 / BYTES_OF_FRAME), "more waits"
        # Pings whose pongs are not read (section 5.5.2): cut off like who does not read events.
        pings = await Raw(bridge).open(phone)
        with pytest.raises((OSError, TimeoutError)):
            for _ in range(2000):
                await pings.send(frame(b"p" * 120, 0x89) * 1000, 2)
        # A message without an end, in fragments (section 5.4).
        endless = await Raw(bridge).open(phone)
        with contextlib.suppress(OSError, TimeoutError):
            await endless.send(frame(b"42[" + b"x" * 65_000, 0x01), 2)
            for _ in range(100):
                await endless.send(frame(b"x" * 65_000, 0x00), 2)
        await endless.ended()
        # A frame that says it is 2^62 bytes long.
        huge = await Raw(bridge).open(phone)
        await huge.send(struct.pack("!BBQ", 0x81, 0xFF, 1 << 62) + b"\0\0\0\0" + b"x" * 1000)
        await huge.ended()
        # A frame, a byte at a time.
        slow = await Raw(bridge).open(phone)
        for byte in frame('421["question.ask",{"text":"Chậm"},"slow"]'.encode()):
            await slow.send(bytes((byte,)))
            await asyncio.sleep(0.01)
        await slow.read(b'431[{"ok":true')
        for raw in (flood, pings, endless, huge, slow):
            raw.close()
    await phone.close()


@pytest.mark.parametrize(("size", "count"), [(900_000, 4), (SLICE_BYTES - 8, 480)])
async def test_bytes_that_are_too_many_wait_in_the_network(
    bridge: Bridge, size: int, count: int
) -> None:
    """Few long messages, or many of which each is one read: fewer than there may be, but more bytes.
    All are taken in the end, none sooner than there may be so many."""
    phone = await bridge.phone()
    begin, end = b'42%03d["no.such",{"x":"', b'"},"%03d"]'
    text = b"x" * (size - len(begin % 0 + end % 0))
    commands = [frame(begin % n + text + end % n) for n in range(count)]
    cost = count + sum(map(len, commands)) / BYTES_OF_FRAME
    soonest_s = (cost - 2 - SLICE_BYTES / BYTES_OF_FRAME - 2 * FRAMES_BURST) / FRAMES_PER_S
    assert count < FRAMES_BURST and soonest_s > 1
    async with undisturbed(bridge) as bystander:
        flood = await Raw(bridge).open(phone)
        began_s = time.monotonic()
        flooding = asyncio.create_task(flood.send(b"".join(commands)))
        last = asyncio.create_task(
            flood.read(b'43%03d[{"ok":false,"error":"invalid"' % (count - 1))
        )
        heard = bystander.answered
        while bystander.answered < heard + 2:  # one of them was asked since
            await asyncio.sleep(0.01)
        assert not last.done(), "it waits, and nobody else does"
        await asyncio.gather(flooding, last)
        assert time.monotonic() - began_s >= soonest_s
        flood.close()
    await phone.close()


# --- the database --------------------------------------------------------------------------------


async def test_the_database_is_locked_for_a_while(bridge: Bridge) -> None:
    """Less than the server waits: commands are late, none is refused."""
    phones = [await bridge.phone() for _ in range(STORMING)]
    path = bridge.running.folder / "diemcau.sqlite3"
    async with undisturbed(bridge):
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        asking = asyncio.gather(*(p.send("question.ask", {"text": "Chờ"}) for p in phones))
        async with asyncio.timeout(20):
            while (await asyncio.to_thread(bridge.running.get, "/healthz"))[0] != 503:
                await asyncio.sleep(0.1)
        assert not asking.done()
        assert bridge.running.get("/")[0] == 200, "who reads waits for nobody"
        other.execute("ROLLBACK")
        other.close()
        numbers = {answer["question"] for answer in await asking}
        assert len(numbers) == len(phones)
    until(bridge.running.healthy)
    for phone in phones:
        await phone.close()
