"""The index of the journal by types leaves answers out: each burst wrote each of them into it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NAME, _TABLE, _COLUMNS = "ix_journal_conference_id_type", "journal", ["conference_id", "type"]
_SOUGHT = sa.text("type <> 'activity.answered'")


def upgrade() -> None:
    """Bring the schema forward."""
    op.drop_index(_NAME, table_name=_TABLE)
    op.create_index(_NAME, _TABLE, _COLUMNS, sqlite_where=_SOUGHT, postgresql_where=_SOUGHT)


def downgrade() -> None:
    """Take the schema back."""
    op.drop_index(_NAME, table_name=_TABLE)
    op.create_index(_NAME, _TABLE, _COLUMNS)
