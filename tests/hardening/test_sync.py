"""What is acknowledged is on the disk: seen in the system calls of the web process itself."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.simulation.client import SeatClient
from tests.hardening.conference import Made, make_conference
from tests.test_supervisor import Running, until

pytestmark = pytest.mark.alone

WORD = "Cau-hoi-de-do-dia"
CALLS = "pwrite64,write,fsync,fdatasync,sendto,sendmsg"
CANNOT = (
    "strace is missing or may not trace here (ptrace is forbidden?): install the package strace "
    "and allow ptrace, for nothing else shows that writes reach the disk before their answer. "
)


@contextmanager
def traced(pid: int, log: Path) -> Iterator[None]:
    """strace of all threads of a process into ``log``, with the files behind descriptors."""
    program = shutil.which("strace")
    assert program, CANNOT
    command = [program, "-f", "-y", "-s", "4096", "-e", f"trace={CALLS}", "-o", str(log)]
    tracing = subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    try:
        assert tracing.stderr
        said = tracing.stderr.readline()
        assert "attached" in said, CANNOT + said
        yield
    finally:
        tracing.terminate()
        tracing.wait(20)
        if tracing.stderr:
            tracing.stderr.close()


async def ask(running: Running, made: Made, log: Path) -> None:
    """One trainee asks one question while the web process is watched."""
    phone = SeatClient(running.base)
    await phone.open(f"/c/{made.join_code}", {"code": made.codes[0]})
    await phone.connect()
    pid = running.children()["web"]["pid"]
    with traced(pid, log):
        result = await phone.send("question.ask", {"text": WORD})
        assert result["question"] > 0
        time.sleep(0.3)  # strace writes what it has seen
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
    calls = log.read_text(errors="replace").splitlines()
    written = _first(calls, rf"pwrite64\(\d+<[^>]*diemcau\.sqlite3-wal>.*{WORD}", 0)
    synced = _first(calls, r"(fdatasync|fsync)\(\d+<[^>]*diemcau\.sqlite3-wal>", written)
    finished = _finish(calls, synced)
    # A Socket.IO acknowledgement is packet "43" with its id: 4 (message), 3 (ack).
    told = _first(
        calls, r'(sendto|write|sendmsg)\(\d+<(socket|TCP)[^>]*>.*43\d+\[\{\\"ok\\":true', 0
    )
    assert written < synced <= finished < told, "\n".join(calls)


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
