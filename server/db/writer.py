"""The inbox's one session, kept from transaction to transaction with the rows that it read last.

A command that comes alone would else read its conference and its item anew, by statements of the
ORM that cost more than all else it does. What was read is true as long as nobody else writes, which
is asked at the beginning of each transaction; else, and after any failure, all is read again.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator

from sqlalchemy import event
from sqlalchemy.orm import Session

from server.db import bulk, receipts
from server.db.channels import Channel
from server.db.engine import Database, is_outage

KEPT = 512
"""Rows that were read last."""


class Writer:
    """Gives transactions to one thread. Whatever is raised inside one ends its session."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._on_sqlite = database.engine.dialect.name == "sqlite"
        self._session: Session | None = None
        self._channel: Channel | None = None
        self._kept: deque[object] = deque(maxlen=KEPT)
        self._receipts = receipts.Index()
        self._seen: int | None = None
        """SQLite's data version, or our last transaction's number on PostgreSQL"""

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session within a transaction, which is committed unless something is raised."""
        session, channel = self._begun()
        try:
            yield session
            session.flush()
            channel.write("COMMIT")
            channel.settle()
            self._receipts.settle()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Cut the connection; what is not committed is undone. It is not asked whether it lives."""
        session, self._session, self._channel, self._seen = self._session, None, None, None
        self._kept.clear()
        self._receipts.undo()
        if session is not None:
            connection = session.get_bind()
            session.invalidate()
            connection.close()  # type: ignore[union-attr]

    def forget(self) -> None:
        """After a commit: let go of all rows, where somebody else may hold some, or changed some by SQL."""
        self._kept.clear()
        if self._session is not None:
            self._session.expunge_all()

    def _begun(self) -> tuple[Session, Channel]:
        if self._session is not None and self._channel is not None:
            try:
                return self._begin(self._session, self._channel)
            except Exception as error:
                self.close()
                # A file is not far away: who keeps it locked would be waited for twice.
                if self._on_sqlite or not is_outage(error):
                    raise
        # What was cut while nobody used it is no outage: there may be a connection again.
        connection = self._database.write_connection()
        session = self._session = Session(connection, expire_on_commit=False)
        event.listen(session, "loaded_as_persistent", self._keep)
        self._receipts.serve(session)
        try:
            self._channel = bulk.stay(session)
            return self._begin(session, self._channel)
        except BaseException:
            self.close()
            raise

    def _begin(self, session: Session, channel: Channel) -> tuple[Session, Channel]:
        if not self._alone(channel):
            session.expire_all()
            bulk.forget_facts(session)
            self._receipts.catch_up(session)
        return session, channel

    def _alone(self, channel: Channel) -> bool:
        """Begin. True where nobody else has written since our last transaction, nor writes now."""
        seen = self._seen
        if self._on_sqlite:
            channel.write("BEGIN IMMEDIATE")
            [(self._seen,)] = channel.rows("PRAGMA data_version")
            return self._seen == seen
        channel.write("BEGIN")
        [(own, others)] = channel.rows(_NUMBERS)
        # Where somebody else was writing at that moment, the next one must not trust in it either.
        self._seen = own if others == f"{own}:{own}:" else None
        return seen is not None and self._seen == seen + 1

    def _keep(self, _session: Session, row: object) -> None:
        self._kept.append(row)


_NUMBERS = "SELECT pg_current_xact_id()::text::bigint, pg_current_snapshot()::text"
"""Our transaction's number, and those that are under way: ``{first}:{next}:{under way}``. Ours is taken
last, so that it is the next one where nobody else writes."""
