"""The declarative base, and the column types that every room shares."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, DateTime, Integer, MetaData, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

BigId = BigInteger().with_variant(Integer, "sqlite")
"""64-bit identity; SQLite autoincrements only a plain INTEGER."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC. Raises: ValueError on a naive one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """Remembers the last ones: a batch writes one moment into all of its rows."""
        process = super().bind_processor(dialect)
        return None if process is None else lru_cache(16)(process)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class NfcText(TypeDecorator[str]):
    """Unicode text, kept in normal form C (domain.md, truth 6)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return nfc(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[str | None], str | None]:
        """Without the calls between: it runs for each text of each row."""
        return nfc


def nfc(value: str | None) -> str | None:
    """``value`` as it is stored."""
    return value if value is None or value.isascii() else unicodedata.normalize("NFC", value)


class Base(DeclarativeBase):
    """Base of all mapped classes; relationships are not used, queries say what they join."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime(), str: NfcText(), int: BigId}
