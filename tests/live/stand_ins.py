"""What stands around a gateway: a database whose reads wait, sockets that only write down, and pages that say
what was wrong with what they heard.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

from server.db.engine import Database
from server.live.client import Message
from server.permissions import Actor
from server.state import State, apply


class Read:
    """One read that is asked for."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._seen: list[Any] = []

    def sees(self) -> None:
        """What it gives is of this moment."""
        if not self._seen:
            self._seen.append(self._read())

    def returns(self) -> None:
        self.sees()
        self.future.set_result(self._seen[0])


class Gate:
    """A database whose reads wait."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reads: list[Read] = []

    async def read(self, function: Callable[..., Any], *arguments: Any) -> Any:
        read = Read(partial(self._database.read_now, function, *arguments))
        self.reads.append(read)
        try:
            return await read.future
        finally:
            self.reads.remove(read)


class Line:
    """What stands for a socket: its page hears at once."""

    line = None
    owner: Any = None

    def __init__(self, page: Page) -> None:
        self.page, self.closing = page, False

    def deliver(self, message: Message) -> None:
        if not self.closing:
            self.page.hear(*json.loads(message.text[1:]))

    deliver_soon = deliver


class Server:
    """The socket seam: as much of python-socketio as the gateway asks for."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self._requests: dict[str, Any] = {}
        self._handlers: dict[str, Callable[..., Awaitable[None]]] = {}

    def on(self, name: str, handler: Callable[..., Awaitable[None]]) -> None:
        self._handlers[name] = handler

    def get_environ(self, sid: str) -> dict[str, Any]:
        return {"aiohttp.request": self._requests[sid]}

    def socket_of(self, sid: str) -> Line | None:
        return self.lines.get(sid)

    def forget_request(self, sid: str) -> None:
        del self._requests[sid]

    async def connect(self, sid: str, line: Line, secret: str, since: int | None) -> None:
        """Raises: ConnectionRefusedError of python-socketio."""
        seat = line.page.actor.holder
        self._requests[sid] = SimpleNamespace(
            cookies={f"seat_{seat}": secret}, headers={}, host="x"
        )
        self.lines[sid] = line
        await self._handlers["connect"](sid, {}, {"seat": seat, "since": since})

    async def disconnect(self, sid: str) -> None:
        """By either side."""
        if (line := self.lines.pop(sid, None)) is not None:
            line.closing = True
            await self._handlers["disconnect"](sid)

    async def shutdown(self) -> None: ...


@dataclass
class Page:
    """A page that keeps its state, and says what was wrong with what it heard."""

    actor: Actor
    may_hear: Callable[[str, int], bool]
    wrong: list[str]
    state: State = field(default_factory=dict)
    seq: int = 0
    sid: str | None = None
    """of its line; None while it has none"""

    def hear(self, name: str, data: Any) -> None:
        if name == "snapshot":
            self._expect(data["seq"] >= self.seq, name, data["seq"])
            self.state, self.seq = data["state"], data["seq"]
        elif name == "head":
            self._expect(data >= self.seq, name, data)
            self.seq = data
        elif name == "events":
            for event in data:
                self._expect(event["seq"] > self.seq, "twice or late", event["seq"])
                self._expect(self.may_hear(self.actor.holder, event["seq"]), "secret", event["seq"])
                self.state = apply(self.state, event["type"], event["data"])
                self.seq = event["seq"]

    def _expect(self, true: bool, what: str, seq: int) -> None:
        if not true:
            self.wrong.append(f"{self.actor.role} at {self.seq}: {what} {seq}")
