"""The journal: every event of a conference in order, written in the transaction that made it.

It serves live pages (resume by ``since``), replay and audit. ``seq`` begins at 1 for each
conference and has no gap: the conference's row is the counter, locked by its one writer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import JSON, ColumnElement, Index, Row, and_, bindparam, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from server.db import bulk
from server.db.base import Base, BigId
from server.permissions import Actor, Permission, Target, may
from server.protocol import EVENTS, Answered, Event

_SOUGHT = text(f"type <> '{Answered.type}'")
"""What is found by its type. Answers are told by hundreds at once, each to its trainee alone: to have
each in one more index is much of what PostgreSQL does for it, and nobody looks for them there."""


class JournalEntry(Base):
    """One event as it went out, and what is needed to know who hears it."""

    __tablename__ = "journal"
    __table_args__ = (
        Index(
            "ix_journal_conference_id_type",
            "conference_id",
            "type",
            sqlite_where=_SOUGHT,
            postgresql_where=_SOUGHT,
        ),
    )

    conference_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    type: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    site_id: Mapped[int | None]
    person_id: Mapped[int | None]
    actor: Mapped[str | None]


def of_types(conference_id: int, types: Collection[str]) -> ColumnElement[bool]:
    """A conference's entries of those ``types``, among which are no answers. An index finds them, since what
    it leaves out is said as it says it."""
    return and_(JournalEntry.conference_id == conference_id, JournalEntry.type.in_(types), _SOUGHT)


def hold(session: Session) -> None:
    """Take the lock that whoever writes an entry takes. SQLite's one writer has it by then."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_HOLD)


_HOLD = text(f"LOCK TABLE {JournalEntry.__tablename__} IN ROW EXCLUSIVE MODE")


def prove(session: Session) -> None:
    """``hold``, and write what changes nothing: where the disk is full, a lock is to be had all the same.
    A page of PostgreSQL may have room when there is none for another one, so it makes some of those.
    """
    hold(session)
    session.execute(_SAME)
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_ROOM)


_SAME = text("UPDATE alembic_version SET version_num = version_num")
_ROOM = text(
    "CREATE TEMPORARY TABLE room ON COMMIT DROP AS"
    " SELECT repeat('x', 1000) FROM generate_series(1, 1000)"
)
"""a megabyte, which a transaction and its entries find room in"""


class Emit(msgspec.Struct, frozen=True, gc=False):
    """An event that an action wants published, with the site and person that it concerns."""

    event: Event
    site_id: int | None = None
    person_id: int | None = None


class Published(msgspec.Struct, frozen=True, gc=False):
    """A stored event on its way to its audience. ``data`` is JSON-ready."""

    conference_id: int
    seq: int
    at: datetime
    type: str
    data: dict[str, Any]
    audience: Permission
    site_id: int | None
    person_id: int | None

    def heard_by(self, actor: Actor) -> bool:
        """True where ``actor`` is in this event's audience."""
        target = Target(self.conference_id, self.site_id, self.person_id)
        return may(actor, self.audience, target)

    def wire(self) -> dict[str, Any]:
        """What the socket's ``events`` holds for it, as msgspec encodes it."""
        return {"seq": self.seq, "at": self.at, "type": self.type, "data": self.data}


_HEAD = select(func.max(JournalEntry.seq)).where(
    JournalEntry.conference_id == bindparam("conference", type_=BigId)
)


def head(session: Session, conference_id: int) -> int:
    """The last ``seq`` of a conference, 0 before its first event."""
    heads = bulk.facts(session, JournalEntry)
    if conference_id not in heads:
        [(seq,)] = bulk.read(session, _HEAD, conference=conference_id)
        heads[conference_id] = seq or 0
    known: int = heads[conference_id]
    return known


def append(
    session: Session,
    conference_id: int,
    entries: Iterable[tuple[Emit, str | None]],
    now: datetime,
) -> list[Published]:
    """Number and store events, each with the holder who caused it; the caller's transaction
    commits them.

    The caller is the conference's one writer: two writers would be told apart by the primary key.
    """
    seq = head(session, conference_id)
    published: list[Published] = []
    actors: list[str | None] = []
    told: dict[int, dict[str, Any]] = {}
    for seq, (emit, actor) in enumerate(entries, seq + 1):
        event = emit.event
        data = told.get(id(event))
        if data is None:  # hundreds tell the same event of themselves
            data = told[id(event)] = msgspec.to_builtins(event)
        published.append(
            Published(
                conference_id,
                seq,
                now,
                event.type,
                data,
                event.audience,
                emit.site_id,
                emit.person_id,
            )
        )
        actors.append(actor)
    alike, same = bulk.shared(
        {"type": [each.type for each in published], "data": [each.data for each in published]}
    )
    columns: bulk.Columns = {
        "seq": [each.seq for each in published],
        "site_id": [each.site_id for each in published],
        "person_id": [each.person_id for each in published],
        "actor": actors,
        **alike,
    }
    same = {"conference_id": conference_id, "at": now, **same}
    heads = bulk.facts(session, JournalEntry)
    bulk.add_columns(session, JournalEntry, columns, same)
    bulk.facts(session, JournalEntry).update({**heads, conference_id: seq})
    return published


def read(session: Session, conference_id: int, since: int, limit: int) -> Sequence[Published]:
    """Events after ``since``, in order, at most ``limit``."""
    table = JournalEntry.__table__.c
    query = (
        select(table.seq, table.at, table.type, table.data, table.site_id, table.person_id)
        .where(table.conference_id == conference_id, table.seq > since)
        .order_by(table.seq)
        .limit(limit)
    )
    return [_published(conference_id, row) for row in session.execute(query)]


def _published(conference_id: int, row: Row[*tuple[Any, ...]]) -> Published:
    audience = EVENTS[row.type].audience
    return Published(
        conference_id, row.seq, row.at, row.type, row.data, audience, row.site_id, row.person_id
    )
