"""How statements reach the driver itself, past SQLAlchemy: one by one, or together.

To wait for PostgreSQL's answer to a statement costs two changes of process, which is more than most
statements do. What is written needs no answer before the commit, so it is held back until
something is read, and goes with it in libpq's pipeline mode (PostgreSQL's manual, "Pipeline Mode"):
a transaction that has read all it needs before waits twice, for its beginning and for its commit.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import Any, Protocol

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

Row = tuple[Any, ...]


class Channel(Protocol):
    """What bulk's statements need of a driver's connection; parameters by place."""

    def write(self, text: str, parameters: Sequence[Any] = ()) -> None:
        """Execute ``text``, now or before anything is read. Raises: the driver's errors."""

    def rows(self, text: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """What ``text`` finds. Raises: the driver's errors, also those of what was written before."""

    def settle(self) -> None:
        """Have all that was written executed. Raises: the driver's errors."""


class Direct:
    """Each statement at once."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def _execute(self, text: str, parameters: Sequence[Any]) -> Any:
        if isinstance(self._driver, psycopg.Connection):
            return psycopg.RawCursor(self._driver).execute(text.encode(), parameters)
        return self._driver.execute(text, parameters)

    def write(self, text: str, parameters: Sequence[Any] = ()) -> None:
        """Execute ``text``."""
        self._execute(text, parameters)

    def rows(self, text: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """What ``text`` finds."""
        found: list[Row] = self._execute(text, parameters).fetchall()
        return found

    def settle(self) -> None:
        """Nothing waits."""


class Pipeline:
    """Together, on a psycopg connection in autocommit mode that stays. It is prepared once what a statement's
    text says, and unknown types of parameters are what the text makes of them."""

    def __init__(self, driver: psycopg.Connection) -> None:
        self._connection: PGconn = driver.pgconn
        self._encoding = driver.info.encoding
        self._adapter = Transformer(driver)
        self._names: dict[str, bytes] = {}
        """of what is prepared, by its text"""
        self._held: list[tuple[str, Sequence[Any]]] = []

    def write(self, text: str, parameters: Sequence[Any] = ()) -> None:
        """Hold ``text`` back until ``rows`` or ``settle``."""
        self._held.append((text, parameters))

    def rows(self, text: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """What ``text`` finds, once all that is held back is executed."""
        self._held.append((text, parameters))
        result = self._run()
        self._adapter.set_pgresult(result)
        return self._adapter.load_rows(0, result.ntuples, tuple)

    def settle(self) -> None:
        """Execute what is held back."""
        if self._held:
            self._run()

    def _run(self) -> PGresult:
        """The last one's result. Where one fails, none behind it is executed."""
        held, self._held = self._held, []
        connection = self._connection
        connection.enter_pipeline_mode()
        for text, parameters in held:
            self._send(text, parameters)
        connection.pipeline_sync()
        results = self._results()
        connection.exit_pipeline_mode()
        _require_success(results, self._encoding)
        last = results[-1]
        if held[-1][0] == "COMMIT" and last.command_status != b"COMMIT":
            raise psycopg.errors.InFailedSqlTransaction("the transaction was undone")
        return last

    def _send(self, text: str, parameters: Sequence[Any]) -> None:
        name = self._names.get(text)
        if name is None:
            name = b"bulk_%d" % len(self._names)
            self._connection.send_prepare(name, text.encode())
            self._names[text] = name
        formats = [PyFormat.TEXT] * len(parameters)
        self._connection.send_query_prepared(name, self._adapter.dump_sequence(parameters, formats))

    def _results(self) -> list[PGresult]:
        """Of all that was sent, what was prepared included."""
        connection, results = self._connection, list[PGresult]()
        poll = select.poll()
        while True:
            # The server may wait until its answers are read before it reads on.
            unsent = connection.flush()
            while connection.is_busy():
                poll.register(connection.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
                [(_, ready)] = poll.poll()
                if ready & ~select.POLLOUT:
                    connection.consume_input()
                unsent = connection.flush()
            result = connection.get_result()
            if result is None:
                if connection.status != ConnStatus.OK:
                    _require_success(results, self._encoding)
                    raise psycopg.OperationalError("the connection is lost")
                continue  # the next statement's come
            if result.status == ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)


def _require_success(results: Sequence[PGresult], encoding: str) -> None:
    """Raises: what the first that failed says."""
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result, encoding=encoding)
