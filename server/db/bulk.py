"""Many rows by one statement: what hot commands write with, on SQLite and PostgreSQL alike.

The rows go past the unit of work: no mapped object is made, and none in the session is refreshed.
A statement is compiled once, and each column's values are converted together: SQLAlchemy's own way
from a row to its parameters costs more than writing it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVarTuple, cast

from sqlalchemy import CursorResult, Dialect, Insert, Select, Table, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from server.db.base import Base

T = TypeVarTuple("T")
Rows = Sequence[dict[str, Any]]
"""column → value; all rows have the same columns. Those that they leave out become NULL in a new row,
and stay in one that is there"""
_PARAMSTYLES = {"sqlite": "qmark", "postgresql": "format"}


def add(session: Session, model: type[Base], rows: Rows) -> None:
    """Insert ``rows``; what the session holds back is written before."""
    _write(session, model, rows, replacing=False)


def put(session: Session, model: type[Base], rows: Rows) -> None:
    """Insert ``rows``; where one's primary key is there already, replace its other columns."""
    _write(session, model, rows, replacing=True)


def read(session: Session, query: Select[*T], **values: Any) -> CursorResult[*T]:
    """Columns that ``query`` selects, without the ORM's work on them."""
    session.flush()
    return session.connection().execute(query, values)


def _write(session: Session, model: type[Base], rows: Rows, *, replacing: bool) -> None:
    if not rows:
        return
    session.flush()
    connection = session.connection()
    statement = _statement(model, tuple(rows[0]), replacing, connection.dialect)
    connection.exec_driver_sql(statement.text, statement.parameters(rows))


@dataclass(frozen=True, slots=True)
class _Statement:
    """SQL, and the columns of its parameters with what converts their values."""

    text: str
    columns: Sequence[tuple[str, Callable[[Any], Any] | None]]

    def parameters(self, rows: Rows) -> list[tuple[Any, ...]]:
        """One tuple a row."""
        columns = []
        for name, convert in self.columns:
            values = [row[name] for row in rows]
            columns.append(values if convert is None else map(convert, values))
        return list(zip(*columns, strict=True))


@lru_cache(64)
def _statement(
    model: type[Base], names: tuple[str, ...], replacing: bool, dialect: Dialect
) -> _Statement:
    table = cast(Table, model.__table__)
    insertion = _upsert(table, names, dialect.name) if replacing else insert(table)
    # Numbered by place: names would be looked up in each row.
    by_place = cast(Any, type(dialect))(paramstyle=_PARAMSTYLES[dialect.name])
    compiled = insertion.compile(dialect=by_place, column_keys=list(names))
    assert compiled.positiontup is not None
    assert not {column.name for column in table.c if column.default is not None} - set(names)
    return _Statement(
        str(compiled),
        [
            (n, table.c[n].type.dialect_impl(dialect).bind_processor(dialect))
            for n in compiled.positiontup
        ],
    )


def _upsert(table: Table, names: Sequence[str], dialect: str) -> Insert:
    statement = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    keys = list(table.primary_key)
    others = {n: statement.excluded[n] for n in names if not table.c[n].primary_key}
    return statement.on_conflict_do_update(index_elements=keys, set_=others)
