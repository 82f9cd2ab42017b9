"""Statements that every transaction of the inbox runs, and many rows by one of them, past SQLAlchemy.

A statement is compiled once and handed to the driver itself, each column's values converted together:
SQLAlchemy's own way from a query to its rows costs ten times what SQLite takes for it. The rows go past
the unit of work: no mapped object is made, and none in the session is refreshed. What fails is
raised as the driver raises it (``engine.is_outage`` knows both).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, TypeVarTuple, cast

from sqlalchemy import (
    Column,
    Dialect,
    Insert,
    Select,
    Table,
    Update,
    bindparam,
    event,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.sql.compiler import SQLCompiler

from server.db.base import Base
from server.db.channels import Channel, Direct, Pipeline
from server.db.lists import Convert, Listed, converted

T = TypeVarTuple("T")
Statement = Select[*tuple[Any, ...]] | Insert | Update
Rows = Sequence[dict[str, Any]]
"""column → value; all rows have the same columns. Those that they leave out become NULL in a new row,
and stay in one that is there"""
Columns = Mapping[str, Sequence[Any]]
"""the same, by column: the values of all rows"""
TOGETHER = 128
"""Rows in one INSERT of SQLite's: its driver lets other threads run, and waits for them, once a
statement."""
_TOGETHER = (TOGETHER, 32, 8, 2, 1)
_NEW, _KEY = "new_", "key_"
"""before the names of an UPDATE's parameters, which columns' names must not be"""
_CHANNEL, _FACTS = "channel", "facts"
"""of ``Session.info``"""
_PARAMSTYLES = {"sqlite": "qmark", "postgresql": "numeric_dollar"}


def add(session: Session, model: type[Base], rows: Rows) -> None:
    """Insert ``rows``; what the session holds back is written before."""
    columns, same = _by_column(rows)
    add_columns(session, model, columns, same)


def add_columns(
    session: Session, model: type[Base], columns: Columns, same: Mapping[str, Any]
) -> None:
    """Insert rows given by ``columns``, and the values that are the ``same`` in all of them."""
    _write(session, model, columns, same, replacing=False)


def put_columns(
    session: Session, model: type[Base], columns: Columns, same: Mapping[str, Any]
) -> None:
    """``add_columns``; where a row's primary key is there already, replace its other columns."""
    _write(session, model, columns, same, replacing=True)


def change(session: Session, row: Base, **values: Any) -> None:
    """Write ``values`` into columns of ``row``, which is in the database, at once: a flush would take
    ten times as long. ``row`` has them from now on."""
    session.flush()
    channel, dialect = _channel(session)
    asked = _update(type(row), tuple(values), dialect)
    keys = {_KEY + column.name: getattr(row, column.name) for column in _keys(type(row))}
    given = {_NEW + name: value for name, value in values.items()}
    channel.write(asked.text, asked.parameters(keys | given))
    _forget_facts(session, type(row))
    for name, value in values.items():
        set_committed_value(row, name, value)


def read(session: Session, query: Select[*T], **values: Any) -> list[tuple[*T]]:
    """Columns that ``query`` selects, without the ORM's work on them. ``query`` is one that stays: it
    is compiled once."""
    session.flush()
    channel, dialect = _channel(session)
    asked = _query(query, dialect)
    return asked.rows(channel.rows(asked.text, asked.parameters(values)))


def shared(columns: Columns) -> tuple[Columns, Mapping[str, Any]]:
    """``columns``, and of those where all rows have one value that value."""
    same = {name: values[0] for name, values in columns.items() if _all_one(values)}
    return {name: values for name, values in columns.items() if name not in same}, same


def _by_column(rows: Rows) -> tuple[Columns, Mapping[str, Any]]:
    if len(rows) < 2:
        return {name: (value,) for row in rows for name, value in row.items()}, {}
    columns, same = shared({name: [row[name] for row in rows] for name in rows[0]})
    return (columns, same) if columns else ({n: [v] * len(rows) for n, v in same.items()}, {})


