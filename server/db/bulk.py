"""Many rows by one statement: what hot commands write with, on SQLite and PostgreSQL alike.

The rows go past the unit of work: no mapped object is made, and none in the session is refreshed.
Statements are built once, since building one and finding its compiled form costs more than running it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

from sqlalchemy import Insert, Table, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from server.db.base import Base

Rows = Sequence[dict[str, Any]]
"""column → value; all rows have the same columns"""


def add(session: Session, model: type[Base], rows: Rows) -> None:
    """Insert ``rows``; what the session holds back is written before."""
    if rows:
        session.flush()
        session.connection().execute(_insert(model), rows)


def put(session: Session, model: type[Base], rows: Rows) -> None:
    """Insert ``rows``; where one's primary key is there already, replace its other columns."""
    if not rows:
        return
    session.flush()
    connection = session.connection()
    connection.execute(_upsert(model, connection.dialect.name), rows)


@cache
def _insert(model: type[Base]) -> Insert:
    return insert(_table(model))


@cache
def _upsert(model: type[Base], dialect: str) -> Insert:
    table = _table(model)
    statement = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    others = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=others)


def _table(model: type[Base]) -> Table:
    return cast(Table, model.__table__)
