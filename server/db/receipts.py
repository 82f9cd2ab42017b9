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
from sqlalchemy import Text, bindparam, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from server.db import bulk
from server.db.base import Base, BigId, nfc
from server.db.lists import among
from server.errors import DomainError
from server.protocol import Command


class Receipts(Base):
    """Those of one transaction, hundreds to a row: to find a place for each, and write it into an index,
    costs a database more than all else it does for a command. ``Index`` knows which row has which.

    Rows stand in the order of their writing.
    """

    __tablename__ = "receipts"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """one more than that of the row before, which is how two writers would be told apart"""
    at: Mapped[datetime]
    kept: Mapped[str] = mapped_column(Text)
    """JSON that ``opened`` reads"""


class Kept(NamedTuple):
    """A receipt: what was answered to ``key`` of ``holder``; ``fingerprint`` tells another command apart."""

    holder: str
    key: str
    fingerprint: str
    answer: dict[str, Any]


opened = msgspec.json.Decoder(dict[int, Kept]).decode
"""What a row keeps, by their digests."""
_digests = msgspec.json.Decoder(dict[int, msgspec.Raw]).decode
_FOUND = select(Receipts.kept).where(among(Receipts.id, "ids"))
_FIRST_KEPT = select(Receipts.id).order_by(Receipts.id).limit(1)
TOGETHER = 256
"""Receipts in a row: who asks again has all of it read."""
READ_AT_ONCE = 1000
"""Rows, some 50 MB where they are full."""
_BEHIND = (
    select(Receipts.id, Receipts.kept)
    .where(Receipts.id > bindparam("last", type_=BigId))
    .order_by(Receipts.id)
    .limit(READ_AT_ONCE)
)
_INDEX = "receipts"
"""of ``Session.info``"""


class Index:
    """Which row holds which digest, in memory: some 120 bytes a receipt.

    In the database each of a burst's digests would lie on a page of its own, and be written there:
    half of all pages that SQLite's log took, and of what PostgreSQL did. What was not committed, or
    not surely, is let go of and read again, as is what somebody else wrote: both are the last rows.
    """

    def __init__(self) -> None:
        self._ids: dict[int, int] = {}
        """in the order of the rows"""
        self._last = self._sure = 0
        """numbers of the last row, and of the last one that is committed"""

    def serve(self, session: Session) -> None:
        """Be what ``find`` and ``store`` of ``session`` look at, until it ends."""
        session.info[_INDEX] = self

    def settle(self) -> None:
        """What was stored is committed."""
        self._sure = self._last

    def undo(self) -> None:
        """What was stored since the last commit may not be there."""
        while self._ids and next(reversed(self._ids.values())) > self._sure:
            self._ids.popitem()
        self._last = self._sure

    def catch_up(self, session: Session) -> None:
        """Read the rows behind those that are known."""
        more = True
        while more:
            rows = bulk.read(session, _BEHIND, last=self._last)
            for id_, kept in rows:
                self._ids.update(dict.fromkeys(_digests(kept), id_))
            self._last = max((id_ for id_, _ in rows), default=self._last)
            more = len(rows) == READ_AT_ONCE
        self._sure = self._last

    def find(self, digests: Collection[int]) -> list[int]:
        """The rows that hold them."""
        return list({self._ids[each] for each in self._ids.keys() & digests})

    def add(self, digests: Collection[int]) -> int:
        """The number of the row that is to hold them."""
        self._last += 1
        self._ids.update(dict.fromkeys(digests, self._last))
        return self._last

    def forget(self, first: int | None) -> None:
        """The rows before ``first`` are no more; None: none is."""
        kept = self._ids.items() if first is not None else ()
        self._ids = {digest_: id_ for digest_, id_ in kept if first is None or id_ >= first}


def _index(session: Session) -> Index:
    """The one that stays with ``session``, else one that is read now."""
    index: Index | None = session.info.get(_INDEX)
    if index is None:
        index = Index()
        index.catch_up(session)
    return index


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
    ids = _index(session).find(digests) if digests else []
    rows = bulk.read(session, _FOUND, ids=ids) if ids else []
    return {
        each: found for kept, in rows for each, found in opened(kept).items() if each in digests
    }


def store(session: Session, kept: Mapping[int, Kept], now: datetime) -> None:
    """Keep receipts by their digests; the caller's transaction commits them."""
    index, receipts = _index(session), list(kept.items())
    for first in range(0, len(receipts), TOGETHER):
        some = dict(receipts[first : first + TOGETHER])
        row = {"id": index.add(some), "at": now, "kept": msgspec.json.encode(some).decode()}
        bulk.add(session, Receipts, [row])


def forget(session: Session, before: datetime) -> None:
    """Delete the receipts up to the first that was written at ``before`` or later: no client retries
    that long. Only those that go are read, since they were written in the order of their ``id``."""
    first = session.scalar(_FIRST_KEPT.where(Receipts.at >= before))
    past = delete(Receipts)
    session.execute(past if first is None else past.where(Receipts.id < first))
    _index(session).forget(first)
