"""Receipts stand together, hundreds to a row: a row each was half of what PostgreSQL did in a burst."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TOGETHER = 256
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEPT = ("holder", "key", "fingerprint", "answer")
Row = dict[str, Any]


def _packed() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", BIG, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kept", sa.Text(), nullable=False),
    ]


def _single() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", BIG, nullable=False),
        sa.Column("digest", BIG, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
    ]


def upgrade() -> None:
    """Bring the schema forward; the receipts that there are stay."""
    numbers = count(1)

    def pack(rows: list[Row]) -> Iterator[Row]:
        kept = {row["digest"]: [row[name] for name in KEPT] for row in rows}
        yield {"id": next(numbers), "at": rows[-1]["at"], "kept": json.dumps(kept)}

    _anew(_single(), _packed(), TOGETHER, pack)
    if op.get_bind().dialect.name == "postgresql":
        # Else each would be tried to be compressed, which takes longer than to write it.
        op.execute("ALTER TABLE receipts ALTER COLUMN kept SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Take the schema back."""
    numbers = count(1)

    def unpack(rows: list[Row]) -> Iterator[Row]:
        for row in rows:
            for digest, kept in json.loads(row["kept"]).items():
                each = dict(zip(KEPT, kept, strict=True))
                yield {"id": next(numbers), "digest": int(digest), "at": row["at"], **each}

    _anew(_packed(), _single(), 1, unpack)


def _anew(
    before: list[sa.Column[Any]], after: list[sa.Column[Any]], at_once: int, changed: Any
) -> None:
    """The table with other columns, filled with what it held."""
    old = sa.Table("receipts_before", sa.MetaData(), *before)
    op.execute("CREATE TEMPORARY TABLE receipts_before AS SELECT * FROM receipts")
    op.drop_table("receipts")
    key = sa.PrimaryKeyConstraint("id", name=op.f("pk_receipts"))
    new = op.create_table("receipts", *after, key)
    connection = op.get_bind()
    found = connection.execute(sa.select(old).order_by(old.c.id)).mappings()
    while some := found.fetchmany(at_once):
        connection.execute(sa.insert(new), list(changed([dict(row) for row in some])))
    op.execute("DROP TABLE receipts_before")
