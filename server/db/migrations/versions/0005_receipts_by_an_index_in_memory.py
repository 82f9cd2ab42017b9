"""Which receipt has which digest is known in memory (``receipts.Index``), no longer by an index here.

Each burst wrote into all of its pages.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.drop_index(op.f("ix_receipts_digest"), table_name="receipts")


def downgrade() -> None:
    """Take the schema back."""
    op.create_index(op.f("ix_receipts_digest"), "receipts", ["digest"], unique=True)