def _all_one(values: Sequence[object]) -> bool:
    return values[0] is values[-1] and len({*map(id, values)}) == 1


def _write(
    session: Session,
    model: type[Base],
    columns: Columns,
    same: Mapping[str, Any],
    *,
    replacing: bool,
) -> None:
    """``columns`` are not all the same: at least one stays."""
    count = len(next(iter(columns.values()), ()))
    if not count:
        return
    session.flush()
    channel, dialect = _channel(session)
    names = (*same, *columns)
    if dialect.name == "sqlite":
        insertion = _by_rows(model, names, len(same), replacing, dialect)
        insertion.write(channel, columns, same, count)
    elif count == 1:
        row = {**same, **{name: value for name, [value] in columns.items()}}
        statement = _by_columns(model, names, frozenset(names), replacing, dialect)
        channel.write(statement.text, statement.parameters(row))
    else:
        statement = _by_columns(model, names, frozenset(same), replacing, dialect)
        channel.write(statement.text, statement.parameters({**same, **columns}))
    _forget_facts(session, model)


def stay(session: Session) -> Channel:
    """Have ``session``, on a connection in autocommit mode, served by one channel as long as it lives:
    the caller begins and commits transactions there. Facts are kept from one to the next."""
    connection = session.connection()
    driver, dialect = connection.connection.dbapi_connection, connection.dialect
    channel = Direct(driver) if dialect.name == "sqlite" else Pipeline(cast(Any, driver))
    session.info.update({_CHANNEL: (channel, dialect), _FACTS: {}})

    def executing(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        channel.settle()
        if not statement.startswith("SELECT"):
            forget_facts(session)

    event.listen(connection, "before_cursor_execute", executing)
    return channel


def facts(session: Session, model: type[Base], of: object = None) -> dict[Any, Any]:
    """What was read of a table, for whoever reads it to keep, as long as nobody writes there; empty in a
    session that does not stay."""
    session.flush()
    kept: dict[Any, dict[Any, dict[Any, Any]]] = session.info.get(_FACTS, {})
    return kept.setdefault(model, {}).setdefault(of, {})


def _forget_facts(session: Session, model: type[Base]) -> None:
    session.info.get(_FACTS, {}).pop(model, None)


def forget_facts(session: Session) -> None:
    """Something may have changed that ``facts`` tell of: whatever is written past this module may."""
    session.info.get(_FACTS, {}).clear()


def _channel(session: Session) -> tuple[Channel, Dialect]:
    known: tuple[Channel, Dialect] | None = session.info.get(_CHANNEL)
    if known is not None:
        return known
    connection = session.connection()
    return Direct(connection.connection.dbapi_connection), connection.dialect


@dataclass(frozen=True, slots=True)
class _Query:
    """SQL, its parameters in their order (name, value where none is given), its columns."""

    text: str
    asked: Sequence[tuple[str, Any, Convert]]
    found: Sequence[Convert]

    def parameters(self, values: dict[str, Any]) -> list[Any]:
        """For the driver."""
        given = ((values.get(name, value), convert) for name, value, convert in self.asked)
        return [value if convert is None else convert(value) for value, convert in given]

    def rows(self, rows: list[tuple[*T]]) -> list[tuple[*T]]:
        """What the driver found, as the columns' types say."""
        if not rows or not any(self.found):
            return rows
        columns = zip(zip(*rows, strict=True), self.found, strict=True)
        return list(zip(*(map(c, values) if c else values for values, c in columns), strict=True))


@lru_cache(64)
def _query(query: Statement, dialect: Dialect) -> _Query:
    compiled = _compiled(query, dialect)
    names, values = compiled.positiontup or [], compiled.params
    types = {name: each.type for name, each in compiled.binds.items()}
    return _Query(
        str(compiled),
        [(n, values[n], types[n].dialect_impl(dialect).bind_processor(dialect)) for n in names],
        [
            column.type.dialect_impl(dialect).result_processor(dialect, None)
            for column in (query.selected_columns if isinstance(query, Select) else ())
        ],
    )


@dataclass(frozen=True, slots=True)
class _ByRows:
    """For SQLite: SQL by how many rows it has, and what converts each column's values. What all rows have
    is given once: its parameters are the first, by number."""

    texts: Sequence[tuple[int, str]]
    converts: Mapping[str, Convert]

    def write(
        self, channel: Channel, columns: Columns, same: Mapping[str, Any], count: int
    ) -> None:
        """All rows."""
        given = {name: [value] for name, value in same.items()}
        first = [converted(self.converts[name], value)[0] for name, value in given.items()]
        made = (converted(self.converts[name], values) for name, values in columns.items())
        rows, at = list(zip(*made, strict=True)), 0
        for size, text in self.texts:
            while count - at >= size:
                some = rows[at : at + size]
                channel.write(text, [*first, *chain.from_iterable(some)])
                at += size


@lru_cache(64)
def _by_columns(
    model: type[Base],
    names: tuple[str, ...],
    same: frozenset[str],
    replacing: bool,
    dialect: Dialect,
) -> _Query:
    """For PostgreSQL: all rows by one statement, in which each column is one parameter, an array, or
    the value that all rows have."""
    table = _table(model, names)
    given = (
        (
            bindparam(name, type_=table.c[name].type)
            if name in same
            else func.unnest(bindparam(name, type_=Listed(table.c[name].type)))
        )
        for name in names
    )
    new = postgresql.insert(table).from_select(names, select(*given))
    return _query(_replacing(new, table, names) if replacing else new, dialect)


@lru_cache(64)
def _update(model: type[Base], names: tuple[str, ...], dialect: Dialect) -> _Query:
    table = cast(Table, model.__table__)
    new = {name: bindparam(_NEW + name, type_=table.c[name].type) for name in names}
    this = [c == bindparam(_KEY + c.name, type_=c.type) for c in _keys(model)]
    return _query(update(table).where(*this).values(new), dialect)


@lru_cache
def _keys(model: type[Base]) -> Sequence[Column[Any]]:
    return list(cast(Table, model.__table__).primary_key)


def _table(model: type[Base], names: Sequence[str]) -> Table:
    table = cast(Table, model.__table__)
    assert not {column.name for column in table.c if column.default is not None} - set(names)
    return table


@lru_cache(64)
def _by_rows(
    model: type[Base], names: tuple[str, ...], same: int, replacing: bool, dialect: Dialect
) -> _ByRows:
    """The first ``same`` of ``names`` are given once."""
    table = _table(model, names)
    row = sqlite.insert(table)
    compiled = _compiled(_replacing(row, table, names) if replacing else row, dialect, list(names))
    head, values, tail = str(compiled).partition("VALUES (")
    _, closing, rest = tail.partition(")")
    assert values and closing
    places, each = [names.index(n) for n in compiled.positiontup or []], len(names) - same

    def of(size: int) -> str:
        rows = (
            ", ".join(f"?{1 + (p if p < same else p + number * each)}" for p in places)
            for number in range(size)
        )
        return f"{head}VALUES ({'), ('.join(rows)}){rest}"

    converts = {n: table.c[n].type.dialect_impl(dialect).bind_processor(dialect) for n in names}
    return _ByRows([(size, of(size)) for size in _TOGETHER], converts)


def _replacing(new: Any, table: Table, names: Sequence[str]) -> Insert:
    """``new`` of either dialect, which have the same words for it."""
    others = {n: new.excluded[n] for n in names if not table.c[n].primary_key}
    upsert: Insert = new.on_conflict_do_update(index_elements=list(table.primary_key), set_=others)
    return upsert


def _compiled(
    statement: Statement, dialect: Dialect, columns: list[str] | None = None
) -> SQLCompiler:
    """With its parameters by place: names would be looked up in each row."""
    by_place = cast(Any, type(dialect))(paramstyle=_PARAMSTYLES[dialect.name])
    return statement.compile(dialect=by_place, column_keys=columns)
