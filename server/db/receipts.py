"""Receipts: the first answer to each idempotency key, so that a retry is answered, not done again.

A key is unique to its seat. A receipt is written in the transaction of the command that it
answers. Refusals that say "later" (slow down, unavailable) leave none: their retry is meant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import JSON, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from server.db import bulk
from server.db.base import Base, nfc
from server.db.lists import among
from server.errors import DomainError
from server.protocol import Command


class Receipt(Base):
    """What was answered to ``key`` of ``holder``; ``fingerprint`` tells another command apart.

    Rows stand in the order of their writing, so that a batch's share their pages, and are found by
    ``digest``, of which an index is an eighth of that of the texts: a burst writes to all of its pages.
    """

    __tablename__ = "receipts"
    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[int] = mapped_column(index=True, unique=True)
    holder: Mapped[str]
    key: Mapped[str]
    fingerprint: Mapped[str]
    at: Mapped[datetime]
    answer: Mapped[dict[str, Any]] = mapped_column(JSON)


class Kept(NamedTuple):
    """A receipt."""

    holder: str
    key: str
    fingerprint: str
    answer: dict[str, Any]


_FOUND = select(
    Receipt.digest, Receipt.holder, Receipt.key, Receipt.fingerprint, Receipt.answer
).where(among(Receipt.digest, "digests"))
_FIRST_KEPT = select(Receipt.id).order_by(Receipt.id).limit(1)


def digest(holder: str, key: str) -> int:
    """64 bits of both. Among a million two share theirs one time in 37 million; what the receipt holds
    tells them apart, and the second is refused."""
    text = f"{holder} {nfc(key)}".encode()  # no holder has a space
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


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


def find(session: Session, digests: Collection[int]) -> dict[int, Kept]:
    """The receipts of those ``digests`` that have one."""
    if not digests:
        return {}
    return {
        number: Kept(*kept) for number, *kept in bulk.read(session, _FOUND, digests=list(digests))
    }


def store(session: Session, kept: Mapping[int, Kept], now: datetime) -> None:
    """Keep receipts by their digests, by one statement; the caller's transaction commits them."""
    if not kept:
        return
    holders, keys, marks, answers = zip(*kept.values(), strict=True)
    alike, same = bulk.shared({"fingerprint": marks, "answer": answers})
    columns = {"digest": list(kept), "holder": holders, "key": keys, **alike}
    bulk.add_columns(session, Receipt, columns, {"at": now, **same})


def forget(session: Session, before: datetime) -> None:
    """Delete the receipts up to the first that was written at ``before`` or later: no client retries
    that long. Only those that go are read, since they were written in the order of their ``id``."""
    first = session.scalar(_FIRST_KEPT.where(Receipt.at >= before))
    past = delete(Receipt)
    session.execute(past if first is None else past.where(Receipt.id < first))
