"""The clock's own commands, and media requests that the gateway refuses by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import event

from server.live.ticker import Ticker
from tests.live.conftest import Page, Venue

pytestmark = pytest.mark.long

QUIZ = {"title": "Bài", "items": [{"text": "?", "options": ["a", "b"], "correct": 0, "seconds": 5}]}


def closed(run: int) -> Callable[[Page], bool]:
    """Whether a page knows that a run's item is closed; before its snapshot it knows nothing."""
    return lambda page: page.state.get("runs", {}).get(str(run), {}).get("state") == "closed"


async def test_counts_are_announced_and_items_close_at_their_deadline(venue: Venue) -> None:
    ticker = Ticker(venue.inbox, venue.database, venue.gateway)
    ticker.start()
    try:
        moderator = await venue.open(venue.cast.moderator)
        trainee = await venue.open(venue.cast.trainee)
        await moderator.until(lambda p: p.snapshots == 1)
        activity = (await moderator.send("activity.create", QUIZ, "k1"))["result"]["activity"]
        run = (await moderator.send("activity.launch", {"activity": activity}, "k2"))["result"]
        item = moderator.state["runs"][str(run["run"])]["item"]
        choice = {"run": run["run"], "item": item, "option": 1}
        assert (await trainee.send("activity.answer", choice, "k3"))["ok"]
        so_far = {"run": run["run"], "item": item, "votes": [0, 1]}
        await moderator.until(lambda p: p.live.get("choices") == so_far)
        observer = await venue.open(venue.cast.observer)
        await observer.until(lambda p: p.live.get("choices") == so_far)
        assert (await trainee.send("attendance.check_in", {}, "k"))["ok"]
        here = str(venue.cast.da_nang)
        await moderator.until(lambda p: p.state["sites"][here]["present"] == 1)
        await moderator.until(lambda p: "presence" in p.live)
        await moderator.until(closed(run["run"]))
        shown = moderator.state["runs"][str(run["run"])]
        assert shown["deadline_at"] <= shown["closed_at"]
        assert "choices" not in trainee.live
    finally:
        await ticker.stop()


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_who_comes_back_after_a_restart_sees_the_item_close_in_time(venue: Venue) -> None:
    """The clock that heard the item open is gone with its process; nobody does anything."""
    moderator = await venue.open(venue.cast.moderator)
    activity = (await moderator.send("activity.create", QUIZ, "k1"))["result"]["activity"]
    run = (await moderator.send("activity.launch", {"activity": activity}, "k2"))["result"]
    ticker = Ticker(venue.inbox, venue.database, venue.gateway)
    ticker.start()
    try:
        await moderator.until(closed(run["run"]))
    finally:
        await ticker.stop()


async def test_who_is_here_is_told_while_nothing_can_be_written(venue: Venue) -> None:
    await venue.inbox.stop()
    ticker = Ticker(venue.inbox, venue.database, venue.gateway)
    ticker.start()
    try:
        page = await venue.open(venue.cast.moderator)
        await page.until(lambda p: "presence" in p.live)
    finally:
        await ticker.stop()


async def test_who_is_here_is_told_while_the_writer_waits(venue: Venue) -> None:
    """As it does for a lock; the clock's own commands wait with it."""
    ended, moderator = threading.Event(), await venue.open(venue.cast.moderator)
    here = str(venue.cast.da_nang)
    writing = asyncio.create_task(venue.inbox.transact(lambda _session: ended.wait(60)))
    ticker = Ticker(venue.inbox, venue.database, venue.gateway)
    ticker.start()
    try:
        while not venue.inbox.waiting:  # the clock asks for the first time
            await asyncio.sleep(0.01)
        await venue.open(venue.cast.operator)
        await moderator.until(
            lambda p: p.live.get("presence", {}).get(here, {}).get("operator") == 1
        )
        assert not writing.done()
    finally:
        ended.set()
        await writing
        await ticker.stop()


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_quiet_conference_is_not_written_to(venue: Venue) -> None:
    """Nor one in which nobody checks in or answers."""
    ticker = Ticker(venue.inbox, venue.database, venue.gateway)
    trainee = await venue.open(venue.cast.trainee)
    ticker.start()
    try:
        await asyncio.sleep(1.5)
        assert (await trainee.send("question.ask", {"text": "Bao giờ?"}, "k"))["ok"]
        begun: list[str] = []
        event.listen(venue.database.engine, "begin", lambda _connection: begun.append("begin"))
        await asyncio.sleep(2.5)
        assert not begun, "neither read nor written"
    finally:
        await ticker.stop()


@pytest.mark.parametrize(
    ("who", "type_", "payload"),
    [
        ("trainee", "media.receive", {}),
        ("moderator", "media.publish", {"source": "camera", "sdp": "v=0"}),
    ],
)
async def test_media_is_for_those_who_may(
    venue: Venue, who: str, type_: str, payload: dict[str, object]
) -> None:
    page = await venue.open(getattr(venue.cast, who))
    assert (await page.send(type_, payload, "k"))["error"] == "forbidden"
