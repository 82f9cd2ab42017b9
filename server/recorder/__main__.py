"""``python -m server.recorder --listen PATH``: one recorder process."""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path

from server import garbage
from server.recorder.process import run

YOUNG, OLDER = 10_000, 5
"""for garbage.collect_seldom: packets come and go without cycles"""


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="server.recorder", description="Records conferences.")
    parser.add_argument("--listen", type=Path, required=True, help="Unix socket to listen on")
    parser.add_argument("--font", type=Path, help="font file for the card")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
    garbage.collect_seldom(YOUNG, OLDER)
    asyncio.run(run(arguments.listen, arguments.font))


if __name__ == "__main__":
    main()
