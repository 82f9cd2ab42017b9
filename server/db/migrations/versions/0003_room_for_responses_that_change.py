"""Room on each page for responses that are changed in place."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of pages that are written from now on; SQLite changes rows in place by itself."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE responses SET (fillfactor = 45)")


def downgrade() -> None:
    """Take the schema back."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE responses RESET (fillfactor)")
