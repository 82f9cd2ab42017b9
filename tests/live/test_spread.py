"""One call for many lines, compiled and not: each gets all of its own, in order, whatever it takes."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from server.i18n import read_languages
from server.live import spread
from server.live.allowance import Allowance
from server.live.audience import Audience
from server.live.client import Message
from server.live.connections import Connection
from server.live.websocket import Line
from server.permissions import Actor, Role

PATIENCE_S = 60.0
MANY = 50
IO_URING_SETUP = 425
"""number of the kernel's call, on all machines but Alpha"""
FORKS = """
import os
from server.live import spread
code = spread.library()[1]
print(code.diemcau_ring(1), flush=True)
if os.fork() == 0:
    print(code.diemcau_ring(1), flush=True)
    os._exit(0)
os.wait()
print(code.diemcau_ring(1))
"""
SETUP_FLAGS = 1 << 12 | 1 << 13 | 1 << 7
"""IORING_SETUP_SINGLE_ISSUER, _DEFER_TASKRUN and _SUBMIT_ALL (linux/io_uring.h)"""


class Nobody:
    """Whoever owns the lines."""

    def heard(self, line: Line, message: str | bytes) -> None:
        raise AssertionError(message)

    def lost(self, line: Line) -> None:
        pass

    def overrun(self, line: Line) -> None:
        pass


