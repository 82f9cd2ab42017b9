"""Many rows by one statement: what hot commands write with, on SQLite and PostgreSQL alike.

The rows go past the unit of work: no mapped object is made, and none in the session is refreshed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Table, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from server.db.base import Base

Rows = Sequence[dict[str, Any]]
"""column → value; all rows have the same columns"""


def add(session: Session, model: type[Base], rows: Rows) -> None:
    """Insert ``rows``; what the session holds back is written before."""
    if rows:
        session.flush()
        session.connection().execute(insert(_table(model)), rows)


def put(session: Session, model: type[Base], rows: Rows) -> None:
    """Insert ``rows``; where one's primary key is there already, replace its other columns."""
    if not rows:
        return
    session.flush()
    connection, table = session.connection(), _table(model)
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    others = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
    statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=others)
    connection.execute(statement, rows)


def _table(model: type[Base]) -> Table:
    return cast(Table, model.__table__)
