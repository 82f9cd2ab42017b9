"""The disk is full in the middle of a conference: SQLite's, that of PostgreSQL's tables, that of its log.

A real file system that is really full (a tmpfs in a name space of its own), the whole server, real
phones. What is not stored is refused in words; who reads goes on where the database does.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import socketio.exceptions
from sqlalchemy import select

from server.activities.models import Response
from server.db.engine import Database
from server.db.journal import JournalEntry
from server.db.receipts import Receipts, opened
from server.db.schema import migrate
from server.questions.models import Question
from server.simulation.client import Refused, SeatClient
from tests.hardening.conference import Bridge, Made, make_conference
from tests.hardening.test_database_gone import Postgres
from tests.test_supervisor import Running, until

pytestmark = pytest.mark.alone

MOST_ANSWERS = 3000
"""What is left of the files that are there already is used up by fewer."""
BEFORE = "Trước khi đầy"


def fill(ballast: Path) -> None:
    """Until there is no room (ENOSPC)."""
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError) as full:
        while True:
            file.write(b"\0" * 4096)
    assert full.value.errno == 28


def item_of(phone: SeatClient, made: Made) -> int:
    item: int = phone.state["runs"][str(made.run)]["item"]
    return item


async def retried(phone: SeatClient, key: str, text: str, first: object) -> str:
    try:
        return "same" if await phone.send("question.ask", {"text": text}, key=key) == first else "?"
    except Refused as refused:
        return refused.code


async def until_taken(phone: SeatClient, choice: dict[str, int], key: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            await phone.send("activity.answer", choice, key=key)
            return
        except (Refused, socketio.exceptions.SocketIOError):
            assert time.monotonic() < deadline, "there is room, but nothing is taken"
            await asyncio.sleep(0.2)


async def test_the_disk_is_full_at_the_commit(tmp_path: Path, sqlite_template: Path) -> None:
    """That of SQLite, in a name space of the server's own."""
    template = tmp_path / "made.sqlite3"
    shutil.copy(sqlite_template, template)
    made = await make_conference(f"sqlite:///{template}", 2)
    disk = tmp_path / "disk"
    disk.mkdir()
    space = ["unshare", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]
    mount = 'mount -t tmpfs -o size=16m none "$0" && cp "$1" "$0/d.db" && shift && exec "$@"'
    within = [*space, "sh", "-c", mount, str(disk), str(template)]
    running = Running(tmp_path, within=within, DIEMCAU_DATABASE_URL=f"sqlite:///{disk / 'd.db'}")
    try:
        until(running.healthy)
        bridge = Bridge(running, made)
        phone = await bridge.phone()
        first = await phone.send("question.ask", {"text": BEFORE}, key="first")
        inside = Path(f"/proc/{running.process.pid}/root{disk}")
        assert (inside / "d.db").exists() and not (disk / "d.db").exists(), "a disk of its own"
        fill(inside / "ballast")
        with pytest.raises(Refused) as refused:
            for number in range(300):  # what the log of SQLite had left is used up soon
                choice = {"run": made.run, "item": item_of(phone, made), "option": number % 2}
                await phone.send("activity.answer", choice, key=f"answer {number}")
        assert refused.value.code == "unavailable", "send it again later"
        assert running.get("/")[0] == 200, "who reads sees no harm"
        assert await retried(phone, "first", BEFORE, first) in ("unavailable", "same")
        (inside / "ballast").unlink()
        again = {"run": made.run, "item": item_of(phone, made), "option": number % 2}
        await until_taken(phone, again, f"answer {number}")
        assert await retried(phone, "first", BEFORE, first) == "same"
        await phone.close()
        shutil.copy(inside / "d.db", tmp_path / "after.db")
        shutil.copy(inside / "d.db-wal", tmp_path / "after.db-wal")
    finally:
        running.stop()
    database = sqlite3.connect(tmp_path / "after.db")
    assert database.execute("SELECT text FROM questions").fetchall() == [(BEFORE,)]
    options = database.execute("SELECT option FROM responses").fetchall()
    assert options == [(number % 2,)]
    database.close()
    _said(running)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, as PostgreSQL's user sees it; it goes with the process that holds it."""
    disk = folder / "disk"
    disk.mkdir()
    space = ["unshare", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]
    mount = (
        f'mount -t tmpfs -o size={size},mode=777 none "$0" && echo mounted && shift && exec "$@"'
    )
    user = (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        if os.geteuid() == 0
        else []
    )
    command = [*space, "sh", "-c", mount, str(disk), "", *user, "sleep", "infinity"]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "mounted\n"
        inside = Path(f"/proc/{holder.pid}/root{disk}")
        until(lambda: Path(f"/proc/{holder.pid}/comm").read_text() == "sleep\n")
        assert inside.stat().st_dev != disk.stat().st_dev
        yield inside
    finally:
        holder.kill()
        holder.wait()


@pytest.fixture
def folder() -> Iterator[Path]:
    # A short path: a Unix socket's name has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="dcf-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def tables(folder: Path) -> Iterator[tuple[Postgres, Path]]:
    """A database whose tables lie on a small disk, which is the second, and its log elsewhere."""
    with small_disk(folder, "96m") as disk:
        database = Postgres(folder, data=disk / "data", log=folder / "wal")
        database.start()
        yield database, disk
        database.stop()


