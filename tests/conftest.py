"""Shared fixtures: a fresh, migrated database of each kind, and a small cast."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import structlog

from server.db.engine import Database, make_engine, migrate
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

KINDS = ("sqlite", "postgresql")


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
    initdb += ["--no-sync", "-E", "UTF8", "--locale=C"]
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


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, migrated database; each test that asks runs once for each kind."""
    if request.param == "sqlite":
        path = tmp_path / "diemcau.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    address = request.getfixturevalue("postgres")
    template = request.getfixturevalue("postgres_template")
    name = f"test_{time.monotonic_ns()}"
    _execute(address, f"CREATE DATABASE {name} TEMPLATE {template}")
    # Not dropped: that costs a checkpoint, and the whole server goes away in the end.
    yield address.replace("/postgres?", f"/{name}?")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The database of ``database_url``."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def cast(database: Database) -> Cast:
    """A live conference and who is in it."""
    with database.write_session() as session:
        cast = bring_in(session)
        session.commit()
    return cast
