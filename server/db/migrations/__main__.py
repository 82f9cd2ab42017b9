"""For developers: ``python -m server.db.migrations "what changes"`` writes what is missing."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command

from server.db.engine import make_engine
from server.db.schema import alembic_config

VERSIONS = Path(__file__).parent / "versions"


def main(message: str) -> None:
    """Compare a database made by the present migrations with the models."""
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(f"sqlite:///{folder}/scratch.db")
        with engine.begin() as connection:
            config = alembic_config(connection)
            command.upgrade(config, "head")
            number = f"{len(list(VERSIONS.glob('0*.py'))) + 1:04}"
            command.revision(config, message, autogenerate=True, rev_id=number)
        engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1])
