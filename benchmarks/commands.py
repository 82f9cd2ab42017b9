"""What one acknowledged check-in costs: 1,703 people at once, through the inbox, on disk.

No peer yet: the side-by-side benchmarks of phones and media come with the work on them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import tempfile
import time
from pathlib import Path

from sqlalchemy import select

from server import config as configuration
from server.conferences.models import RosterEntry
from server.db.engine import Database, migrate
from server.inbox import Inbox
from server.permissions import Actor, Role
from server.protocol import CheckIn
from server.simulation import demo


async def burst(url: str) -> tuple[float, float, int]:
    """CPU seconds, the 99th percentile of the acknowledgement in seconds, and how many."""
    database = Database(url)
    with database.read_session() as session:
        expected = session.execute(select(RosterEntry)).scalars().all()
        actors = [
            Actor(f"phone:{e.person_id}", Role.TRAINEE, e.conference_id, e.site_id, e.person_id)
            for e in expected
        ]
    inbox = Inbox(database)
    inbox.start()
    waits: list[float] = []

    async def check_in(actor: Actor) -> None:
        began_s = time.perf_counter()
        await inbox.submit(actor, CheckIn(), f"check-in:{actor.person_id}")
        waits.append(time.perf_counter() - began_s)

    cpu_s = time.process_time()
    await asyncio.gather(*map(check_in, actors))
    cpu_s = time.process_time() - cpu_s
    await inbox.stop()
    database.close()
    return cpu_s, sorted(waits)[int(len(waits) * 0.99)], len(waits)


def main() -> None:
    """Print one JSON object a line."""
    with tempfile.TemporaryDirectory() as folder:
        config = configuration.load({}, data_dir=Path(folder))
        migrate(config.database_url)
        asyncio.run(demo.load(config, 1))
        cpu_s, p99_s, count = asyncio.run(burst(config.database_url))
    about = {"count": count, "database": "sqlite", "ran_on": platform.platform()}
    for name, value, unit in (
        ("commands.check_in_cpu", cpu_s / count * 1e6, "µs CPU an acknowledged check-in"),
        ("commands.check_in_p99", p99_s * 1e3, "ms"),
    ):
        line = {"name": name, "value": round(value, 1), "unit": unit}
        print(json.dumps({**line, "peer_value": None, "ratio": None, **about}, ensure_ascii=False))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
