"""The clock's own commands: attendance counts and quiz deadlines of open conferences."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.batch import server_actor
from server.conferences.models import Conference
from server.db.engine import Database
from server.db.journal import Published
from server.errors import DomainError, Unavailable
from server.inbox import Inbox, utc_now
from server.live.gateway import Gateway
from server.protocol import Command, CountAttendance, ExpireItems, ItemOpened

PERIOD_S = 1.0
OPEN = ("lobby", "live", "paused")

log = structlog.get_logger(__name__)


def open_conferences(session: Session) -> list[int]:
    """Ids of the conferences that go on now."""
    return list(session.scalars(select(Conference.id).where(Conference.state.in_(OPEN))))


class Ticker:
    """One task; also a listener that closes a quiz item at its very deadline."""

    def __init__(self, inbox: Inbox, database: Database, gateway: Gateway) -> None:
        self._inbox = inbox
        self._database = database
        self._gateway = gateway
        self._tasks: set[asyncio.Task[None]] = set()
        inbox.listen(self)

    def start(self) -> None:
        """Begin to tick."""
        self._keep(self._run())

    async def stop(self) -> None:
        """Cancel what waits."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def publish(self, events: Sequence[Published]) -> None:
        """Be there at the deadline of every item that opens."""
        for event in events:
            if event.type == ItemOpened.type:
                deadline = datetime.fromisoformat(event.data["deadline_at"])
                self._keep(self._expire(event.conference_id, deadline))

    async def rights_changed(self, conference_id: int) -> None:
        """Nothing: the clock's rights do not change."""

    async def _run(self) -> None:
        while True:
            try:
                conferences = set(await self._database.read(open_conferences))
                for conference_id in conferences | set(self._gateway.connections.conferences()):
                    await self._command(conference_id, CountAttendance())
                    await self._command(conference_id, ExpireItems())
                await self._gateway.tick()
            except Unavailable:  # the database is away for a while; the clock goes on
                log.warning("ticker.database_away")
            except Exception:
                log.exception("ticker.failed")
            await asyncio.sleep(PERIOD_S)

    async def _expire(self, conference_id: int, deadline: datetime) -> None:
        await asyncio.sleep(max(0.0, (deadline - utc_now()).total_seconds()))
        await self._command(conference_id, ExpireItems())

    async def _command(self, conference_id: int, command: Command) -> None:
        with contextlib.suppress(DomainError):
            await self._inbox.submit(server_actor(conference_id), command)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
