"""What one acknowledged command costs the inbox: 1,703 people at once, on disk, without sockets.

Check-ins (each person once) and answers to an open quiz item: in a burst (ten rounds), spread over
two seconds (three rounds), and one after another, each alone. The CPU is that of the
whole process, loop and writer; with PostgreSQL its server's comes on top and is not counted. No
peer: ``phones.py`` compares the same answers side by side, through the sockets.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from load import servers
from sqlalchemy import select

from server import config as configuration
from server.activities.models import Run
from server.batch import server_actor
from server.conferences.models import Conference, RosterEntry
from server.db.engine import Database
from server.db.schema import migrate
from server.inbox import Inbox
from server.permissions import Actor, Role
from server.protocol import Answer, CheckIn, Command, CreateActivity, LaunchActivity, QuizItem
from server.simulation import demo

ROUNDS = 10
SPREAD_ROUNDS, SPREAD_S = 3, 2.0
Rounds = list[tuple[float, list[float]]]
"""of each: CPU seconds, and how long each command waited for its answer, in seconds"""
Figures = dict[str, tuple[float, str]]


@dataclass
class Burst:
    """Sends for everybody at once or in even steps, as the gateway does: futures with callbacks, no tasks."""

    inbox: Inbox
    actors: list[Actor]

    async def send(
        self, key: str, command: Command, within_s: float = 0.0
    ) -> tuple[float, list[float]]:
        """CPU seconds of all, and how long each waited for its answer, in seconds."""
        waits: list[float] = []
        done = asyncio.Event()

        def answered(due_s: float, future: asyncio.Future[dict[str, object]]) -> None:
            future.result()
            waits.append(time.perf_counter() - due_s)
            if len(waits) == len(self.actors):
                done.set()

        cpu_s, began_s = time.process_time(), time.perf_counter()
        for number, actor in enumerate(self.actors):
            due_s = began_s + within_s * number / len(self.actors)
            if due_s > time.perf_counter():
                await asyncio.sleep(due_s - time.perf_counter())
            future = self.inbox.enqueue(actor, command, key)
            future.add_done_callback(partial(answered, due_s))
        await done.wait()
        return time.process_time() - cpu_s, waits


async def measure(url: str) -> tuple[Figures, int]:
    """The figures, and of how many people."""
    database = Database(url)
    with database.read_session() as session:
        live = Conference.state.in_(("lobby", "live"))
        query = select(RosterEntry).join(Conference, Conference.id == RosterEntry.conference_id)
        actors = [
            Actor(f"phone:{e.person_id}", Role.TRAINEE, e.conference_id, e.site_id, e.person_id)
            for e in session.scalars(query.where(live))
        ]
    inbox = Inbox(database)
    inbox.start()
    burst = Burst(inbox, actors)
    check_in_s, _ = await burst.send("check-in", CheckIn())
    answer = await open_item(inbox, database, actors[0].conference_id or 0)
    rounds = [await burst.send(f"answer {n}", answer) for n in range(ROUNDS)]
    spread = [await burst.send(f"spread {n}", answer, SPREAD_S) for n in range(SPREAD_ROUNDS)]
    alone_s, alone = await idle(inbox, actors[:100], answer)
    await inbox.stop()
    database.close()
    count = len(actors)
    figures = {
        "check_in_cpu": (check_in_s / count * 1e6, "µs CPU"),
        **_of("answer", rounds),
        **_of("answer_spread", spread),
        **_of("answer_alone", [(alone_s, alone)]),
    }
    return figures, count


async def open_item(inbox: Inbox, database: Database, conference_id: int) -> Answer:
    """A quiz item on the screens for an hour, and an answer to it."""
    chair = server_actor(conference_id)
    item = QuizItem(text="?", options=("A", "B"), correct=0, seconds=3600)
    made = await inbox.submit(chair, CreateActivity(title="Quiz", items=(item,)))
    run = await inbox.submit(chair, LaunchActivity(activity=made["activity"]))
    shown = await database.read(lambda session: session.get_one(Run, run["run"]).item_id)
    return Answer(run=run["run"], item=shown, option=1)


async def idle(inbox: Inbox, actors: Iterable[Actor], answer: Answer) -> tuple[float, list[float]]:
    """One after another: each is a batch of its own."""
    waits = []
    cpu_s = time.process_time()
    for actor in actors:
        began_s = time.perf_counter()
        await inbox.submit(actor, answer, "alone")
        waits.append(time.perf_counter() - began_s)
    return time.process_time() - cpu_s, waits


def _of(name: str, rounds: Rounds) -> Figures:
    waits = [wait for _, each in rounds for wait in each]
    cpu_s = sum(cpu_s for cpu_s, _ in rounds)
    return {
        f"{name}_cpu": (cpu_s / len(waits) * 1e6, "µs CPU"),
        f"{name}_p99": (_p99(waits) * 1e3, "ms"),
    }


def _p99(waits: Iterable[float]) -> float:
    values = sorted(waits)
    return values[int(len(values) * 0.99)]


def _prepared(database: str, folder: Path) -> AbstractContextManager[tuple[str, object]]:
    """The address of a PostgreSQL of our own; nothing for SQLite."""
    if database == "postgresql":
        return servers.postgres((os.cpu_count() or 1) - 1, folder)
    return nullcontext(("", None))


def main(database: str) -> None:
    """Print one JSON object a line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _prepared(database, folder) as (address, _):
            config = configuration.load({}, data_dir=folder)
            url = address or config.database_url
            migrate(url)
            asyncio.run(demo.load(config.with_(database_url=url), 1))
            figures, count = asyncio.run(measure(url))
    about = {"count": count, "database": database, "ran_on": platform.platform()}
    for name, (value, unit) in figures.items():
        line = {"name": f"commands.{name}", "value": round(value, 1), "unit": unit}
        print(json.dumps({**line, "peer_value": None, "ratio": None, **about}, ensure_ascii=False))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    main(parser.parse_args().database)