@pytest.fixture(params=["by one call of the kernel", "compiled", "plain"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "plain":
        monkeypatch.setattr(spread, "library", lambda: None)
        yield
        return
    compiled = spread.library()
    assert compiled is not None, "it is compiled where the tests run"
    # Where the kernel forbids it, each is sent by itself here too, and all must hold as well.
    compiled[1].diemcau_ring(request.param == "by one call of the kernel")
    yield
    compiled[1].diemcau_ring(1)


Open = Callable[[], "asyncio.Future[tuple[Line, socket.socket]]"]


@pytest.fixture
async def open_line() -> AsyncIterator[Open]:
    """Makes a line and the socket of its client."""
    loop = asyncio.get_running_loop()
    made: list[tuple[asyncio.BaseTransport, socket.socket]] = []

    async def open_() -> tuple[Line, socket.socket]:
        near, far = socket.socketpair()
        allowance = Allowance(0.0)
        allowance.trust()
        line = Line(Nobody(), 1 << 20, allowance)
        near.setblocking(False)
        far.setblocking(False)
        connected = await loop.create_connection(asyncio.Protocol, sock=near)
        transport = connected[0]
        transport.set_protocol(line)
        line.connection_made(transport)
        made.append((transport, far))
        return line, far

    yield open_  # type: ignore[misc]
    for transport, far in made:
        transport.abort()  # type: ignore[attr-defined]
        far.close()
    await asyncio.sleep(0)


async def read(far: socket.socket, size: int) -> bytes:
    """The next ``size`` bytes that come."""
    loop, found = asyncio.get_running_loop(), b""
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < size:
            found += await loop.sock_recv(far, size - len(found))
    return found


async def test_each_hears_the_same_and_its_own_in_order(open_line: Open) -> None:
    lines = [await open_line() for _ in range(MANY)]
    all_ = [line for line, _ in lines]
    spread.spread(all_, b"one ")
    all_[3].hold(b"held ")
    spread.spread(all_, b"two ")
    for number, line in enumerate(all_):
        line.hold(b"%d, " % number)
        line.hold(b"again %d" % number)
    spread.flush([*all_, all_[0]])
    for number, (_, far) in enumerate(lines):
        held = b"held " if number == 3 else b""
        expected = b"one " + held + b"two %d, again %d" % (number, number)
        assert await read(far, len(expected)) == expected


def test_what_the_kernel_allows_is_used() -> None:
    compiled = spread.library()
    if compiled is None:
        return  # the plain way
    about = ctypes.create_string_buffer(120)  # struct io_uring_params
    about[8:12] = SETUP_FLAGS.to_bytes(4, sys.byteorder)
    ring = ctypes.CDLL(None).syscall(IO_URING_SETUP, 8, about)
    assert compiled[1].diemcau_ring(1) == (ring >= 0)
    if ring >= 0:
        os.close(ring)


def test_a_child_of_fork_leaves_its_parents_ring_alone() -> None:
    told = subprocess.run([sys.executable, "-c", FORKS], check=True, capture_output=True, text=True)
    parent, child, after = told.stdout.split()
    assert child == "0" and parent == after


async def test_who_does_not_read_gets_the_rest_later_and_stops_nobody(open_line: Open) -> None:
    slow, reader = await open_line(), await open_line()
    large = bytes(range(256)) * 3000
    pair = [slow[0], reader[0]]
    reading = asyncio.create_task(read(reader[1], len(large) + 10))
    spread.spread(pair, large)
    assert slow[0].direct == -1 and slow[0].queued > 0
    spread.spread(pair, b"and ")
    for line in pair:
        line.hold(b"behind")
    spread.flush(pair)
    assert await reading == large + b"and behind"
    assert await read(slow[1], len(large) + 10) == large + b"and behind"
    async with asyncio.timeout(PATIENCE_S):
        while slow[0].direct < 0:
            await asyncio.sleep(0.01)
    spread.spread(pair, b"!")
    assert await read(slow[1], 1) == await read(reader[1], 1) == b"!"


async def test_who_has_gone_or_is_going_is_no_trouble(open_line: Open) -> None:
    closing, gone, here = [await open_line() for _ in range(3)]
    closing[0].close()
    gone[1].close()
    lines = [closing[0], gone[0], here[0]]
    spread.spread(lines, b"news")
    assert await read(here[1], 4) == b"news"
    assert await read(closing[1], 4) == b"\x88\x02\x03\xe8", "the goodbye is the last"
    await asyncio.sleep(0.01)
    assert gone[0].direct == closing[0].direct == -1
    spread.spread(lines, b"more")
    assert await read(here[1], 4) == b"more"
    assert closing[1].recv(10) == b""


@dataclass
class Socket:
    """Who has a line, or polls and writes down what it is told."""

    line: Line | None
    told: bytes = b""

    def deliver(self, message: Message) -> None:
        self.told += message.frame


def sit(audience: Audience, socket: Any, site: int = 1) -> Connection:
    """One more who hears."""
    actor = Actor("", Role.TRAINEE, 1, site)
    connection = Connection("", socket, actor, read_languages()["vi"])
    audience.enter(connection)
    return connection


async def test_an_audience_is_told_behind_what_each_got_before(open_line: Open) -> None:
    audience, lines = Audience(), [await open_line() for _ in range(MANY)]
    seated = [sit(audience, Socket(line), number % 2) for number, (line, _) in enumerate(lines)]
    poller = Socket(None)
    sit(audience, poller)
    both, one, all_ = {("trainee", 0), ("trainee", 1)}, Message(b"to one"), Message(b"to all")
    audience.tell(both, [], all_, 1)  # by each line itself: the chairs know none yet
    lines[1][0].hold(b"held")
    audience.tell([("trainee", 1)], [seated[3]], one, 2)
    lines[3][0].hold(b"its own")
    spread.flush([lines[3][0]])
    audience.tell(both, [seated[5]], all_, 3)
    for number, (_, far) in enumerate(lines):
        first, last = all_.frame, all_.frame if number != 5 else b""
        between = {1: b"held" + one.frame, 3: b"its own"}.get(number, one.frame * (number % 2))
        expected = first + between + last
        assert await read(far, len(expected)) == expected
    assert poller.told == all_.frame + one.frame + all_.frame


async def test_a_slow_one_of_an_audience_gets_all_later_in_order(open_line: Open) -> None:
    audience, slow, reader = Audience(), await open_line(), await open_line()
    for line, _ in (slow, reader):
        sit(audience, Socket(line))
    everyone, small = [("trainee", 1)], Message(b"small")
    large = Message(bytes(range(256)) * 3000)
    audience.tell(everyone, [], small, 1)
    size = len(large.frame) + 3 * len(small.frame)
    reading = asyncio.create_task(read(reader[1], size))
    audience.tell(everyone, [], large, 2)
    audience.tell(everyone, [], small, 3)
    expected = small.frame + large.frame + small.frame
    assert await read(slow[1], len(expected)) == expected
    async with asyncio.timeout(PATIENCE_S):
        while slow[0].direct < 0:
            await asyncio.sleep(0.01)
    audience.tell(everyone, [], small, 4)
    assert await reading == expected + small.frame
    assert await read(slow[1], len(small.frame)) == small.frame


async def test_a_descriptor_that_is_anothers_by_now_hears_nothing(open_line: Open) -> None:
    audience, first = Audience(), await open_line()
    seated = sit(audience, Socket(first[0]))
    news, more, everyone = Message(b"news"), Message(b"more"), [("trainee", 1)]
    audience.tell(everyone, [], news, 1)
    assert await read(first[1], len(news.frame)) == news.frame
    descriptor = first[0].descriptor
    first[0].cut_off()
    async with asyncio.timeout(PATIENCE_S):
        while first[0]._transport is not None:
            await asyncio.sleep(0)
    others = [await open_line() for _ in range(3)]
    assert descriptor in [line.descriptor for line, _ in others]
    audience.tell(everyone, [], news, 2)  # it is in its chair still
    audience.leave(seated)
    newcomer = sit(audience, Socket(others[0][0]))
    assert newcomer.chair == 0 and seated.chair == -1
    audience.tell(everyone, [], more, 3)
    assert await read(others[0][1], len(more.frame)) == more.frame
    for _, far in others[1:]:
        with pytest.raises(BlockingIOError):
            far.recv(1)
