"""For developers: ``python -m server.db.migrations [message]`` writes what is missing.

Until the first release there is one initial migration, which is written anew (no message).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command

from server.db.engine import alembic_config, make_engine

INITIAL = Path(__file__).parent / "versions" / "0001_initial.py"


def main(message: str | None) -> None:
    """Compare a database made by the present migrations with the models."""
    if message is None:
        INITIAL.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(f"sqlite:///{folder}/scratch.db")
        with engine.begin() as connection:
            config = alembic_config(connection)
            command.upgrade(config, "head")
            number = f"{len(list(INITIAL.parent.glob('0*.py'))) + 1:04}"
            command.revision(config, message or "initial", autogenerate=True, rev_id=number)
        engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
