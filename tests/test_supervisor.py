"""The real server: sockets, children, restarts, the end; and the command line around it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from server.supervisor import PortInUse, listen_media

pytestmark = pytest.mark.long

PATIENCE_S = 60.0


class Running:
    """``diemcau serve`` as a process."""

    def __init__(
        self, folder: Path, *arguments: str, within: Sequence[str] = (), **environ: str
    ) -> None:
        """``within``: a command that starts the server's by exec."""
        self.folder = folder
        self.log = folder / "serve.log"
        self.process = subprocess.Popen(
            [
                *within,
                sys.executable,
                "-m",
                "server",
                "serve",
                "--port",
                "0",
                "--media-port",
                "0",
                *arguments,
            ],
            env=environment(folder) | environ,
            stdout=subprocess.PIPE,
            stderr=self.log.open("wb"),
            text=True,
        )
        assert self.process.stdout
        self.base = self.process.stdout.readline().strip()

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of an answer; 0 where there is none."""
        try:
            with urllib.request.urlopen(self.base + path, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def healthy(self) -> bool:
        return self.get("/healthz")[0] == 200

    def children(self) -> dict[str, dict[str, Any]]:
        """What the supervisor writes about its children."""
        web = next(
            Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            for pid in self._child_pids()
            if b"server.app" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        runtime = web[web.index(b"--runtime") + 1].decode()
        held: dict[str, dict[str, Any]] = json.loads(Path(runtime, "children.json").read_text())
        return held

    def _child_pids(self) -> list[str]:
        pid = self.process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and await the end."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        assert self.process.stdout
        self.process.stdout.close()
        return code


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"DIEMCAU_DATA_DIR": str(folder), "DIEMCAU_LOG_FORMAT": "json"}


def until(happens: Callable[[], bool]) -> None:
    """Wait for something to happen, within generous limits."""
    deadline = time.monotonic() + PATIENCE_S
    while not happens():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except FileNotFoundError:
        return False


@pytest.fixture
def folder(tmp_path: Path, sqlite_template: Path) -> Path:
    """A data folder with a migrated database."""
    shutil.copy(sqlite_template, tmp_path / "diemcau.sqlite3")
    return tmp_path


@pytest.fixture
def running(folder: Path) -> Iterator[Running]:
    """A healthy server."""
    made = Running(folder)
    try:
        until(made.healthy)
        yield made
    finally:
        if made.process.poll() is None:
            made.stop()


def test_every_child_that_is_killed_comes_back_on_the_same_sockets(running: Running) -> None:
    before = running.children()
    assert set(before) == {"web", "worker-0", "recorder-0"}
    for name in ("web", "worker-0", "recorder-0"):
        os.kill(before[name]["pid"], signal.SIGKILL)

    def back() -> bool:
        if not running.healthy():
            return False
        now = running.children()
        return all(c["restarts"] == 1 and c["pid"] != before[n]["pid"] for n, c in now.items())

    until(back)
    assert 'diemcau_child_restarts{child="worker-0"} 1.0' in running.get("/metrics")[1]


def test_an_orderly_end_leaves_nothing_behind(running: Running) -> None:
    pids = [child["pid"] for child in running.children().values()]
    assert running.stop(signal.SIGINT) == 0
    assert not any(map(alive, pids))
    host, port = running.base.removeprefix("http://").split(":")
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((host, int(port)))
    log = running.log.read_text()
    assert "Traceback" not in log and "killed" not in log


def test_children_end_with_a_supervisor_that_is_killed(running: Running) -> None:
    pids = [child["pid"] for child in running.children().values()]
    assert running.stop(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not any(map(alive, pids)))


def diemcau(folder: Path, *arguments: str, given: str = "", **environ: str) -> Any:
    """One command, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        env=environment(folder) | environ,
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize("option", ["--port", "--media-port"])
def test_a_port_in_use_is_said_clearly(folder: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ports = {"--port": "0", "--media-port": "0", option: port}
        ended = diemcau(folder, "serve", *(word for pair in ports.items() for word in pair))
    assert ended.returncode == 2
    assert port in ended.stderr and f"chọn cổng khác bằng {option}." in ended.stderr
    assert "Traceback" not in ended.stderr and "Address" not in ended.stderr


def test_mistakes_of_configuration_end_with_one_sentence(folder: Path) -> None:
    ended = diemcau(folder, "serve", DIEMCAU_MEDIA_PROT="1")
    assert ended.returncode == 2 and "DIEMCAU_MEDIA_PORT" in ended.stderr
    ended = diemcau(folder, "serve", DIEMCAU_DATABASE_URL="mysql://x/y")
    assert ended.returncode == 1 and "PostgreSQL" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_upkeep(tmp_path: Path) -> None:
    ended = diemcau(tmp_path, "create-user", "thu", given="mật khẩu đủ dài\n")
    assert ended.returncode == 1 and "diemcau migrate" in ended.stderr
    assert diemcau(tmp_path, "migrate").returncode == 0
    ended = diemcau(tmp_path, "create-user", "thu", given="ngắn\n")
    assert ended.returncode == 1 and "10" in ended.stderr
    ended = diemcau(tmp_path, "create-user", "thu", "--organiser", given="mật khẩu đủ dài\n")
    assert ended.returncode == 0 and "thu" in ended.stdout
    ended = diemcau(tmp_path, "token", "khong-co", "--role", "viewer")
    assert ended.returncode == 1 and "khong-co" in ended.stderr
    secret = (tmp_path / "secret_key").read_text()
    ended = diemcau(tmp_path, "doctor", DIEMCAU_PORT="0", DIEMCAU_MEDIA_PORT="0")
    assert "DIEMCAU_PORT = 0" in ended.stdout and secret not in ended.stdout
    (tmp_path / "secret_key").chmod(0o644)
    ended = diemcau(tmp_path, "doctor", DIEMCAU_PORT="0", DIEMCAU_MEDIA_PORT="0")
    assert ended.returncode == 1 and "chmod 600" in ended.stdout


def test_a_doctor_makes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "nothing" / "yet"
    ended = diemcau(folder, "doctor", DIEMCAU_PORT="0", DIEMCAU_MEDIA_PORT="0")
    assert ended.returncode == 1 and "Chưa có cơ sở dữ liệu" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_workers_sockets_have_one_number() -> None:
    udp, tcp = listen_media("127.0.0.1", 0)
    with udp, tcp:
        port = udp.getsockname()[1]
        assert tcp.getsockname()[1] == port
        with pytest.raises(PortInUse, match=str(port)):
            listen_media("127.0.0.1", port)
