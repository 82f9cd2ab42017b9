"""The servers that are compared, each as processes of its own on one core, and what they use."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from server import config as configuration
from server.activities.models import Run
from server.conferences import joining
from server.conferences.models import AgendaItem, Conference, RosterEntry, Site
from server.db.engine import Database
from server.db.schema import migrate
from server.inbox import Inbox
from server.people.models import Account, Person
from server.people.seats import open_seat
from server.permissions import Actor, Role
from server.protocol import CreateActivity, LaunchActivity, QuizItem
from server.simulation import demo

HERE = Path(__file__).parent
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 60.0
LOG, LOG_LINES = "server.log", 40


@dataclass
class Processes:
    """A server's processes, and what they use."""

    processes: list[subprocess.Popen[str]]

    def pids(self) -> list[int]:
        """Of all processes that the work needs."""
        return [pid for process in self.processes for pid in _tree(process.pid)]

    def cpu_s(self) -> float:
        """CPU time that they have used, user and system."""
        return sum(map(_cpu_s, self.pids()))

    def memory_kb(self) -> int:
        """What they have allocated: anonymous pages. Those of libraries are shared with whatever
        else the machine runs, which comes and goes meanwhile."""
        return sum(map(_memory_kb, self.pids()))


@dataclass
class Served(Processes):
    """A server of phones to connect to."""

    port: int
    ready: str
    """the packet by which a phone knows that it has joined"""
    phones: list[dict[str, Any]]
    """how each connects; the first one is the conductor"""
    broadcast: str
    """type of the command that tells all something"""
    payloads: list[Any]
    """of that command, in turn"""
    marker: str
    """what is once in each packet that it brings"""
    answer: dict[str, Any] = field(default_factory=dict)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from _tree(int(child))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _memory_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def place(core: int, *, realtime: bool = False) -> None:
    """Of the calling process: its core; ``realtime`` before all else that the machine does."""
    os.sched_setaffinity(0, {core})
    if realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for a server; the end of its log is shown where what is done there fails."""
    with tempfile.TemporaryDirectory(prefix="diemcau-bench-") as folder:
        try:
            yield Path(folder)
        except BaseException:
            log = Path(folder, LOG)
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            print(*lines[-LOG_LINES:], sep="\n", file=sys.stderr, flush=True)
            raise


def start(
    command: list[str], core: int | None, folder: Path, *, realtime: bool = False, **environ: str
) -> subprocess.Popen[str]:
    """Start a process on ``core``, or on all where that is None."""
    return subprocess.Popen(
        command,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=(folder / LOG).open("ab"),
        text=True,
        preexec_fn=None if core is None else lambda: place(core, realtime=realtime),
    )


def stop(process: subprocess.Popen[str], patience_s: float = PATIENCE_S) -> None:
    """End it, by force where that takes long; why one stops is not hidden by that."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        print(f"pid {process.pid} did not end within {patience_s:.0f} s: killed", file=sys.stderr)
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def peer(core: int, phones: int, folder: Path) -> Iterator[Served]:
    """Node.js with Socket.IO from npm."""
    process = start(["node", str(HERE / "peer.mjs")], core, folder)
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        told = {"seq": 1, "at": "2026-01-01T00:00:00Z", "type": "bench-mark", "data": "x" * 210}
        everyone: list[dict[str, Any]] = [{} for _ in range(phones + 1)]
        yield Served([process], port, "40", everyone, "broadcast", [[told]], told["type"], {})
    finally:
        stop(process)


@contextmanager
def ours(core: int, phones: int, folder: Path, database: str = "sqlite") -> Iterator[Served]:
    """``diemcau serve`` with the reference conference: real seats, real rights, on disk."""
    with conference(core, phones, folder, database) as (served, url):
        process, served.port = serve(core, folder, url)
        served.processes.insert(0, process)
        try:
            yield served
        finally:
            stop(process)


def serve(core: int, folder: Path, url: str, port: int = 0) -> tuple[subprocess.Popen[str], int]:
    """``diemcau serve``, healthy; the supervisor's process and the port."""
    command = [sys.executable, "-m", "server", "serve", "--port", str(port), "--media-port", "0"]
    environ = {
        "DIEMCAU_DATA_DIR": str(folder),
        "DIEMCAU_DATABASE_URL": url,
        "DIEMCAU_LOG_LEVEL": "warning",
    }
    process = start(command, core, folder, **environ)
    try:
        assert process.stdout is not None
        base = process.stdout.readline().strip()
        await_health(base)
    except BaseException:
        stop(process)
        raise
    return process, urlsplit(base).port or 0


