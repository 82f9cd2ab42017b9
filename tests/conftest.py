"""Shared fixtures: a fresh, migrated database of each kind, and a small cast."""

from __future__ import annotations

import functools
import os
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
import structlog
from argon2 import PasswordHasher
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, StaticPool, create_engine
from sqlalchemy.orm import Session
from xdist.scheduler import LoadFileScheduling

from server.db.engine import Database, make_engine
from server.db.schema import migrate
from server.people import passwords
from tests import compiled
from tests.cast import Cast, bring_in

# Tracebacks with every local variable take seconds, and might show secrets.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)

compiled.share()

# The same examples each time, and however long each of them takes: what fails does so for everybody.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")

KINDS = ("sqlite", "postgresql")
MARKS = ("alone", "browser")


class Sharing(LoadFileScheduling):
    """A worker takes whole files: one of them all that drive a browser, one all that are ``alone``."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return _mark(file) or file


@functools.cache
def _mark(file: str) -> str:
    """Read from the file's text: only the workers import it."""
    text = (Path(__file__).parents[1] / file).read_text()
    return next((mark for mark in MARKS if f"pytest.mark.{mark}" in text), "")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where nothing but these marks is asked for, files without them are not even imported: five seconds."""
    asked = set(config.getoption("markexpr").split(" or "))
    if asked <= {*MARKS} and collection_path.match("test_*.py") and not _mark(str(collection_path)):
        return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files begin first, or one of them would be the last and alone; browsers that share a demo
    come in a row, or it would run for nobody in between."""
    size = Counter(item.path for item in items)

    def order(item: pytest.Item) -> tuple[bool, bool, int, Path]:
        path = item.path
        shares = path.parent.name == "e2e" and item.get_closest_marker("browser") is not None
        return not item.get_closest_marker("long"), shares, -size[path], path

    items.sort(key=order)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Sharing:
    """What is shared out, in the order of ``pytest_collection_modifyitems``."""
    config.option.loadscopereorder = False
    return Sharing(config, log)


