"""Receipts: the first answer to each idempotency key, so that a retry is answered, not done again.

A key is unique to its seat. A receipt is written in the transaction of the command that it
answers. Refusals that say "later" (slow down, unavailable) leave none: their retry is meant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import JSON, FromClause, Select, Text, and_, bindparam, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from server.db import bulk
from server.db.base import Base
from server.db.lists import Listed
from server.errors import DomainError
from server.protocol import Command

Keyed = tuple[str, str]
"""(holder, key)"""


class Receipt(Base):
    """What was answered to ``key`` of ``holder``; ``fingerprint`` tells another command apart."""

    __tablename__ = "receipts"
    holder: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    at: Mapped[datetime] = mapped_column(index=True)
    answer: Mapped[dict[str, Any]] = mapped_column(JSON)


_ARRAYS = (
    func.unnest(bindparam(f"{name}s", type_=Listed(Text()))).label(name)
    for name in ("holder", "key")
)
_PAIR = func.json_each(bindparam("pairs", type_=JSON)).table_valued("value").c.value


def _find(asked: FromClause) -> Select[str, str, str, dict[str, Any]]:
    """Receipts joined with the keys asked for: given a list of pairs, SQLite reads the whole table."""
    columns = (Receipt.holder, Receipt.key, Receipt.fingerprint, Receipt.answer)
    by_key = and_(Receipt.holder == asked.c.holder, Receipt.key == asked.c.key)
    return select(*columns).join(asked, by_key)


_FIND_BY_ARRAYS = _find(select(*_ARRAYS).subquery())
_FIND_BY_JSON = _find(
    select(
        func.json_extract(_PAIR, "$[0]").label("holder"),
        func.json_extract(_PAIR, "$[1]").label("key"),
    ).subquery()
)


def fingerprint(command: Command) -> str:
    """SHA-256 of the command's type and fields."""
    body = msgspec.json.encode([command.type, command], order="sorted")
    return hashlib.sha256(body).hexdigest()


def accepted(result: Mapping[str, Any]) -> dict[str, Any]:
    """The stored form of a result."""
    return {"result": dict(result)}


def refused(error: DomainError) -> dict[str, Any]:
    """The stored form of a refusal."""
    values = {name: _plain(value) for name, value in error.values.items()}
    return {"error": error.code, "message": error.message, "values": values}


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def open_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The result that ``answer`` holds. Raises: the DomainError that it holds."""
    if "result" in answer:
        return dict(answer["result"])
    kinds = {kind.code: kind for kind in _kinds(DomainError)}
    kind = kinds.get(answer["error"], DomainError)
    error = kind(answer["message"], **answer["values"])
    error.code = answer["error"]
    raise error


def _kinds(base: type[DomainError]) -> list[type[DomainError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in _kinds(child))]


def find(session: Session, keys: Collection[Keyed]) -> dict[Keyed, tuple[str, dict[str, Any]]]:
    """(fingerprint, answer) of those ``keys`` that were answered before."""
    if not keys:
        return {}
    if session.get_bind().dialect.name == "postgresql":
        holders, names = zip(*keys, strict=True)
        found = bulk.read(session, _FIND_BY_ARRAYS, holders=list(holders), keys=list(names))
    else:
        found = bulk.read(session, _FIND_BY_JSON, pairs=list(keys))
    return {(holder, key): (mark, answer) for holder, key, mark, answer in found}


def store(
    session: Session, answers: Mapping[Keyed, tuple[str, dict[str, Any]]], now: datetime
) -> None:
    """Keep ``answers`` by one statement; the caller's transaction commits them."""
    rows = [
        {"holder": holder, "key": key, "fingerprint": mark, "at": now, "answer": answer}
        for (holder, key), (mark, answer) in answers.items()
    ]
    bulk.add(session, Receipt, rows)


def forget(session: Session, before: datetime) -> None:
    """Delete receipts older than ``before``: no client retries that long."""
    session.execute(delete(Receipt).where(Receipt.at < before))
