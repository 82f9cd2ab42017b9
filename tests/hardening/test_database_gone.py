"""PostgreSQL is stopped in the middle of a conference and started again: the whole server, real
phones. ``DATABASE_GONE_S=30`` makes the long form."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from server.db.engine import Database
from server.db.journal import JournalEntry
from server.db.schema import migrate
from server.questions.models import Question
from server.simulation.client import Refused, SeatClient
from tests.conftest import _postgres_binary, _unprivileged, _wait_for
from tests.hardening.conference import Bridge, Made, make_conference
from tests.test_supervisor import Running, until

pytestmark = pytest.mark.alone

GONE_S = float(os.environ.get("DATABASE_GONE_S", "1"))
PHONES = 6
PATIENCE_S = 60.0


class Postgres:
    """A server of our own, durable, that can be stopped and started."""

    def __init__(self, folder: Path, data: Path | None = None, log: Path | None = None) -> None:
        """``folder`` has its socket, and its ``data`` and the ``log`` of these where no other is named."""
        self._folder, self._data = folder, data or folder / "data"
        self.url = f"postgresql://postgres@/postgres?host={folder}"
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        elsewhere = [] if log is None else [f"--waldir={log}", "--wal-segsize=1"]
        self._run("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", *elsewhere)

    def start(self, fsync: str = "off") -> None:
        """Until it serves."""
        options = f"-k {self._folder} -c listen_addresses= -c autovacuum=off -c fsync={fsync}"
        self._run("pg_ctl", "start", "-w", "-o", options, "-l", str(self._folder / "log"))
        _wait_for(self.url)

    def stop(self, how: str = "immediate") -> None:
        """As a crash: nobody is told, nothing is finished."""
        self._run("pg_ctl", "stop", "-m", how)

    def runs(self) -> bool:
        """Whether it is there: without a disk for its log it ends itself."""
        command = [*_unprivileged(), _postgres_binary("pg_ctl"), "-D", str(self._data), "status"]
        return subprocess.run(command, stdout=subprocess.DEVNULL, cwd="/tmp").returncode == 0

    def processes(self) -> list[int]:
        """The one that starts the others, and these."""
        first = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def _run(self, program: str, *arguments: str) -> None:
        command = [*_unprivileged(), _postgres_binary(program), "-D", str(self._data), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/tmp")


@pytest.fixture
def database() -> Iterator[Postgres]:
    # A short path: a Unix socket's name has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="dcg-", ignore_cleanup_errors=True) as folder:
        database = Postgres(Path(folder))
        database.start()
        yield database
        database.stop()


class Asker:
    """A phone that asks one question, by the same key until it is answered."""

    def __init__(self, phone: SeatClient, number: int) -> None:
        self.phone, self.number = phone, number
        self.refusals: Counter[str] = Counter()
        self.answer: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        return f"Câu hỏi {self.number}"

    async def ask(self) -> None:
        async with asyncio.timeout(GONE_S + PATIENCE_S):
            while self.answer is None:
                try:
                    self.answer = await self.send()
                except Refused as refused:
                    self.refusals[refused.code] += 1
                    await asyncio.sleep(0.5)

    async def send(self) -> dict[str, Any]:
        return await self.phone.send("question.ask", {"text": self.text}, key="asked once")


async def test_postgresql_is_gone_and_comes_back(database: Postgres, tmp_path: Path) -> None:
    migrate(database.url)
    made = await make_conference(database.url, PHONES)
    running = Running(tmp_path, DIEMCAU_DATABASE_URL=database.url)
    try:
        until(running.healthy)
        bridge = Bridge(running, made)
        askers = [Asker(await bridge.phone(), number) for number in range(PHONES)]
        first = askers[0]
        await first.ask()

        database.stop()
        asking = asyncio.gather(*(asker.ask() for asker in askers[1:]))
        again = asyncio.create_task(_retried(first))
        await asyncio.sleep(GONE_S)
        async with asyncio.timeout(PATIENCE_S):
            while not all(asker.refusals for asker in askers[1:]):
                await asyncio.sleep(0.05)
        assert running.get("/healthz")[0] == 503
        assert not asking.done(), "nothing is acknowledged that is not stored"
        database.start()
        await asking
        assert await again == first.answer, "the first answer, not another question"
        assert all(set(asker.refusals) == {"unavailable"} for asker in askers[1:]), "later"

        until(running.healthy)
        assert await askers[1].send() == askers[1].answer
        for asker in askers:  # nobody had to come back: events go on
            await _hears(asker.phone, made, database)
        assert [child["restarts"] for child in running.children().values()] == [0, 0, 0]
        await asyncio.gather(*(asker.phone.close() for asker in askers))
    finally:
        running.stop()
    _nothing_is_lost_or_twice(database, made, askers)
    log = running.log.read_text(errors="replace")
    assert "inbox.database_away" in log and "inbox.database_back" in log
    assert "Traceback" not in log and '"exception"' not in log


async def _retried(asker: Asker) -> dict[str, Any]:
    """Its answer once more, when there is one again."""
    retry = Asker(asker.phone, asker.number)
    await retry.ask()
    assert retry.answer is not None
    return retry.answer


async def _hears(phone: SeatClient, made: Made, database: Postgres) -> None:
    """Its own answer to the quiz comes to it as an event."""
    item = phone.state["runs"][str(made.run)]["item"]
    await phone.send("activity.answer", {"run": made.run, "item": item, "option": 1}, key="quiz")
    async with asyncio.timeout(PATIENCE_S):
        while phone.state["responses"].get(str(item), {}).get("option") != 1:
            await asyncio.sleep(0.05)


def _nothing_is_lost_or_twice(postgres: Postgres, made: Made, askers: list[Asker]) -> None:
    database = Database(postgres.url, readers=1)
    with database.read_session() as session:
        texts = {row.id: row.text for row in session.execute(select(Question.id, Question.text))}
        query = select(JournalEntry.seq).where(JournalEntry.conference_id == made.conference_id)
        seqs = list(session.scalars(query.order_by(JournalEntry.seq)))
    database.close()
    assert texts == {asker.answer["question"]: asker.text for asker in askers if asker.answer}
    assert len(texts) == len(askers) and seqs == list(range(1, len(seqs) + 1))
