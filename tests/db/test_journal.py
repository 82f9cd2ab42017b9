"""The journal is searched by its types without reading all that a conference told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from server.db import bulk
from server.db.journal import JournalEntry, of_types
from server.protocol import AgendaItemStarted, Answered
from server.recordings.replayed import REPLAYED
from tests.cast import START

_MADE = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE name = 'ix_journal_conference_id_type'",
    "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_journal_conference_id_type'",
}


def _entry(seq: int, type_: str) -> dict[str, Any]:
    nobody = dict.fromkeys(("site_id", "person_id", "actor"))
    return {"conference_id": 7, "seq": seq, "at": START, "type": type_, "data": {}, **nobody}


def test_an_index_without_the_answers_finds_entries_of_a_type(session: Session) -> None:
    kinds = [*[Answered.type] * 1000, AgendaItemStarted.type, *[Answered.type] * 1000]
    bulk.add(session, JournalEntry, [_entry(seq, kind) for seq, kind in enumerate(kinds, 1)])
    query = select(JournalEntry.seq).where(of_types(7, REPLAYED))
    assert session.scalars(query).all() == [1001]
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    dialect: Any = sqlite.dialect() if on_sqlite else postgresql.dialect()
    asked = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    session.execute(text("ANALYZE"))
    plan = session.execute(text(f"EXPLAIN {'QUERY PLAN' if on_sqlite else ''} {asked}")).all()
    assert any("ix_journal_conference_id_type" in str(step) for step in plan), plan
    [index] = session.scalars(text(_MADE[session.get_bind().dialect.name]))
    assert index.endswith(("<> 'activity.answered'", "<> 'activity.answered'::text)")), index
