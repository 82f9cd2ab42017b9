"""What many need to be up to date, read together, is what each of them alone would get."""

from __future__ import annotations

from sqlalchemy.orm import Session

from server.db import journal
from server.db.engine import Database
from server.inbox import Inbox
from server.live.missed import Asked, Missed, Snapshot
from server.protocol import AskQuestion, ImportRoster, MuteSite, RosterRow
from tests.cast import Cast, bring_in

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
