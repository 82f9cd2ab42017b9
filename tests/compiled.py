"""Statements are compiled once for all engines of a kind, which are configured alike.

A server has one engine as long as it lives. Each test has some of its own, and would compile again all that
it asks: a large part of what it costs.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, Engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from server.db import engine as engines

_MOST = 5000
"""statements; more than there are"""
_made = engines.make_engine
_compiled: LRUCache[Any, Any] = LRUCache(_MOST)


def share() -> None:
    """From now on."""
    for kind in (SQLiteDialect_pysqlite, PGDialect_psycopg):
        kind.__eq__, kind.__hash__ = _equal, _hash  # type: ignore[method-assign,assignment]
    engines.make_engine = _sharing


def _sharing(url: str) -> Engine:
    engine = _made(url)
    engine._compiled_cache = _compiled
    return engine


def _key(dialect: Any) -> tuple[object, ...]:
    """All that our engines set."""
    return type(dialect), dialect.paramstyle, dialect._json_serializer, dialect._json_deserializer


def _equal(one: Dialect, other: object) -> bool:
    return type(one) is type(other) and _key(one) == _key(other)


def _hash(dialect: Dialect) -> int:
    return hash(_key(dialect))
