"""Statements that are sent together do what they would do one by one; facts live until somebody writes."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from server.conferences.models import Conference, RosterEntry, Site
from server.db import bulk, journal
from server.db.channels import Pipeline
from server.db.engine import Database, is_outage
from server.db.journal import Emit
from server.db.writer import Writer
from server.protocol import AgendaMoved
from tests.cast import START, Cast


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    held = database.write_connection()
    driver = held.connection.dbapi_connection
    assert isinstance(driver, psycopg.Connection)
    driver.execute("CREATE TEMPORARY TABLE kept (number bigint PRIMARY KEY, text text)")
    yield driver
    held.invalidate()
    held.close()


ADD = "INSERT INTO kept VALUES ($1::bigint, $2::text)"
ALL = "SELECT number, text FROM kept ORDER BY number"
postgresql = pytest.mark.parametrize("kind", ["postgresql"])


@postgresql
def test_what_was_written_is_there_when_something_is_read(connection: psycopg.Connection) -> None:
    pipeline = Pipeline(connection)
    for number, text in enumerate(("một", None, 'h"ai')):
        pipeline.write(ADD, [number - 1, text])
    assert connection.execute(ALL).fetchall() == [], "nothing has been sent"
    assert pipeline.rows(ALL) == [(-1, "một"), (0, None), (1, 'h"ai')]
    pipeline.write("DELETE FROM kept WHERE number = $1::bigint", [0])
    pipeline.settle()
    assert connection.execute(ALL).fetchall() == [(-1, "một"), (1, 'h"ai')]


@postgresql
def test_behind_what_fails_nothing_is_done(connection: psycopg.Connection) -> None:
    pipeline = Pipeline(connection)
    for number in (1, 2, 2, 3):
        pipeline.write(ADD, [number, "x"])
    pipeline.write("BEGIN")
    with pytest.raises(psycopg.errors.UniqueViolation):
        pipeline.settle()
    assert pipeline.rows(ALL) == [], "without a transaction of their own they are one"
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


@postgresql
def test_a_transaction_that_was_undone_is_not_said_to_be_committed(
    connection: psycopg.Connection,
) -> None:
    pipeline = Pipeline(connection)
    pipeline.write("BEGIN")
    pipeline.settle()
    with pytest.raises(psycopg.errors.DivisionByZero):
        pipeline.rows("SELECT 1 / 0")
    pipeline.write("COMMIT")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        pipeline.settle()


@postgresql
def test_more_than_both_sides_can_hold_is_sent_and_read(connection: psycopg.Connection) -> None:
    pipeline = Pipeline(connection)
    text = "x" * 1_000_000
    for number in range(30):
        pipeline.write(ADD + " RETURNING text", [number, text])
    assert len(pipeline.rows(ALL)) == 30


@postgresql
def test_a_line_that_is_cut_is_an_outage(
    connection: psycopg.Connection, database: Database
) -> None:
    pipeline = Pipeline(connection)
    assert pipeline.rows("SELECT 1::bigint") == [(1,)]
    own = connection.info.backend_pid
    with database.engine.connect() as other:
        other.exec_driver_sql(f"SELECT pg_terminate_backend({own}, 10000)")
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError) as raised:
            pipeline.rows("SELECT 1::bigint")
        assert is_outage(raised.value)


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    writer = Writer(database)
    yield writer
    writer.close()


def _write_by_statement(session: Session, cast: Cast) -> None:
    session.execute(update(RosterEntry).values(site_id=cast.hue))


def _write_by_flush(session: Session, cast: Cast) -> None:
    session.delete(session.scalars(select(RosterEntry)).first())


def _write_in_bulk(session: Session, cast: Cast) -> None:
    entry = session.scalars(select(RosterEntry)).first()
    assert entry is not None
    bulk.change(session, entry, site_id=cast.hue)


@pytest.mark.parametrize("write", [_write_by_statement, _write_by_flush, _write_in_bulk])
def test_facts_are_known_until_their_table_is_written(
    writer: Writer, cast: Cast, write: object
) -> None:
    assert callable(write)
    with writer.transaction() as session:
        bulk.facts(session, RosterEntry)["known"] = True
        site = session.get_one(Site, cast.hue)
        bulk.change(session, site, name="Tên khác")
    with writer.transaction() as session:
        assert bulk.facts(session, RosterEntry) == {"known": True}
        write(session, cast)
        assert bulk.facts(session, RosterEntry) == {}


def test_events_are_numbered_on_whoever_wrote_the_last(
    writer: Writer, cast: Cast, database: Database
) -> None:
    def append(session: Session) -> list[int]:
        [conference] = session.scalars(select(Conference.id))
        events = [(Emit(AgendaMoved(item=None)), None)] * 2
        return [each.seq for each in journal.append(session, conference, events, START)]

    found: list[int] = []
    for _ in range(2):
        with writer.transaction() as session:
            found += append(session)
    with database.write_session() as other:
        found += append(other)
        other.commit()
    with pytest.raises(RuntimeError), writer.transaction() as session:
        append(session)
        raise RuntimeError
    with writer.transaction() as session:
        found += append(session)
    assert found == list(range(1, 9))
    with writer.transaction() as session:
        session.execute(delete(journal.JournalEntry).where(journal.JournalEntry.seq > 2))
        assert append(session) == [3, 4]
