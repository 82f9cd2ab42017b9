"""A list as one parameter of a query.

``IN`` has a parameter for each value, so that its text is made anew for each length; here it stays
the same, however many they are, and the driver finds it prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ARRAY, JSON, BigInteger, ColumnElement, Dialect, Text, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from server.db.base import nfc

Convert = Callable[[Any], Any] | None
"""what a type does to a value on its way to the driver"""


class Listed(TypeDecorator[Sequence[Any]]):
    """An array for PostgreSQL, JSON for SQLite."""

    impl = JSON
    cache_ok = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        super().__init__()
        self.of = of

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        listed = ARRAY(self.of) if dialect.name == "postgresql" else JSON()
        return dialect.type_descriptor(listed)

    def bind_processor(self, dialect: Dialect) -> Convert:
        """For PostgreSQL the array's text: its driver would look at each value, ten times as long."""
        if dialect.name != "postgresql":
            return super().bind_processor(dialect)
        convert = self.of.bind_processor(dialect)
        return lambda values: array_text(converted(convert, values))


def converted(convert: Convert, values: Sequence[Any]) -> Sequence[Any]:
    """Each of ``values``; the rows of a batch share many of them, such as what an event tells."""
    if convert is None or (convert is nfc and _are_ascii(values)):
        return values
    if len({*map(id, values)}) > len(values) // 2:
        return [convert(value) for value in values]
    made: dict[int, Any] = {id(value): value for value in values}
    made = {number: convert(value) for number, value in made.items()}
    return [made[id(value)] for value in values]


def _are_ascii(values: Sequence[Any]) -> bool:
    try:
        return "".join(values).isascii()
    except TypeError:
        return False  # some are NULL


def array_text(values: Sequence[Any]) -> str:
    """``values`` of one type as PostgreSQL reads them: numbers, texts in quotes, or NULL (its manual,
    "Array Input and Output Syntax").

    Raises: ValueError on a text with U+0000, which PostgreSQL cannot store.
    """
    if not values:
        return "{}"
    if None in values:
        return "{" + ",".join(map(_element, values)) + "}"
    if type(values[0]) is int:
        return "{" + ",".join(map(str, values)) + "}"
    # All at once, for the price of a few values: no text has the character that joins them.
    joined = "\0".join(values if type(values[0]) is str else map(str, values))
    if joined.count("\0") != len(values) - 1:
        raise ValueError("a text with U+0000")
    return '{"' + _escaped(joined).replace("\0", '","') + '"}'


def _element(value: Any) -> str:
    return "NULL" if value is None else array_text([value])[1:-1]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


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
    values = _values(bindparam(name, type_=Listed(BigInteger() if of is int else Text())))
    compared: ColumnElement[bool] = column.op("IN", is_comparison=True)(values)
    return compared
