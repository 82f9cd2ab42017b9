"""The writer's session keeps what it read as long as that is true, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from server.conferences.models import Site
from server.db import receipts
from server.db.engine import Database
from server.db.writer import KEPT, Writer
from tests.cast import START, Cast


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    writer = Writer(database)
    yield writer
    writer.close()


@pytest.fixture
def read(database: Database) -> list[str]:
    """Statements of the ORM about sites."""
    read: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "FROM sites" in statement:
            read.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    return read


def rename(session: Session, cast: Cast, name: str) -> None:
    session.get_one(Site, cast.hue).name = name


def name_of(session: Session, cast: Cast) -> str:
    return session.get_one(Site, cast.hue).name


def test_what_was_read_is_not_read_again(writer: Writer, cast: Cast, read: list[str]) -> None:
    for name in ("Một", "Hai", "Ba"):
        with writer.transaction() as session:
            rename(session, cast, name)
    assert len(read) == 1


def test_what_somebody_else_wrote_is_seen(writer: Writer, cast: Cast, database: Database) -> None:
    for number in range(3):
        with writer.transaction() as session:
            rename(session, cast, f"của ta {number}")
        with database.write_session() as other:
            rename(other, cast, f"của họ {number}")
            other.commit()
        with writer.transaction() as session:
            assert name_of(session, cast) == f"của họ {number}"


@pytest.mark.parametrize("kind", ["postgresql"])  # SQLite has one writer at a time
def test_what_is_committed_meanwhile_is_seen_next(
    writer: Writer, cast: Cast, database: Database
) -> None:
    with database.write_session() as other:
        other.get_one(Site, cast.hue).name = "của họ"
        other.flush()
        for number in range(3):
            with writer.transaction() as session:
                session.get_one(Site, cast.da_nang).name = f"của ta {number}"
                assert name_of(session, cast) == "Huế"
        with writer.transaction() as session:
            session.get_one(Site, cast.da_nang).name = "của ta"
            assert name_of(session, cast) == "Huế"
            other.commit()
    with writer.transaction() as session:
        assert name_of(session, cast) == "của họ"


def test_what_was_not_committed_is_forgotten(writer: Writer, cast: Cast) -> None:
    with writer.transaction() as session:
        before = name_of(session, cast)
    with pytest.raises(RuntimeError), writer.transaction() as session:
        session.get_one(Site, cast.hue).name = "không bao giờ"
        session.flush()
        raise RuntimeError
    with writer.transaction() as session:
        assert name_of(session, cast) == before


def test_rows_that_were_handed_out_stay_as_they_were(writer: Writer, cast: Cast) -> None:
    with writer.transaction() as session:
        site = session.get_one(Site, cast.hue)
    writer.forget()
    before = site.name
    with writer.transaction() as session:
        rename(session, cast, "sau này")
    assert site.name == before


def test_no_more_is_kept_than_is_said(writer: Writer, cast: Cast, database: Database) -> None:
    with database.write_session() as other:
        one = other.get_one(Site, cast.hue)
        for number in range(KEPT + 10):
            other.add(
                Site(
                    conference_id=one.conference_id,
                    slug=f"diem-{number}",
                    name=f"Điểm {number}",
                    kind="remote",
                    position=100 + number,
                )
            )
        other.commit()
    with writer.transaction() as session:
        assert len(session.query(Site).all()) > KEPT
        assert len(list(session.identity_map.values())) == KEPT


def keep(session: Session, *numbers: int) -> None:
    receipts.store(session, {n: receipts.Kept("seat", str(n), "f", {}) for n in numbers}, START)


def found(writer: Writer) -> list[int]:
    """Which of the first numbers have a receipt, as the writer knows it and as it is stored."""
    with writer.transaction() as session:
        known = sorted(receipts.find(session, range(10)))
        rows = session.scalars(select(receipts.Receipts.kept))
        assert sorted(number for row in rows for number in receipts.opened(row)) == known
    return known


def test_receipts_are_known_as_they_are_stored(writer: Writer, database: Database) -> None:
    """Whoever wrote them, and whatever was not committed."""
    with writer.transaction() as session:
        keep(session, 1, 2)
        assert sorted(receipts.find(session, [1, 2, 3])) == [1, 2]
    with pytest.raises(RuntimeError), writer.transaction() as session:
        keep(session, 3, 4)
        raise RuntimeError
    assert found(writer) == [1, 2]
    with database.write_session() as other:
        keep(other, 5)
        other.commit()
    with writer.transaction() as session:
        keep(session, 3)
    assert found(writer) == [1, 2, 3, 5]
    again = Writer(database)
    assert found(again) == [1, 2, 3, 5]
    again.close()


def test_a_commit_whose_answer_was_lost_is_found_by_the_next(writer: Writer) -> None:
    with pytest.raises(RuntimeError), writer.transaction() as session:
        keep(session, 1)
        session.connection().exec_driver_sql("COMMIT")  # so that the writer does not hear of it
        raise RuntimeError
    assert found(writer) == [1]


def test_forgotten_receipts_are_not_known(writer: Writer) -> None:
    with writer.transaction() as session:
        keep(session, 1, 2)
    with writer.transaction() as session:
        receipts.forget(session, START + timedelta(hours=1))
        keep(session, 2, 3)
    assert found(writer) == [2, 3]
