"""What many need to be up to date, read together, is what each of them alone would get."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from server.db import journal
from server.db.engine import Database
from server.inbox import Inbox
from server.live.missed import Asked, Missed, Snapshot
from server.protocol import AskQuestion, ImportRoster, MuteSite, RosterRow
from server.snapshot import SHARED_FOR, Shared, build
from tests.cast import START, Cast, bring_in

NEW = ImportRoster(rows=(RosterRow(name="Lê Văn Mới", site="da-nang"),))


async def _something_happens(database: Database, *casts: Cast) -> None:
    """Heard by all, by some, by one; for some it means a fresh snapshot."""
    inbox = Inbox(database)
    inbox.start()
    for cast in casts:
        for number, (actor, command) in enumerate(
            [
                (cast.moderator, MuteSite(site=cast.hue, muted=True)),
                (cast.trainee, AskQuestion(text="Khi nào có vắc-xin?")),
                (cast.organiser, NEW),
                (cast.moderator, MuteSite(site=cast.hue, muted=False)),
                (cast.other_trainee, AskQuestion(text="Bao giờ tập huấn lại?")),
            ]
        ):
            await inbox.submit(actor, command, f"k{number}")
    await inbox.stop()


def _second(session: Session) -> Cast:
    cast = bring_in(session, "khac")
    session.commit()
    return cast


async def test_many_get_together_what_each_would_alone(database: Database, cast: Cast) -> None:
    with database.write_session() as session:
        other = _second(session)
    await _something_happens(database, cast, other)
    with database.read_session() as session:
        head = journal.head(session, cast.conference_id)
        asked: list[Asked] = [
            (actor, since)
            for since in (head, None, 3, 0, head - 1, head + 7)
            for each in (cast, other)
            for actor in each.everyone()
        ]
        together = Missed().read(session, asked)
        assert together == [Missed().read(session, [each])[0] for each in asked]
    for (actor, since), found in zip(asked, together, strict=True):
        if isinstance(found, Snapshot):
            assert found.seq == head and found.state["me"]["seat"] == actor.holder
        else:
            assert since is not None and [e.seq for e in found] == list(range(since + 1, head + 1))
    kinds = {type(found) for (_, since), found in zip(asked, together, strict=True) if since == 0}
    assert kinds == {Snapshot, list}, "a roster means a fresh snapshot to those who see it"


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_shared_snapshots_are_each_ones_own(database: Database, cast: Cast) -> None:
    shared, everyone = Shared(), list(cast.everyone())
    for actor in [*everyone, *reversed(everyone)]:
        with database.read_session() as session:
            [state] = shared.build(session, [actor], 0, START)
            assert state == build(session, actor, START)
    with database.read_session() as session:
        states = shared.build(session, everyone, 0, START)
        assert states == [build(session, actor, START) for actor in everyone]


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_what_many_roles_see_is_read_once(database: Database, cast: Cast) -> None:
    queries = []
    for actors in ([cast.moderator], cast.everyone()):
        with database.read_session() as session:
            said: list[Any] = []
            event.listen(
                session.connection(), "before_cursor_execute", lambda *call: said.append(call)
            )
            Shared().build(session, actors, 0, START)
            queries.append(len(said))
    assert 5 < queries[0] and queries[1] < 2 * queries[0]


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_shared_snapshots_are_not_kept(database: Database, cast: Cast) -> None:
    shared = Shared()
    with database.read_session() as session:
        for actor in (cast.moderator, cast.operator):
            shared.build(session, [actor], 0, START)
        assert len(shared._built) == 2
        shared.build(session, [cast.display], 0, START + 2 * SHARED_FOR)
    assert len(shared._built) == 1
