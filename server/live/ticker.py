"""The clock's own commands: attendance counts and quiz deadlines of open conferences, and since when
rooms are connected. While an item is open staff are told how it is answered.

They follow from what was written, so that a conference in which nothing happens is asked rarely.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import structlog
from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from server.activities import rules, views
from server.activities.models import Run
from server.batch import server_actor
from server.conferences.models import Conference
from server.conferences.sites import noted_as_connected
from server.db.engine import Database
from server.db.journal import Published
from server.errors import Broken, DomainError, SlowDown, Unavailable
from server.inbox import Inbox, utc_now
from server.live.gateway import Gateway
from server.live.rooms import Rooms
from server.protocol import (
    Command,
    CountAttendance,
    ExpireItems,
    ItemOpened,
    NoteConnected,
    RoomPage,
)

PERIOD_S = 1.0
EVERYWHERE_EVERY = 30
"""Periods until all open conferences are looked at, whether anything was heard of them or not."""
OPEN = ("lobby", "live", "paused")
NEVER = datetime.min.replace(tzinfo=UTC)
OF_NO_CONCERN = ("agenda.", "question.", "stage.", "floor.")
"""Events that change neither who has checked in nor what was answered."""

log = structlog.get_logger(__name__)


def open_conferences(session: Session) -> list[tuple[int, datetime | None]]:
    """(id, deadline of its open item) of the conferences that go on now."""
    shown = and_(Run.conference_id == Conference.id, Run.state == rules.OPEN)
    query = select(Conference.id, Run.deadline_at).outerjoin(Run, shown)
    rows = session.execute(query.where(Conference.state.in_(OPEN)))
    return [(row.id, row.deadline_at) for row in rows]


class Ticker:
    """Two tasks, one of which waits for no database; also a listener that closes a quiz item at its very
    deadline."""

    def __init__(self, inbox: Inbox, database: Database, gateway: Gateway) -> None:
        self._inbox = inbox
        self._database = database
        self._gateway = gateway
        self._tasks: set[asyncio.Task[None]] = set()
        self._stirred: set[int] = set()
        """conferences in which something was written since they were looked at"""
        self._rooms: Rooms | None = None
        self._deadlines: dict[int, datetime] = {}
        """of each conference, the last that is waited for"""
        inbox.listen(self)

    def start(self) -> None:
        """Begin to tick."""
        self._keep(self._tell())
        self._keep(self._run())

    async def stop(self) -> None:
        """Cancel what waits."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def publish(self, events: Sequence[Published]) -> None:
        """Be there at the deadline of every item that opens."""
        self._stirred.update({each.conference_id for each in events if _concerns(each.type)})
        for event in events:
            if event.type == ItemOpened.type:
                deadline = datetime.fromisoformat(event.data["deadline_at"])
                self._await(event.conference_id, deadline)

    async def rights_changed(self, conference_id: int) -> None:
        """Nothing: the clock's rights do not change."""

    async def _tell(self) -> None:
        """Who is here, each second, however long the database takes."""
        while True:
            try:
                await self._gateway.tick()
                if self._rooms is not None:
                    self._rooms.see(self._gateway.presences, utc_now())
            except Exception:
                log.exception("ticker.failed")
            await asyncio.sleep(PERIOD_S)

    async def _run(self) -> None:
        everywhere, away = 0, False
        for period in itertools.count():
            try:
                if period >= everywhere:
                    for conference_id, deadline in await self._database.read(open_conferences):
                        self._stirred.add(conference_id)
                        if deadline is not None:
                            self._await(conference_id, deadline)
                    everywhere = period + EVERYWHERE_EVERY
                if self._rooms is None:
                    self._rooms = Rooms(await self._database.read(noted_as_connected), utc_now())
                changed = self._rooms.due(utc_now())
                works = [self._look(conference_id) for conference_id in self._stirred]
                works += [self._note(self._rooms, *each) for each in changed.items()]
                for problem in await asyncio.gather(*works, return_exceptions=True):
                    if problem is not None:  # of one; the others' work is done
                        raise problem
                away = False
            except (Unavailable, SlowDown):  # the database is away for a while; the clock goes on
                if not away:  # one line for an outage
                    log.warning("ticker.database_away")
                away = True
            except Exception:
                log.exception("ticker.failed")
            await asyncio.sleep(PERIOD_S)

    async def _note(self, rooms: Rooms, conference_id: int, pages: Sequence[RoomPage]) -> None:
        """Raises: as ``_command``; what could not be noted is noted by the next period."""
        await self._command(conference_id, NoteConnected(pages=tuple(pages)))
        rooms.noted(conference_id, pages)

    async def _look(self, conference_id: int) -> None:
        self._stirred.discard(conference_id)  # what these two write themselves stirs it again
        try:
            both = (CountAttendance(), ExpireItems())  # together, so that one transaction does both
            await asyncio.gather(*(self._command(conference_id, each) for each in both))
            if utc_now() < self._deadlines.get(conference_id, NEVER):
                choices = await self._database.read(views.choices, conference_id)
                if choices is not None:
                    self._gateway.tell_choices(conference_id, choices)
        except BaseException:
            self._stirred.add(conference_id)
            raise

    def _await(self, conference_id: int, deadline: datetime) -> None:
        if self._deadlines.get(conference_id) != deadline:
            self._deadlines[conference_id] = deadline
            self._keep(self._expire(conference_id, deadline))

    async def _expire(self, conference_id: int, deadline: datetime) -> None:
        while (left_s := (deadline - utc_now()).total_seconds()) >= 0:  # clocks may be set back
            await asyncio.sleep(left_s)
        with contextlib.suppress(
            Unavailable, SlowDown, Broken
        ):  # it is stirred, and looked at again
            await self._look(conference_id)

    async def _command(self, conference_id: int, command: Command) -> None:
        """Raises: Unavailable, SlowDown, Broken, where nothing was done: it is to be tried again."""
        try:
            await self._inbox.submit(server_actor(conference_id), command)
        except (Unavailable, SlowDown, Broken):
            raise
        except DomainError:
            pass  # nothing to do there any more

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@cache
def _concerns(event: str) -> bool:
    return not event.startswith(OF_NO_CONCERN)
