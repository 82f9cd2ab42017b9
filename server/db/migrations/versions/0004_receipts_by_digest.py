"""Receipts in the order of their writing, found by 64 bits of whose they are.

Their key was (holder, key): each burst wrote into all pages of an index of these texts.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

AT_ONCE = 1000
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _texts() -> list[sa.Column[Any]]:
    return [
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
    ]


def _digest(holder: str, key: str) -> int:
    text = f"{holder} {unicodedata.normalize('NFC', key)}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


def upgrade() -> None:
    """Bring the schema forward; the receipts that there are stay."""
    make = [
        sa.Column("id", BIG, nullable=False),
        sa.Column("digest", BIG, nullable=False),
        *_texts(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipts")),
    ]
    _anew(make, lambda row: {**row, "digest": _digest(row["holder"], row["key"])})
    op.create_index(op.f("ix_receipts_digest"), "receipts", ["digest"], unique=True)


def downgrade() -> None:
    """Take the schema back."""
    key = sa.PrimaryKeyConstraint("holder", "key", name=op.f("pk_receipts"))
    _anew([*_texts(), key], lambda row: row)
    op.create_index(op.f("ix_receipts_at"), "receipts", ["at"], unique=False)


def _anew(make: list[Any], changed: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The table with other columns, filled with what it held."""
    before = sa.Table("receipts_before", sa.MetaData(), *_texts())
    op.execute("CREATE TEMPORARY TABLE receipts_before AS SELECT * FROM receipts")
    op.drop_table("receipts")
    after = op.create_table("receipts", *make)
    connection = op.get_bind()
    found = connection.execute(sa.select(before).order_by(before.c.at)).mappings()
    while some := found.fetchmany(AT_ONCE):
        connection.execute(sa.insert(after), [changed(dict(row)) for row in some])
    op.execute("DROP TABLE receipts_before")