def _postgres_binary(name: str) -> str:
    """Debian keeps the server's programs out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = str(found[-1]) if found else shutil.which(name)
    assert path, f"{name} is missing: install the package postgresql"
    return path


def _unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of our own on a Unix socket; gives its connection string."""
    # A short path: a Unix socket's name has at most 107 bytes.
    folder = Path(f"/tmp/diemcau-pg-{os.getpid()}")
    folder.mkdir(mode=0o700)
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    data, run = folder / "data", _unprivileged()
    initdb = [_postgres_binary("initdb"), "-D", str(data), "-A", "trust", "-U", "postgres"]
    # Sorted as a dictionary does, unlike SQLite: no order may hang on the collation.
    initdb += ["--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
    initdb += ["--locale-provider=icu", "--icu-locale=vi"]
    settings = ("listen_addresses=", "fsync=off", "full_page_writes=off", "autovacuum=off")
    options = ["-k", str(folder), *(word for each in settings for word in ("-c", each))]
    command = [_postgres_binary("postgres"), "-D", str(data), *options]
    with (folder.parent / f"{folder.name}.log").open("wb") as output:
        try:
            subprocess.run([*run, *initdb], check=True, stdout=output, stderr=output, cwd="/tmp")
            server = subprocess.Popen([*run, *command], stdout=output, stderr=output, cwd="/tmp")
            try:
                address = f"postgresql://postgres@/postgres?host={folder}"
                _wait_for(address)
                yield address
            finally:
                subprocess.run([*run, "kill", "-QUIT", _pid(data)], check=False)
                server.wait(20)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            Path(output.name).unlink()


def _pid(data: Path) -> str:
    return (data / "postmaster.pid").read_text().split()[0]


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(address).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _execute(address: str, statement: str) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    migrate(f"sqlite:///{path}")
    engine = make_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> str:
    """The name of a migrated database to copy."""
    _execute(postgres, "CREATE DATABASE template")
    migrate(postgres.replace("/postgres?", "/template?"))
    return "template"


@pytest.fixture(scope="session")
def postgres_engine(postgres: str, postgres_template: str) -> Iterator[Engine]:
    """A migrated database in which nothing is ever committed."""
    engine = make_engine(_copy(postgres, postgres_template))
    yield engine
    engine.dispose()


def _copy(postgres: str, template: str) -> str:
    """The address of a new database. Not dropped: the whole server goes away in the end."""
    name = f"test_{time.monotonic_ns()}"
    _execute(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    return postgres.replace("/postgres?", f"/{name}?")


# A copy of the template takes thirty times as long as this. Without triggers and foreign keys.
_EMPTY = """
SET lock_timeout = '1s';
SET session_replication_role = replica;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid();
DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'
  LOOP
    EXECUTE format('DELETE FROM %I', name);
  END LOOP;
  PERFORM setval(seqrelid::regclass, seqstart, false) FROM pg_sequence;
END $$
"""
_LARGE_BYTES = 20_000_000
"""Bigger than the template and what a test writes: one that had many rows, which leave their places."""


def _emptied(address: str) -> bool:
    """Make a database as new, if that can be done."""
    try:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(_EMPTY)
            size = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    except psycopg.Error:
        return False
    return size is not None and size[0] < _LARGE_BYTES


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database: whatever rests on one runs once for each, unless a test chooses."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="session")
def emptied() -> list[str]:
    """Addresses of PostgreSQL databases that others have used."""
    return []


@pytest.fixture
def database_url(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, emptied: list[str]
) -> Iterator[str]:
    """A fresh, migrated database of its own, for tests of several connections."""
    if kind == "sqlite":
        path = tmp_path / "diemcau.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    if emptied:
        address = emptied.pop()
    else:
        template = request.getfixturevalue("postgres_template")
        address = _copy(request.getfixturevalue("postgres"), template)
    yield address
    # The tests of the database itself change more than rows.
    if request.path.parent.name != "db" and _emptied(address):
        emptied.append(address)


@pytest.fixture
def session(kind: str, request: pytest.FixtureRequest) -> Iterator[Session]:
    """A session on an empty, migrated database; cheap, as nobody else can see it."""
    make = _in_memory if kind == "sqlite" else _rolled_back
    with make(request) as session:
        yield session


@pytest.fixture(scope="session")
def memory() -> Iterator[Engine]:
    """SQLite's one database in memory. One engine for all tests: each would compile every statement anew."""
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    yield engine
    engine.dispose()


@contextmanager
def _in_memory(request: pytest.FixtureRequest) -> Iterator[Session]:
    engine: Engine = request.getfixturevalue("memory")
    with engine.connect() as connection:
        template = sqlite3.connect(request.getfixturevalue("sqlite_template"))
        template.backup(connection.connection.dbapi_connection)  # over whatever was there
        template.close()
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    with Session(engine, expire_on_commit=False) as session:
        yield session


@contextmanager
def _rolled_back(request: pytest.FixtureRequest) -> Iterator[Session]:
    engine: Engine = request.getfixturevalue("postgres_engine")
    mode: Literal["create_savepoint"] = "create_savepoint"
    with engine.connect() as connection, connection.begin() as transaction:
        with Session(connection, expire_on_commit=False, join_transaction_mode=mode) as session:
            yield session
        transaction.rollback()


def changes(session: Session) -> int:
    """How many rows this ``session`` of the fixture ever wrote, by the database's own count."""
    session.flush()
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        written: int = connection.connection.dbapi_connection.total_changes
        return written
    return int(connection.exec_driver_sql(_WRITTEN).scalar_one())


_WRITTEN = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The database of ``database_url``."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs a thousandth of the real ones' third of a second: for tests of all but that cost."""
    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", quick)


@pytest.fixture
def cast(database: Database) -> Cast:
    """A live conference and who is in it."""
    with database.write_session() as session:
        cast = bring_in(session)
        session.commit()
    return cast
