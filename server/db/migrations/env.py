"""Alembic's environment: works on the connection that ``server.db.engine`` hands it."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import types

from server.db import base, models
from server.db.base import Base

assert models, "imported so that all tables are known"


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write our column types as plain ones: a migration must outlive the code it came from."""
    if kind == "type" and isinstance(item, base.UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, base.NfcText):
        return "sa.Text()"
    return False


def same_type(
    _context: Any, _reflected_column: Any, _column: Any, reflected: Any, wanted: Any
) -> bool | None:
    """SQLite keeps JSON as text with a name of its own; everything else is compared as usual."""
    if isinstance(wanted, types.JSON) and isinstance(reflected, types.JSON):
        return False
    return None


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_item=render_item,
    compare_type=same_type,
    compare_server_default=True,
    # Naming a constraint anew is not possible in place on SQLite: its tables are copied.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
