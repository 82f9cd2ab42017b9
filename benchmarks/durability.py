"""Nothing acknowledged is ever lost: SIGKILL under full load, restart, compare with the database.

Phones send answers, questions and check-ins as fast as they are acknowledged. At a random moment
the web process, the whole server or (PostgreSQL) a process of the database is killed; once the
server is there again, and before any phone comes back, everything that was acknowledged is looked
up in the database. Then the phones return, and each asks for one old answer again under its key.

Exits with 1 where anything is lost, done twice or answered otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from load import servers
from load.witness import Plan, Witness
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.activities.models import Response
from server.attendance.models import CheckIn
from server.db.engine import Database
from server.db.journal import JournalEntry
from server.db.receipts import Receipts, opened
from server.people.models import Seat
from server.questions.models import Question

PATIENCE_S = 60.0
LOADED_S = (0.2, 1.2)
"""The kill comes so long after all phones are at work."""


@dataclass
class Losses:
    """What should not be, as sentences."""

    lost: set[str] = field(default_factory=set)
    """keys of acknowledged commands that the database does not have"""
    doubled: set[str] = field(default_factory=set)
    """questions that are there twice"""
    changed: set[str] = field(default_factory=set)
    """keys whose retry got another answer"""
    disorder: set[str] = field(default_factory=set)
    """gaps of the journal; events that phones heard and that are not stored"""

    def any(self) -> bool:
        """True where something is wrong."""
        return bool(self.lost or self.doubled or self.changed or self.disorder)


class Server:
    """The server under test, and how it dies."""

    def __init__(self, core: int, folder: Path, url: str, database: list[Any]) -> None:
        self._core, self._folder, self._url, self._database = core, folder, url, database
        self.process, self.port = servers.serve(core, folder, url)
        self.base = f"http://127.0.0.1:{self.port}"

    def kill(self, what: str) -> None:
        """SIGKILL ``web``, the whole ``server``, or a process of the ``database``."""
        if what == "web":
            os.kill(
                next(pid for pid in _children(self.process.pid) if _is_web(pid)), signal.SIGKILL
            )
        elif what == "server":
            self.process.kill()  # its children die with it (PR_SET_PDEATHSIG)
        else:  # all of PostgreSQL's sessions end, and it recovers from its log
            (postgres,) = self._database
            writer = next(p for p in _children(postgres.pid) if b"checkpointer" in _command(p))
            os.kill(writer, signal.SIGKILL)

    def revive(self, what: str) -> None:
        """Until it serves again; the supervisor and PostgreSQL do their part by themselves."""
        if what == "server":
            self.process.wait(PATIENCE_S)
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process, _ = servers.serve(self._core, self._folder, self._url, self.port)
        else:
            servers.await_health(self.base)

    def stop(self) -> None:
        """In order."""
        servers.stop(self.process)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _is_web(pid: int) -> bool:
    return b"server.app" in _command(pid)


def compare(session: Session, phones: list[Witness], since: str, losses: Losses) -> None:
    """Look up what phones hold as acknowledged under keys that begin with ``since``."""
    persons = dict(session.execute(select(Seat.id, Seat.person_id)).all())
    rows = session.scalars(select(Receipts.kept))
    kept = (receipt for row in rows for receipt in opened(row).values())
    receipts = {each[:2]: each.answer for each in kept if each.key.startswith(since)}
    found = session.execute(select(Question.id, Question.person_id, Question.text)).all()
    questions = {(row.id, row.person_id, row.text) for row in found}
    texts = Counter(row.text for row in found)
    losses.doubled |= {text for text, times in texts.items() if times > 1}
    present = set(session.scalars(select(CheckIn.person_id).where(CheckIn.undone_at.is_(None))))
    chosen = dict(session.execute(select(Response.person_id, Response.option)).all())
    for phone in phones:
        person, last = persons[phone.seat], None
        for key, (sent, answer) in phone.acknowledged.items():
            if sent.type == "activity.answer" and answer["ok"]:
                last = (key, sent.payload["option"])
            if not key.startswith(since):
                continue
            receipt = receipts.get((phone.seat, key), {})
            stored = receipt.get("result", receipt.get("error"))
            if stored != (answer["result"] if answer["ok"] else answer["error"]):
                losses.lost.add(key)
            if sent.type == "question.ask" and answer["ok"]:
                if (answer["result"]["question"], person, sent.payload["text"]) not in questions:
                    losses.lost.add(key)
            elif sent.type == "attendance.check_in" and person not in present:
                losses.lost.add(key)
        if last is not None:
            options = {last[1]}
            if phone.unanswered is not None and phone.unanswered.type == "activity.answer":
                options.add(phone.unanswered.payload["option"])  # it may have been written
            if chosen.get(person) not in options:
                losses.lost.add(last[0])
    _in_order(session, phones, losses)


def _in_order(session: Session, phones: list[Witness], losses: Losses) -> None:
    count, least, most = session.execute(
        select(func.count(), func.min(JournalEntry.seq), func.max(JournalEntry.seq))
    ).one()
    if (least, most) != (1, count):
        losses.disorder.add(f"journal: {count} entries from {least} to {most}")
    heard = max(phone.seq or 0 for phone in phones)
    if heard > most:
        losses.disorder.add(f"event {heard} was heard, the last one stored is {most}")


async def run(
    server: Server, phones: list[Witness], database: Database, kinds: list[str]
) -> Losses:
    """One round for each kind of death in ``kinds``."""
    losses = Losses()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        for number, what in enumerate(kinds):
            plan = Plan(number, len(kinds), len(phones))
            acting = asyncio.gather(*(phone.act(http, server.base, plan) for phone in phones))
            arriving = asyncio.create_task(plan.all_here.wait())
            await asyncio.wait([acting, arriving], return_when=asyncio.FIRST_COMPLETED)
            if not plan.all_here.is_set():
                arriving.cancel()
                await acting
                raise RuntimeError("phones left before all were there")
            await asyncio.sleep(random.uniform(*LOADED_S))
            plan.killed = True
            server.kill(what)
            if what == "database":  # phones keep their lines, and are told "later"
                await asyncio.sleep(random.uniform(*LOADED_S))
                plan.over = True
            await asyncio.wait_for(acting, PATIENCE_S)
            await asyncio.to_thread(server.revive, what)
            database.read_now(compare, phones, f"{number}:", losses)
            acknowledged = sum(len(phone.acknowledged) for phone in phones)
            say = f"round {number + 1}/{len(kinds)}: {what} killed, {acknowledged} acknowledged, "
            print(say + f"{len(losses.lost)} lost", file=sys.stderr, flush=True)
        await asyncio.gather(*(phone.finish(http, server.base) for phone in phones))
    database.read_now(compare, phones, "", losses)
    losses.changed = {key for phone in phones for key in phone.changed}
    return losses


def main() -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--phones", type=int, default=200)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=None, help="for the same moments again")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else time.time_ns() % 10**6
    random.seed(seed)
    deaths = ["web", "server"] + (["database"] if options.database == "postgresql" else [])
    kinds = [deaths[number % len(deaths)] for number in range(options.rounds)]
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="diemcau-bench-") as name:
        folder = Path(name)
        with servers.conference(core, options.phones, folder, options.database) as (served, url):
            phones = [
                Witness(number, each["cookie"], each["auth"]["seat"], served.answer)
                for number, each in enumerate(served.phones[1:])
            ]
            server = Server(core, folder, url, served.processes)
            database = Database(url, readers=1)
            try:
                losses = asyncio.run(run(server, phones, database, kinds))
            except TimeoutError:
                log = (folder / "server.log").read_text(errors="replace")
                print(log[-4000:], file=sys.stderr)
                raise
            finally:
                database.close()
                server.stop()
    report(losses, phones, options, seed)
    return int(losses.any())


def report(losses: Losses, phones: list[Witness], options: argparse.Namespace, seed: int) -> None:
    """The line, and on standard error what is wrong."""
    sent = Counter(sent.type for phone in phones for sent, _ in phone.acknowledged.values())
    line = {
        "name": "durability.lost",
        "value": len(losses.lost),
        "unit": "acknowledged commands missing after SIGKILL",
        "peer_value": None,
        "ratio": None,
        "acknowledged": sum(sent.values()),
        "commands": dict(sent),
        "doubled": len(losses.doubled),
        "answered_otherwise": len(losses.changed),
        "disorder": len(losses.disorder),
        "rounds": options.rounds,
        "phones": options.phones,
        "database": options.database,
        "seed": seed,
        "ran_on": f"{platform.platform()}, {os.cpu_count()} cores",
    }
    print(json.dumps(line, ensure_ascii=False), flush=True)
    for name, wrong in vars(losses).items():
        for each in sorted(wrong)[:20]:
            print(f"{name}: {each}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
