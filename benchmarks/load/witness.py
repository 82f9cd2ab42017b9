"""Phones that remember what the server acknowledged, and that send what it did not again.

Each speaks Socket.IO 4 over a WebSocket and has one command in flight: it knows for each key whether
there was an answer, and in which order its answers to a quiz came.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

ANSWER_WITHIN_S = 30.0
LATER = ("unavailable", "slow_down")
"""Refusals after which the same key is sent again."""
MOST_QUESTIONS = 10
"""Of one person that wait at once (server/questions/rules.py)."""

Gone = (aiohttp.ClientError, ConnectionError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Sent:
    """One command under its key."""

    key: str
    type: str
    payload: dict[str, Any]


@dataclass
class Witness:
    """One phone through all rounds."""

    number: int
    cookie: str
    seat: str
    choice: dict[str, Any]
    """payload of ``activity.answer`` but for its option"""
    acknowledged: dict[str, tuple[Sent, dict[str, Any]]] = field(default_factory=dict)
    """key → what was sent, and the whole acknowledgement; in the order of sending"""
    unanswered: Sent | None = None
    """in flight when the line was lost"""
    changed: list[str] = field(default_factory=list)
    """keys whose retry was answered otherwise than the first time"""
    seq: int | None = None
    asked: int = 0
    checked_in: bool = False
    _options: int = 0

    async def act(self, http: aiohttp.ClientSession, base: str, plan: Plan) -> None:
        """Come (back), ask for one old answer again, settle what was in flight; then command after
        command until the line is lost or ``plan`` is over."""
        try:
            async with Line(http, base, self) as line:
                await self._settle(line)
                for number, sent in enumerate(self._commands(plan)):
                    await self._send(line, sent)
                    if number == 0:
                        plan.arrived()
                    if plan.over:
                        return
        except Gone:
            if not plan.killed:
                raise

    async def finish(self, http: aiohttp.ClientSession, base: str) -> None:
        """Come back once more, and have everything answered."""
        async with Line(http, base, self) as line:
            await self._settle(line)

    async def _settle(self, line: Line) -> None:
        if self.acknowledged:
            key = next(reversed(self.acknowledged))
            sent, first = self.acknowledged[key]
            if await self._answer(line, sent) != first:
                self.changed.append(key)
        if self.unanswered is not None:
            await self._send(line, self.unanswered)

    async def _send(self, line: Line, sent: Sent) -> None:
        self.unanswered = sent
        self.acknowledged[sent.key] = (sent, await self._answer(line, sent))
        self.unanswered = None

    async def _answer(self, line: Line, sent: Sent) -> dict[str, Any]:
        """The acknowledgement; where it says "later", the same again."""
        while True:
            answer = await line.ask(sent)
            if answer.get("error") not in LATER:
                return answer
            await asyncio.sleep(answer.get("retry_after_s", 1.0) * random.uniform(0.1, 0.5))

    def _commands(self, plan: Plan) -> Iterator[Sent]:
        """Answers, and once in a while a question or the check-in among the first of a round."""
        asks = plan.asks(self.asked)
        checks_in = plan.checks_in(self.number) and not self.checked_in
        for count in itertools.count():
            key = f"{plan.round}:{self.number}:{count}"
            if checks_in and random.random() < 0.5:
                checks_in, self.checked_in = False, True
                yield Sent(key, "attendance.check_in", {})
            elif asks and random.random() < 0.5:
                asks, self.asked = False, self.asked + 1
                yield Sent(key, "question.ask", {"text": f"Câu hỏi {key}"})
            else:
                self._options += 1
                payload = self.choice | {"option": self._options % 2}
                yield Sent(key, "activity.answer", payload)


@dataclass
class Plan:
    """What all phones know of a round."""

    round: int
    rounds: int
    phones: int
    killed: bool = False
    """lines may be lost from now on"""
    over: bool = False
    """enough was sent"""
    present: int = 0
    all_here: asyncio.Event = field(default_factory=asyncio.Event)

    def arrived(self) -> None:
        """One more phone is at work: its first command of the round is acknowledged."""
        self.present += 1
        if self.present == self.phones:
            self.all_here.set()

    def asks(self, asked: int) -> bool:
        """Questions are spread over the rounds, since nobody may ask for ever."""
        return asked < MOST_QUESTIONS * (self.round + 1) // self.rounds

    def checks_in(self, number: int) -> bool:
        """Everybody checks in once, spread over the rounds."""
        return number % self.rounds <= self.round


class Line:
    """A phone's connection."""

    def __init__(self, http: aiohttp.ClientSession, base: str, phone: Witness) -> None:
        self._http, self._base, self._phone = http, base, phone
        self._count = 0

    async def __aenter__(self) -> Line:
        """Raises: ``Gone``."""
        address = f"{self._base}/socket.io/?EIO=4&transport=websocket"
        headers = {"Cookie": self._phone.cookie}
        self._socket = await self._http.ws_connect(address, headers=headers, max_msg_size=0)
        hello = json.dumps({"seat": self._phone.seat, "since": self._phone.seq})
        await self._socket.send_str("40" + hello)
        await self._until("40")
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._socket.close()

    async def ask(self, sent: Sent) -> dict[str, Any]:
        """Send, and the acknowledgement. Raises: ``Gone``."""
        self._count += 1
        body = json.dumps([sent.type, sent.payload, sent.key], ensure_ascii=False)
        await self._socket.send_str(f"42{self._count}{body}")
        (answer,) = json.loads(await self._until(f"43{self._count}"))
        assert isinstance(answer, dict)
        return answer

    async def _until(self, mark: str) -> str:
        """The rest of the packet that begins with ``mark``; the others on the way are heard."""
        async with asyncio.timeout(ANSWER_WITHIN_S):
            while True:
                message = await self._socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    raise ConnectionResetError("the line is lost")
                text: str = message.data
                if text == "2":
                    await self._socket.send_str("3")
                elif text.startswith(mark) and not text[len(mark) : len(mark) + 1].isdigit():
                    return text[len(mark) :]
                elif text.startswith("42"):
                    self._hear(*json.loads(text[2:]))

    def _hear(self, name: str, data: Any) -> None:
        if name == "events":
            self._phone.seq = data[-1]["seq"]
        elif name == "snapshot":
            self._phone.seq = data["seq"]
        elif name == "head":
            self._phone.seq = data
