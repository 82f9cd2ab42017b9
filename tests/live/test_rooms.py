"""Since when rooms are connected: through tabs, reloads, the end of a process and of the grace."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from server.db.journal import JournalEntry
from server.errors import Unavailable
from server.live import rooms
from server.live.presence import Presence
from server.live.rooms import GRACE, Rooms
from server.live.ticker import Ticker
from server.protocol import RoomPage, RoomRole, SiteConnected
from tests.cast import START
from tests.live.conftest import Page, Venue

pytestmark = pytest.mark.long

HUE = 7
CONFERENCE = 1


def there(operators: int = 0, displays: int = 0) -> dict[int, Presence]:
    """What is counted in a conference of one room with phones in it."""
    counts: Presence = {"0": {"operator": 1, "display": 0, "trainee": 3, "sound": None}}
    counts[str(HUE)] = {"operator": operators, "display": displays, "trainee": 9, "sound": None}
    return {CONFERENCE: counts}


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Journal:
    """Looks at rooms, and notes what is to be noted."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms

    def sees(self, presences: dict[int, Presence], at_s: float) -> list[RoomPage]:
        self.rooms.see(presences, after(at_s))
        found = self.rooms.due(after(at_s))
        for conference_id, pages in found.items():
            self.rooms.noted(conference_id, pages)
        return [page for pages in found.values() for page in pages]


def page(role: RoomRole, here: bool, at_s: float) -> RoomPage:
    return RoomPage(site=HUE, role=role, here=here, at=after(at_s))


GRACE_S = GRACE.total_seconds()


def test_who_comes_is_noted_once_with_the_moment_it_came() -> None:
    journal = Journal(Rooms([], START))
    assert journal.sees(there(operators=2), 1) == [page("operator", True, 1)]
    assert journal.sees(there(operators=1), 2) == [], "one of two tabs was closed"
    assert journal.sees(there(operators=1, displays=1), 3) == [page("display", True, 3)]


def test_who_is_back_within_the_grace_was_never_away() -> None:
    journal = Journal(Rooms([], START))
    journal.sees(there(operators=1), 0)
    assert journal.sees(there(), GRACE_S) == []
    assert journal.sees(there(operators=1), GRACE_S + 1) == []
    assert journal.sees(there(), 2 * GRACE_S + 1) == [], "counted from when it was seen last"


def test_who_is_gone_is_gone_since_it_was_seen_last() -> None:
    journal = Journal(Rooms([], START))
    journal.sees(there(operators=1), 5)
    assert journal.sees({}, 6 + GRACE_S) == [page("operator", False, 5)]
    assert journal.sees({}, 100) == []
    assert journal.sees(there(operators=1), 101) == [page("operator", True, 101)]


def test_after_a_new_start_those_who_come_back_were_never_away() -> None:
    journal = Journal(Rooms([(CONFERENCE, HUE, "operator"), (CONFERENCE, HUE, "display")], START))
    assert journal.sees({}, 1) == []
    assert journal.sees(there(operators=1), 3) == []
    assert journal.sees(there(operators=1), GRACE_S + 1) == [page("display", False, 0)]


def test_what_could_not_be_noted_is_noted_later_with_its_own_moment() -> None:
    rooms = Rooms([], START)
    came = {CONFERENCE: [page("operator", True, 1)]}
    rooms.see(there(operators=1), after(1))
    assert rooms.due(after(1)) == rooms.due(after(50)) == came
    rooms.noted(CONFERENCE, came[CONFERENCE])
    assert rooms.due(after(51)) == {CONFERENCE: [page("operator", False, 1)]}


# --- the whole way -------------------------------------------------------------------------------


@asynccontextmanager
async def ticking(venue: Venue) -> AsyncIterator[None]:
    """With a clock, as each process has one."""
    ticker = Ticker(venue.inbox, venue.database, venue.gateway)
    ticker.start()
    try:
        yield
    finally:
        await ticker.stop()


