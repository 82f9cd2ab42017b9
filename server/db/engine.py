"""Engines and transactions on SQLite and PostgreSQL.

SQLite: WAL, ``synchronous=FULL``, foreign keys on; the one writer begins IMMEDIATE, so that it
never has to turn a read into a write. PostgreSQL: readers see one moment (REPEATABLE READ), as
they do on SQLite, so that a snapshot and its ``seq`` belong together.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.orm import Session

from server.errors import N_, DomainError, Unavailable

T = TypeVar("T")
P = ParamSpec("P")

BUSY_TIMEOUT_MS = 10_000
"""How long to wait for another process: its write on SQLite (``diemcau create-user``), its lock on
PostgreSQL (``lock_timeout``)."""
RETRY_AFTER_S = 2.0
READ_WITHIN_S = 15.0
"""A database that stands still, its connections open, would hold a page for as long as it does."""
_CONNECTING = {
    "connect_timeout": 5,
    # A server that vanished from the network is noticed, not waited for.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""libpq's parameters: seconds, but for the last, which is in milliseconds"""
_COMMON: dict[str, Any] = {
    "json_serializer": lambda value: msgspec.json.encode(value).decode(),
    "json_deserializer": msgspec.json.decode,
    "hide_parameters": True,  # errors are logged, and what people wrote is not for the log
}
_SQLITE_AWAY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
}
_POSTGRES_AWAY = ("53", "57", "25006", "55P03")
"""SQLSTATE: insufficient resources, operator intervention, a standby that only reads, a lock that
another process keeps"""

_FAULTS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    psycopg.IntegrityError,
    psycopg.DataError,
)
"""what the database refuses, however often it is asked"""


class DatabaseUnusable(DomainError):
    """The database cannot be reached, or is not one that this version can serve."""

    code = "database_unusable"
    status = 503
    message = N_("Không mở được cơ sở dữ liệu.")


def parse_url(url: str) -> URL:
    """``url`` with our driver for its kind.

    Raises: DatabaseUnusable where it is neither SQLite nor PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise DatabaseUnusable(N_("DATABASE_URL không phải là một địa chỉ hợp lệ.")) from error
    kind = parsed.get_backend_name()
    if kind in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if kind == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed.set(drivername="sqlite")
    raise DatabaseUnusable(
        N_("DATABASE_URL phải là một tệp SQLite (sqlite:///…) hoặc PostgreSQL (postgresql://…).")
    )


def make_engine(url: str) -> Engine:
    """An engine for ``url``. Raises: DatabaseUnusable on a wrong ``url``; it does not connect."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        engine = create_engine(parsed, pool_pre_ping=True, connect_args=_CONNECTING, **_COMMON)
        event.listen(engine, "connect", _prepare_postgres)
        return engine
    engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, **_COMMON)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_postgres(connection: psycopg.Connection, _record: object) -> None:
    connection.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}".encode())
    # What is acknowledged is on disk, whatever the database or the role has been set to.
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'"
    )
    connection.commit()  # else it would end with a rollback


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes", True) else "BEGIN")


def is_outage(error: BaseException) -> bool:
    """True where the database cannot be used at the moment, whatever it is asked. ``error`` is
    SQLAlchemy's or the driver's own."""
    if isinstance(error, OperationalError | InterfaceError):
        if error.connection_invalidated or error.statement is None:
            return True  # lost, or not reached
        said: BaseException | None = error.orig
    else:
        said = error
    if isinstance(said, sqlite3.OperationalError):
        return said.sqlite_errorcode & 0xFF in _SQLITE_AWAY
    if isinstance(said, psycopg.OperationalError):
        return said.sqlstate is None or said.sqlstate.startswith(_POSTGRES_AWAY)
    return False


def is_of_database(error: BaseException) -> bool:
    """True where the database failed at something that may go another time. What breaks its rules
    is our code's fault. ``error`` is SQLAlchemy's or the driver's own."""
    said = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(said, sqlite3.Error | psycopg.Error) and not isinstance(said, _FAULTS)


class Database:
    """One engine with a way to write (the inbox's thread alone) and a small pool to read."""

    def __init__(self, url: str, readers: int = 4) -> None:
        self.engine = make_engine(url)
        self._kept_open: sqlite3.Connection | None = None
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", self._keep_open)
        reading: dict[str, Any] = {"writes": False}
        if self.engine.dialect.name == "postgresql":
            reading |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reading = self.engine.execution_options(**reading)
        self._pool = ThreadPoolExecutor(readers, thread_name_prefix="database-read")

    def write_connection(self) -> Connection:
        """A connection on which nothing begins a transaction by itself. Close it."""
        return self.engine.execution_options(isolation_level="AUTOCOMMIT").connect()

    def write_session(self) -> Session:
        """A session that writes. Close it."""
        return Session(self.engine, expire_on_commit=False)

    def read_session(self) -> Session:
        """A session that sees one moment. Close it; it never commits."""
        return Session(self._reading)

    def read_now(
        self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function(session, …)`` in this thread. Raises: Unavailable."""
        try:
            with self.read_session() as session:
                return function(session, *args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            if is_outage(error):
                raise Unavailable(retry_after_s=RETRY_AFTER_S) from error
            raise

    async def read(
        self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function(session, …)`` in the pool; what it returns must not need the session.

        Raises: Unavailable.
        """
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(self._pool, lambda: self.read_now(function, *args, **kwargs))
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                return await reading
        except TimeoutError as error:
            raise Unavailable(retry_after_s=RETRY_AFTER_S) from error

    def close(self) -> None:
        """Wait for the readers and close all connections."""
        self._pool.shutdown()
        self.engine.dispose()
        if self._kept_open is not None:
            self._kept_open.close()
            self._kept_open = None

    def _keep_open(self, _connection: sqlite3.Connection, _record: object) -> None:
        """One connection that nobody uses, so that none is the last one to be closed: that would
        remove what SQLite keeps beside its file, and on a full disk it cannot be made again. Then
        nothing could be read either."""
        if self._kept_open is None:
            file = self.engine.url.database or ""
            self._kept_open = sqlite3.connect(file, check_same_thread=False)
            self._kept_open.execute("SELECT count(*) FROM sqlite_master").fetchone()


def sqlite_file(url: str) -> Path | None:
    """Where the database lies; None where it is not SQLite. Raises: DatabaseUnusable."""
    parsed = parse_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None