@pytest.fixture
def log(folder: Path) -> Iterator[tuple[Postgres, Path]]:
    """The other way round. Without room for its log PostgreSQL ends itself."""
    with small_disk(folder, "16m") as disk:
        database = Postgres(folder, log=disk / "wal")
        database.start()
        yield database, disk
        with suppress(subprocess.CalledProcessError):
            database.stop()


class Answers:
    """A phone that answers over and over until it is refused."""

    def __init__(self, phone: SeatClient, made: Made) -> None:
        self.phone, self.made = phone, made
        self.number = 0
        self.refused: Refused | None = None

    @property
    def choice(self) -> dict[str, int]:
        """What the last one chose."""
        item = item_of(self.phone, self.made)
        return {"run": self.made.run, "item": item, "option": self.number % 2}

    @property
    def key(self) -> str:
        return f"answer {self.number}"

    async def until_refused(self) -> Refused:
        for self.number in range(MOST_ANSWERS):
            try:
                await self.phone.send("activity.answer", self.choice, key=self.key)
            except Refused as refused:
                return refused
        raise AssertionError("there is still room")


@asynccontextmanager
async def _serving(database: Postgres, folder: Path) -> AsyncIterator[tuple[Running, Made, Bridge]]:
    """A server with a conference that is open, until the end of the block."""
    migrate(database.url)
    made = await make_conference(database.url, 3)
    running = Running(folder, DIEMCAU_DATABASE_URL=database.url)
    try:
        until(running.healthy)
        yield running, made, Bridge(running, made)
    finally:
        running.stop()


async def test_the_disk_of_the_tables_is_full(
    tables: tuple[Postgres, Path], tmp_path: Path
) -> None:
    database, disk = tables
    async with _serving(database, tmp_path) as (running, made, bridge):
        phone, other = await bridge.phone(), await bridge.phone()
        first = await phone.send("question.ask", {"text": BEFORE}, key="first")
        fill(disk / "ballast")
        answers = Answers(phone, made)
        refused = await answers.until_refused()
        assert refused.code == "unavailable" and "thử lại" in str(refused)
        assert await retried(phone, "first", BEFORE, first) in ("unavailable", "same")
        assert running.get("/healthz")[0] == 503
        # Who reads sees no harm: a page that comes back has all that it may see.
        await other.connect()
        assert other.state["runs"][str(made.run)]["item"] == item_of(phone, made)

        (disk / "ballast").unlink()
        await until_taken(phone, answers.choice, answers.key)
        assert await retried(phone, "first", BEFORE, first) == "same"
        until(running.healthy)
        for each in (phone, other):
            await each.close()
    _nothing_is_lost(database, made, answers, first)
    _said(running)


async def test_the_disk_of_the_log_is_full(log: tuple[Postgres, Path], tmp_path: Path) -> None:
    database, disk = log
    async with _serving(database, tmp_path) as (running, made, bridge):
        phone = await bridge.phone()
        first = await phone.send("question.ask", {"text": BEFORE}, key="first")
        fill(disk / "ballast")
        answers = Answers(phone, made)
        answering = asyncio.create_task(answers.until_refused())
        await asyncio.to_thread(_fill_log, database)
        refused = await answering
        assert refused.code == "unavailable" and "thử lại" in str(refused)
        assert await retried(phone, "first", BEFORE, first) == "unavailable"
        assert running.get("/")[0] == 200
        assert running.get("/healthz")[0] == 503

        (disk / "ballast").unlink()
        database.start()  # as its service does by itself
        await until_taken(phone, answers.choice, answers.key)
        assert await retried(phone, "first", BEFORE, first) == "same"
        until(running.healthy)
        await phone.close()
    _nothing_is_lost(database, made, answers, first)
    _said(running)


def _fill_log(postgres: Postgres) -> None:
    """What others write into it, until PostgreSQL has given up: a phone's answers are small."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with psycopg.connect(postgres.url, autocommit=True) as connection:
                connection.execute("SELECT pg_logical_emit_message(false, '', repeat('x', 200000))")
        except psycopg.OperationalError:
            if not postgres.runs():
                return
    raise AssertionError("its log still has room")


def _nothing_is_lost(postgres: Postgres, made: Made, answers: Answers, first: Any) -> None:
    """Every answer that was acknowledged has its receipt, the last one is the choice that counts."""
    database = Database(postgres.url, readers=1)
    with database.read_session() as session:
        rows = session.scalars(select(Receipts.kept)).all()
        questions = session.execute(select(Question.id, Question.text)).all()
        options = session.scalars(select(Response.option)).all()
        query = select(JournalEntry.seq).where(JournalEntry.conference_id == made.conference_id)
        seqs = list(session.scalars(query.order_by(JournalEntry.seq)))
    database.close()
    keys = {receipt.key for row in rows for receipt in opened(row).values()}
    assert {key for key in keys if key.startswith("answer ")} == {
        f"answer {number}" for number in range(answers.number + 1)
    }
    assert questions == [(first["question"], BEFORE)] and options == [answers.choice["option"]]
    assert seqs == list(range(1, len(seqs) + 1))


def _said(running: Running) -> None:
    log = running.log.read_text(errors="replace")
    assert "Traceback" not in log and '"exception"' not in log
    assert "inbox.database_away" in log and "inbox.database_back" in log