def stays(venue: Venue, role: str) -> Callable[[Page], dict[str, Any]]:
    """What a page knows of Đà Nẵng's ``role``."""
    return lambda p: p.state.get("sites", {}).get(str(venue.cast.da_nang), {}).get(role) or {}


async def test_the_desk_and_the_room_itself_are_told_and_nobody_else(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "GRACE", timedelta(seconds=0.5))
    cast = venue.cast
    moderator, operator, trainee = [
        await venue.open(actor) for actor in (cast.moderator, cast.operator, cast.trainee)
    ]
    operators, displays = stays(venue, "operator"), stays(venue, "display")
    async with ticking(venue):
        display = await venue.open(cast.display)
        await moderator.until(lambda p: bool(operators(p) and displays(p)))
        assert displays(moderator)["until"] is None
        await venue.close(display)
        for page in (moderator, operator):
            await page.until(lambda p: bool(displays(p).get("until")))
        left = displays(moderator)
        assert left["since"] <= left["until"]
        await venue.open(cast.display)
        await moderator.until(lambda p: displays(p)["until"] is None)
        assert displays(moderator)["since"] > left["until"]
    fresh = await venue.open(cast.moderator)
    await fresh.until(lambda p: p.snapshots == 1)
    assert fresh.state["sites"] == moderator.state["sites"]
    for page in (trainee, await venue.open(cast.trainee)):
        await page.until(lambda p: p.snapshots == 1)
        assert SiteConnected.type not in {event["type"] for event in page.events}
        assert not operators(page) and not displays(page)


async def test_a_new_process_goes_on_where_the_one_before_was_killed(venue: Venue) -> None:
    """No process writes anything at its end, so that stopping the clock is as good as a SIGKILL."""
    operators = stays(venue, "operator")
    moderator = await venue.open(venue.cast.moderator)
    async with ticking(venue):
        operator = await venue.open(venue.cast.operator)
        await moderator.until(lambda p: bool(operators(p)))
    since = operators(moderator)
    await venue.close(operator)
    async with ticking(venue):
        await venue.open(venue.cast.display)
        await venue.open(venue.cast.operator)
        await moderator.until(lambda p: bool(stays(venue, "display")(p)))
    assert operators(moderator) == since
    query = select(JournalEntry.seq).where(JournalEntry.type == SiteConnected.type)
    noted = venue.database.read_now(lambda session: session.scalars(query).all())
    assert len(noted) == 2, "the operator's page once, the display once"


async def test_who_comes_while_the_writer_waits_is_noted_with_that_moment(venue: Venue) -> None:
    ended, here = threading.Event(), str(venue.cast.da_nang)
    moderator = await venue.open(venue.cast.moderator)
    async with ticking(venue):
        await venue.open(venue.cast.display)
        await moderator.until(lambda p: bool(stays(venue, "display")(p)))
        writing = asyncio.create_task(venue.inbox.transact(lambda _session: ended.wait(60)))
        try:
            await venue.open(venue.cast.operator)
            await moderator.until(lambda p: p.live["presence"].get(here, {}).get("operator") == 1)
            await asyncio.sleep(2)
            written = datetime.now(UTC)
        finally:
            ended.set()
            await writing
        await moderator.until(lambda p: bool(stays(venue, "operator")(p)))
    since = datetime.fromisoformat(stays(venue, "operator")(moderator)["since"])
    assert since < written - timedelta(seconds=1)


async def test_rooms_are_noted_once_the_database_is_back(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = 2
    read = venue.database.read

    async def read_later(*arguments: Any) -> Any:
        nonlocal away
        if away:
            away -= 1
            raise Unavailable(retry_after_s=1.0)
        return await read(*arguments)

    moderator = await venue.open(venue.cast.moderator)
    await moderator.until(lambda p: p.snapshots == 1)
    await venue.open(venue.cast.operator)
    monkeypatch.setattr(venue.database, "read", read_later)
    async with ticking(venue):
        await moderator.until(lambda p: bool(stays(venue, "operator")(p)))
    assert away == 0
