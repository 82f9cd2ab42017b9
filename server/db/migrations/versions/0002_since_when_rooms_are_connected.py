"""Since when rooms are connected."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


NEW = ("operator_since", "operator_until", "display_since", "display_until")


def upgrade() -> None:
    """Bring the schema forward."""
    for name in NEW:
        op.add_column("sites", sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Take the schema back."""
    for name in reversed(NEW):
        op.drop_column("sites", name)
