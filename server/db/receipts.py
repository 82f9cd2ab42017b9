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
from sqlalchemy import JSON, delete, insert, select, tuple_
from sqlalchemy.orm import Mapped, Session, mapped_column

from server.db.base import Base
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


def fingerprint(command: Command) -> str:
    """SHA-256 of the command's type and fields."""
    body = msgspec.json.encode([command.type, msgspec.to_builtins(command)], order="sorted")
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
    query = select(Receipt.holder, Receipt.key, Receipt.fingerprint, Receipt.answer).where(
        tuple_(Receipt.holder, Receipt.key).in_(list(keys))
    )
    return {(row.holder, row.key): (row.fingerprint, row.answer) for row in session.execute(query)}


def store(
    session: Session, answers: Mapping[Keyed, tuple[str, dict[str, Any]]], now: datetime
) -> None:
    """Keep ``answers`` by one statement; the caller's transaction commits them."""
    if answers:
        session.execute(
            insert(Receipt),
            [
                {"holder": holder, "key": key, "fingerprint": mark, "at": now, "answer": answer}
                for (holder, key), (mark, answer) in answers.items()
            ],
        )


def forget(session: Session, before: datetime) -> None:
    """Delete receipts older than ``before``: no client retries that long."""
    session.execute(delete(Receipt).where(Receipt.at < before))
