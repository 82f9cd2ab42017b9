"""Migrations without drift on both databases; what is said of a database that cannot serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from server.conferences.models import Site
from server.db import models, receipts
from server.db.base import Base
from server.db.engine import Database, DatabaseUnusable, make_engine, parse_url
from server.db.schema import alembic_config, migrate, require_current, revisions
from tests.cast import START, bring_in

assert models, "all tables are known"


def test_migrations_make_exactly_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_revisions_are_known_by_their_files() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    assert revisions() == [script.revision for script in scripts.walk_revisions()][::-1]
    assert revisions()[-1] == scripts.get_current_head()


def test_migrating_again_changes_nothing(database: Database, database_url: str) -> None:
    migrate(database_url)
    require_current(database_url)


def test_an_older_database_is_brought_forward_with_all_that_it_holds(
    database: Database, database_url: str
) -> None:
    made = [
        receipts.Kept("seat", f"kh\u00f3a {n}", "f", {"result": {"option": n}}) for n in range(600)
    ]
    kept = {receipts.digest(each.holder, each.key): each for each in made}
    with database.write_session() as session:
        cast = bring_in(session)
        receipts.store(session, kept, START)
        session.commit()
    with database.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "0001")
    with pytest.raises(DatabaseUnusable):
        require_current(database_url)
    migrate(database_url)
    require_current(database_url)
    with database.read_session() as session:
        assert session.get_one(Site, cast.hue).slug == "hue"
        assert receipts.find(session, kept) == kept
        assert set(session.scalars(select(receipts.Receipts.at))) == {START}


def test_a_newer_database_is_refused(database: Database, database_url: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for attempt in (migrate, require_current):
        with pytest.raises(DatabaseUnusable) as refusal:
            attempt(database_url)
        assert "mới hơn" in refusal.value.message
        assert refusal.value.values == {"revision": "9999"}


def test_an_empty_database_must_be_migrated_first(tmp_path: object) -> None:
    with pytest.raises(DatabaseUnusable, match="database_unusable") as refusal:
        require_current(f"sqlite:///{tmp_path}/empty.db")
    assert "diemcau migrate" in refusal.value.message


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////no/such/folder/diemcau.db",
        "postgresql://somebody:topsecret@127.0.0.1:9/diemcau",
    ],
)
def test_an_unreachable_database_is_named_without_its_password(url: str) -> None:
    with pytest.raises(DatabaseUnusable) as refusal:
        migrate(url)
    assert "Không kết nối được" in refusal.value.message
    assert "topsecret" not in str(refusal.value.values)


@pytest.mark.parametrize("url", ["mysql://a/b", "sqlite://", "not a url", ""])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(DatabaseUnusable):
        Database(url)


def test_sqlite_is_durable_and_strict(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'strict.sqlite3'}")
    with database.engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    database.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_sqlite_is_kept_open_by_who_uses_it(tmp_path: Path) -> None:
    file = tmp_path / "open.sqlite3"
    database = Database(f"sqlite:///{file}")
    with database.write_session() as session:
        session.execute(text("CREATE TABLE t (n)"))
        session.commit()
    database.engine.dispose()
    assert file.with_name("open.sqlite3-shm").exists(), "on a full disk it could not be made again"
    database.close()
    assert not file.with_name("open.sqlite3-shm").exists()


def test_foreign_keys_hold(database: Database) -> None:
    with database.write_session() as session, pytest.raises(IntegrityError):
        session.execute(
            text(
                "INSERT INTO floor_requests (conference_id, site_id, reason, requested_at)"
                " VALUES (99, 99, '', '2023-06-03 01:30:00+00:00')"
            )
        )
        session.flush()


def test_an_error_says_nothing_of_what_people_wrote(database: Database) -> None:
    """It may end in the log."""
    with database.write_session() as session, pytest.raises(SQLAlchemyError) as wrong:
        session.execute(
            text("SELECT 1 FROM nowhere WHERE name = :name"), {"name": "Nguyễn Thị Lan"}
        )
    assert "nowhere" in str(wrong.value) and "Lan" not in str(wrong.value)


def test_a_reader_sees_one_moment(database: Database) -> None:
    with database.read_session() as reader:
        count = text("SELECT count(*) FROM unit_levels")
        assert reader.scalar(count) == 0
        with database.write_session() as writer:
            writer.execute(text("INSERT INTO unit_levels (name, rank) VALUES ('Tỉnh', 1)"))
            writer.commit()
        assert reader.scalar(count) == 0
    with database.read_session() as reader:
        assert reader.scalar(count) == 1


@pytest.mark.parametrize("kind", ["postgresql"])
def test_what_is_acknowledged_is_on_disk_whatever_the_database_says(database_url: str) -> None:
    name = parse_url(database_url).database
    engine = make_engine(database_url)
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit = off'))
    engine.dispose()
    with make_engine(database_url).connect() as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"