@contextmanager
def conference(core: int, phones: int, folder: Path, database: str) -> Iterator[tuple[Served, str]]:
    """The reference conference in a database, whose processes run: seats to connect to, and the
    database's URL. Nobody serves it yet."""
    with postgres(core, folder) if database == "postgresql" else _no_process() as (url, extra):
        config = configuration.load({}, data_dir=folder)
        config = config.with_(database_url=url) if url else config
        migrate(config.database_url)
        asyncio.run(demo.load(config, 1))
        served = asyncio.run(_seats(config.database_url, phones))
        served.processes = extra
        yield served, config.database_url


@contextmanager
def _no_process() -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    yield "", []


@contextmanager
def postgres(core: int, folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """A PostgreSQL as its package configures it, durable, on a Unix socket."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    programs = found[-1] if found else Path(shutil.which("postgres") or "postgres").parent
    data, run = folder / "pg", []
    folder.chmod(0o755)
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(data, "postgres")
        run = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    initdb = [str(programs / "initdb"), "-D", str(data / "d"), "-A", "trust", "-U", "postgres"]
    subprocess.run([*run, *initdb, "-E", "UTF8"], check=True, stdout=subprocess.DEVNULL, cwd="/")
    options = ["-k", str(data), "-c", "listen_addresses="]
    process = start(
        [*run, str(programs / "postgres"), "-D", str(data / "d"), *options], core, folder
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not list(data.glob(".s.PGSQL.5432")):
            if time.monotonic() > deadline:
                raise TimeoutError("PostgreSQL does not start")
            time.sleep(0.1)
        time.sleep(0.5)
        yield f"postgresql://postgres@/postgres?host={data}", [process]
    finally:
        stop(process)


def await_health(base: str) -> None:
    """Until it serves. Raises: TimeoutError with what it says instead."""
    deadline, said = time.monotonic() + PATIENCE_S, "nothing"
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{base}/healthz", timeout=5):
                return
        except urllib.error.HTTPError as error:
            said = error.read().decode()
        except OSError as error:
            said = str(error)
        time.sleep(0.1)
    raise TimeoutError(f"the server does not become healthy: {said}")


async def _seats(url: str, phones: int) -> Served:
    """Phones bound to people of the roster, an organiser who conducts, and an open quiz item."""
    database = Database(url, readers=1)
    inbox = Inbox(database)
    inbox.start()
    try:
        conference, organiser, seats = await inbox.transact(lambda s: _open_seats(s, phones))
        actor = Actor("bench", Role.ORGANISER, conference.id, account_id=organiser)
        item = QuizItem(text="Hai cộng hai?", options=("Ba", "Bốn"), correct=1, seconds=3600)
        quiz = await inbox.submit(actor, CreateActivity(title="Nhanh", items=(item,)))
        run = await inbox.submit(actor, LaunchActivity(activity=quiz["activity"]))
        opened = await inbox.transact(lambda s: s.get_one(Run, run["run"]))
        items = select(AgendaItem.id).order_by(AgendaItem.position).limit(2)
        agenda = await inbox.transact(lambda s: s.scalars(items).all())
    finally:
        await inbox.stop()
        database.close()
    clients = [
        {"cookie": f"seat_{seat}={secret}", "auth": {"seat": seat, "since": None}}
        for seat, secret in seats
    ]
    payloads = [{"item": item} for item in agenda]
    answer = {"run": opened.id, "item": opened.item_id, "option": 0}
    return Served([], 0, '42["snapshot"', clients, "agenda.start", payloads, "agenda.moved", answer)


def _open_seats(session: Session, phones: int) -> tuple[Conference, int, list[tuple[str, str]]]:
    now = datetime.now(UTC)
    conference = session.scalars(select(Conference)).one()
    organiser = session.scalars(select(Account.id).where(Account.is_organiser)).first()
    assert organiser is not None
    conductor, secret = open_seat(session, Role.ORGANISER, conference.id, now, account_id=organiser)
    seats = [(conductor.id, secret)]
    codes = list(session.scalars(select(Person.code).limit(phones)))
    codes += _more_people(session, conference.id, phones - len(codes))
    for code in codes:
        seat, secret = joining.join_by_code(
            session, conference.join_code, code, f"phone {code}", now
        )
        seats.append((seat.id, secret))
    return conference, organiser, seats


def _more_people(session: Session, conference_id: int, count: int) -> list[str]:
    """Codes of people beyond the reference conference's roster, spread over its sites."""
    if count <= 0:
        return []
    sites = session.scalars(select(Site.id).where(Site.conference_id == conference_id)).all()
    people = [
        Person(
            code=f"THEM{number:06}",
            name=f"Người thứ {number}",
            sort_name=f"{number:06}",
            search_name=f"nguoi thu {number}",
            post="",
            group="",
        )
        for number in range(count)
    ]
    session.add_all(people)
    session.flush()
    for number, person in enumerate(people):
        site = sites[number % len(sites)]
        session.add(RosterEntry(conference_id=conference_id, person_id=person.id, site_id=site))
    session.flush()
    return [person.code for person in people]
