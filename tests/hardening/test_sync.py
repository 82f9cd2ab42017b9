"""What is acknowledged is on the disk: seen in the system calls of those that write and answer."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.db.schema import migrate
from server.simulation.client import SeatClient
from tests.hardening.conference import Made, make_conference
from tests.hardening.test_database_gone import Postgres, database  # noqa: F401
from tests.test_supervisor import Running, until

pytestmark = pytest.mark.alone

WORD = "Cau-hoi-de-do-dia"
CALLS = "pwrite64,pwritev,write,fsync,fdatasync,sendto,sendmsg"
# A Socket.IO acknowledgement is packet "43" with its id: 4 (message), 3 (ack).
TOLD = r'(sendto|write|sendmsg)\(\d+<(socket|TCP)[^>]*>.*43\d+\[\{\\"ok\\":true'
CANNOT = (
    "strace is missing or may not trace here (ptrace is forbidden?): install the package strace "
    "and allow ptrace, for nothing else shows that writes reach the disk before their answer. "
)


@contextmanager
def traced(pids: list[int], log: Path) -> Iterator[None]:
    """strace of all threads of processes into one ``log``, with the files behind descriptors."""
    program = shutil.which("strace")
    assert program, CANNOT
    command = [program, "-f", "-y", "-s", "32768", "-e", f"trace={CALLS}", "-o", str(log)]
    command += [argument for pid in pids for argument in ("-p", str(pid))]
    tracing = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert tracing.stderr
        for _ in pids:
            said = tracing.stderr.readline()
            # One of a database's processes may have ended since they were listed.
            assert "attached" in said or (len(pids) > 2 and "No such process" in said), (
                CANNOT + said
            )
        yield
    finally:
        tracing.terminate()
        tracing.wait(20)
        if tracing.stderr:
            tracing.stderr.close()


async def ask(
    running: Running, made: Made, log: Path, others: Callable[[], list[int]] = list
) -> None:
    """One trainee asks one question while the web process and ``others`` are watched."""
    phone = SeatClient(running.base)
    await phone.open(f"/c/{made.join_code}", {"code": made.codes[0]})
    await phone.connect()
    pid = running.children()["web"]["pid"]
    with traced([pid, *others()], log):
        result = await phone.send("question.ask", {"text": WORD})
        assert result["question"] > 0
        until(lambda: re.search(TOLD, log.read_text(errors="replace")) is not None)
    await phone.close()


def test_a_write_is_synced_before_it_is_acknowledged(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "diemcau.sqlite3"
    shutil.copy(sqlite_template, path)
    made = asyncio.run(make_conference(f"sqlite:///{path}", 1))
    running, log = Running(tmp_path), tmp_path / "calls"
    try:
        until(running.healthy)
        asyncio.run(ask(running, made, log))
    finally:
        assert running.stop() == 0
    _synced_before_told(log, r"diemcau\.sqlite3-wal")


def test_postgresql_syncs_before_it_is_acknowledged(
    database: Postgres, tmp_path: Path  # noqa: F811
) -> None:
    """A process of the database does; which one is its own affair."""
    database.stop()
    database.start(fsync="on")
    migrate(database.url)
    made = asyncio.run(make_conference(database.url, 1))
    running, log = Running(tmp_path, DIEMCAU_DATABASE_URL=database.url), tmp_path / "calls"
    try:
        until(running.healthy)
        asyncio.run(ask(running, made, log, database.processes))
    finally:
        assert running.stop() == 0
    _synced_before_told(log, r"pg_wal/[0-9A-F]{24}")


def _synced_before_told(log: Path, file: str) -> None:
    """The question goes into ``file``, which is synced, and only then is it acknowledged."""
    calls = log.read_text(errors="replace").splitlines()
    written = _first(calls, rf"pwrite(64|v)\(\d+<[^>]*{file}>.*{WORD}", 0)
    synced = _first(calls, rf"(fdatasync|fsync)\(\d+<[^>]*{file}>", written)
    finished = _finish(calls, synced)
    told = _first(calls, TOLD, 0)
    assert written < synced <= finished < told, "\n".join(line[:300] for line in calls)


def _first(calls: list[str], pattern: str, since: int) -> int:
    found = [n for n, line in enumerate(calls) if n >= since and re.search(pattern, line)]
    assert found, f"no {pattern} in:\n" + "\n".join(line[:300] for line in calls)
    return found[0]


def _finish(calls: list[str], begun: int) -> int:
    """Where a call returned: its own line, or that of its thread's ``resumed``."""
    if "unfinished" not in calls[begun]:
        assert calls[begun].rstrip().endswith("= 0"), calls[begun]
        return begun
    thread = calls[begun].split()[0]
    end = _first(calls, rf"^{thread}\s+<\.\.\. (fdatasync|fsync) resumed>", begun)
    assert calls[end].rstrip().endswith("= 0"), calls[end]
    return end
