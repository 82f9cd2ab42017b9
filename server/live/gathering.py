"""Reads that wait for each other: while one is under way, all who come are read together next.

1,703 phones that join at once would else ask the same questions 1,703 times over, in threads that
wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.orm import Session

from server.db.engine import Database
from server.errors import DomainError

Asked = TypeVar("Asked")
Found = TypeVar("Found")

MOST = 256
"""Asked for by one read: the first of them waits for the last."""
PACE_S = 0.02
"""Between the beginnings of two reads, where somebody waits already for the second, so that a steady
stream shares reads as well. Who comes alone waits for nobody."""


class Gathered(Generic[Asked, Found]):
    """One kind of read. Call it on one loop."""

    def __init__(
        self,
        database: Database,
        read: Callable[[Session, Sequence[Asked]], Sequence[Found | DomainError]],
    ) -> None:
        self._database = database
        self._read = read
        self._waiting: list[tuple[Asked, asyncio.Future[Found]]] = []
        self._reading: asyncio.Task[None] | None = None

    async def __call__(self, asked: Asked) -> Found:
        """What ``read`` finds for it. Raises: the DomainError that it finds; what it raises."""
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if self._reading is None:
            self._reading = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                began_s = loop.time()
                some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._settle([(asked, future) for asked, future in some if not future.done()])
                if self._waiting:
                    await asyncio.sleep(began_s + PACE_S - loop.time())
        finally:
            self._reading = None

    async def _settle(self, some: Sequence[tuple[Asked, asyncio.Future[Found]]]) -> None:
        found: Sequence[Found | BaseException]
        try:
            found = await self._database.read(self._read, [asked for asked, _ in some])
        except Exception as error:
            if len(some) > 1 and not isinstance(error, DomainError):
                half = len(some) // 2  # down to the one that spoils it for the others
                await self._settle(some[:half])
                await self._settle(some[half:])
                return
            found = [error] * len(some)
        for (_, future), each in zip(some, found, strict=True):
            if future.done():
                continue  # its client has gone
            if isinstance(each, BaseException):
                future.set_exception(each)
            else:
                future.set_result(each)
