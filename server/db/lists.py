"""A list as one parameter of a query.

``IN`` has a parameter for each value, so that its text is made anew for each length; here it stays
the same, however many they are, and the driver finds it prepared.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ARRAY, JSON, BigInteger, ColumnElement, Dialect, Text, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


class _Listed(TypeDecorator[list[Any]]):
    """An array for PostgreSQL, JSON for SQLite."""

    impl = JSON
    cache_ok = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        super().__init__()
        self.of = of

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        listed = ARRAY(self.of) if dialect.name == "postgresql" else JSON()
        return dialect.type_descriptor(listed)


class _values(FunctionElement[Any]):
    """The values of a list, as a subquery."""

    name = "values"
    inherit_cache = True


@compiles(_values, "sqlite")
def _sqlite(element: _values, compiler: SQLCompiler, **options: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **options)}))"


@compiles(_values, "postgresql")
def _postgresql(element: _values, compiler: SQLCompiler, **options: Any) -> str:
    return f"(SELECT unnest({compiler.process(element.clauses, **options)}))"


def among(column: Any, name: str, of: type[int] | type[str] = int) -> ColumnElement[bool]:
    """True where ``column`` is in the list that is given as ``name``.

    ``of`` is said, since a foreign key's column may not know its type before all models are loaded.
    """
    values = _values(bindparam(name, type_=_Listed(BigInteger() if of is int else Text())))
    compared: ColumnElement[bool] = column.op("IN", is_comparison=True)(values)
    return compared
