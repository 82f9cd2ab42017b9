"""Bad input to the whole server: a clear answer, nothing changed by half, no process down."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.config import Config
from server.simulation import demo
from server.simulation.client import Refused, SeatClient
from server.supervisor import PortInUse
from tests.hardening.conference import Made, make_conference
from tests.test_supervisor import Running, diemcau, until

pytestmark = pytest.mark.alone


def one_sentence(ended: Any, code: int, *words: str) -> None:
    """The command was refused for people, not with a traceback."""
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr and ended.stdout == ""
    assert ended.stderr.startswith("diemcau: ") and len(ended.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in ended.stderr, ended.stderr


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ("--port", socket.SOCK_STREAM),
        ("--media-port", socket.SOCK_DGRAM),
        ("--media-port", socket.SOCK_STREAM),
    ],
)
def test_a_demo_on_a_port_in_use_leaves_nothing_behind(
    tmp_path: Path, option: str, kind: socket.SocketKind
) -> None:
    place = tmp_path / "t"
    place.mkdir()
    free = {"--port": "0", "--media-port": "0"}
    with socket.socket(type=kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        port = str(taken.getsockname()[1])
        words = [word for pair in (free | {option: port}).items() for word in pair]
        ended = diemcau(tmp_path, "demo", *words, TMPDIR=str(place))
    one_sentence(ended, 2, port, f"chọn cổng khác bằng {option}")
    assert not list(place.iterdir())


def test_a_demo_takes_its_ports_before_it_loads_anything(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = Config(
            data_dir=tmp_path,
            database_url="postgresql://127.0.0.1:1/nobody-there",
            secret_key="k" * 40,
            recordings_dir=tmp_path,
            port=taken.getsockname()[1],
        )
        with pytest.raises(PortInUse):
            demo.run(config, argparse.Namespace(simulate=1))


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_newer_database_is_refused_and_left_alone(
    tmp_path: Path, sqlite_template: Path, command: str
) -> None:
    path = tmp_path / "diemcau.sqlite3"
    shutil.copy(sqlite_template, path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    arguments = ["--port", "0", "--media-port", "0"] if command == "serve" else []
    one_sentence(diemcau(tmp_path, command, *arguments), 1, "phiên bản mới hơn", "9999")
    database = sqlite3.connect(path)
    assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://nobody:matkhau@127.0.0.1:1/diemcau",
        "sqlite:////khong/co/thu-muc/nay.sqlite3",
        "sqlite:///{folder}/not-a-database",
    ],
)
def test_a_database_that_cannot_be_used(tmp_path: Path, url: str) -> None:
    (tmp_path / "not-a-database").write_bytes(b"Excel, perhaps?" * 1000)
    place = url.format(folder=tmp_path)
    arguments = ["serve", "--port", "0", "--media-port", "0"]
    ended = diemcau(tmp_path, *arguments, DIEMCAU_DATABASE_URL=place)
    one_sentence(ended, 1, "cơ sở dữ liệu")
    assert "matkhau" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DIEMCAU_PROT", "8000"),
        ("DIEMCAU_PORT", "tám nghìn"),
        ("DIEMCAU_PORT", "65536"),
        ("DIEMCAU_SHUTDOWN_TIMEOUT", "soon"),
        ("DIEMCAU_UPLOAD_LIMIT", "20 stones"),
        ("DIEMCAU_CONFIG", "/khong/co.toml"),
        ("DIEMCAU_TLS_CERT", "/khong/co.pem"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    ended = diemcau(tmp_path, "serve", **{name: value})
    one_sentence(ended, 2, name)


# --- a running server ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path
) -> Iterator[tuple[Running, Made]]:
    """A real server; in the end no process of it has died or met what it did not expect."""
    folder = tmp_path_factory.mktemp("bad")
    path = folder / "diemcau.sqlite3"
    shutil.copy(sqlite_template, path)
    made = asyncio.run(make_conference(f"sqlite:///{path}", 3))
    running = Running(folder)
    try:
        until(running.healthy)
        yield running, made
        assert running.healthy()
        assert [child["restarts"] for child in running.children().values()] == [0, 0, 0]
    finally:
        if running.process.poll() is None:
            running.stop()
    unexpected = [line for line in _errors(running.log) if not _libraries(line)]
    assert not unexpected, unexpected


def _errors(log: Path) -> Iterator[dict[str, Any]]:
    """The log's lines that tell of an exception."""
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith('{"') and "exception" in (said := json.loads(line)):
            yield said


def _libraries(said: dict[str, Any]) -> bool:
    """aiohttp logs what is no HTTP before any code of ours."""
    return said.get("logger") == "aiohttp.server"


def _journal(running: Running) -> int:
    database = sqlite3.connect(running.folder / "diemcau.sqlite3")
    (count,) = database.execute("SELECT count(*) FROM journal").fetchone()
    database.close()
    return int(count)


NONSENSE: tuple[str | bytes, ...] = (
    "",
    "9",
    "4",
    "42",
    "42[",
    "42{}",
    "42[]",
    "42[1]",
    '42["question.ask"]',
    '421["question.ask",{"text":"x"},"k","more"]',
    '42999999999999999999["question.ask",{},"k"]',
    '451-["question.ask",{"_placeholder":true,"num":0}]',
    '4599-["x",{"_placeholder":true,"num":98}]',
    "40{",
    '40/admin,{"seat":"x"}',
    "43[]",
    "41",
    "\x00\ud7ff",
    b"\xff\xfe",
    b"",
    "4" * 5000,
    '42["question.ask",' + "[" * 20_000 + "]" * 20_000 + ',"k"]',
    '42["question.ask",{"text":"' + "x" * 1_500_000 + '"},"k"]',
)


async def test_nonsense_on_a_socket_ends_that_socket_at_most(served: tuple[Running, Made]) -> None:
    running, made = served
    before = _journal(running)
    phone = SeatClient(running.base)
    await phone.open(f"/c/{made.join_code}", {"code": made.codes[0]})
    await phone.connect()
    assert phone._http is not None
    hello = json.dumps({"seat": phone.seat, "since": None})
    dice = random.Random(7)
    random_bytes = [dice.randbytes(dice.randrange(200)) for _ in range(30)]
    for message in (*NONSENSE, *random_bytes):
        address = f"{running.base}/socket.io/?EIO=4&transport=websocket"
        async with phone._http.ws_connect(address) as line:
            await line.send_str("40" + hello)
            await _deliver(line, message)
    assert running.healthy() and _journal(running) == before, "nothing was changed"
    assert (await phone.send("question.ask", {"text": "Còn đó không?"}))["question"] > 0
    await phone.close()


async def _deliver(line: aiohttp.ClientWebSocketResponse, message: str | bytes) -> None:
    """Send, and let the server answer or hang up."""
    try:
        if isinstance(message, str):
            await line.send_str(message)
        else:
            await line.send_bytes(message)
        async with asyncio.timeout(0.05):
            while (await line.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
    except (ConnectionError, TimeoutError):
        pass


async def test_commands_that_are_wrong_are_refused_one_by_one(served: tuple[Running, Made]) -> None:
    running, made = served
    phone = SeatClient(running.base)
    await phone.open(f"/c/{made.join_code}", {"code": made.codes[1]})
    await phone.connect()
    before = _journal(running)
    for type_, payload, code in (
        ("question.delete_all", {}, "invalid"),
        ("__class__", {}, "invalid"),
        ("question.ask", {"text": "x" * 2001}, "invalid"),
        ("question.ask", {"text": "x", "person": 1}, "invalid"),
        ("question.ask", {"text": ["x"]}, "invalid"),
        ("activity.answer", {"run": made.run, "item": 1, "option": 99}, "invalid"),
        ("activity.answer", {"run": 2**60, "item": 1, "option": 0}, "invalid"),
        ("activity.answer", {"run": 999_999, "item": 1, "option": 0}, "not_found"),
        ("conference.move", {"to": "ended"}, "forbidden"),
        ("attendance.count", {}, "invalid"),
    ):
        with pytest.raises(Refused) as refused:
            await phone.send(type_, payload)
        assert refused.value.code == code, type_
    assert _journal(running) == before, "nothing was changed"
    first = await phone.send("question.ask", {"text": "Một"}, key="same")
    assert await phone.send("question.ask", {"text": "Một"}, key="same") == first
    with pytest.raises(Refused) as refused:
        await phone.send("question.ask", {"text": "Hai"}, key="same")
    assert refused.value.code == "conflict"
    await phone.close()


async def test_http_that_is_wrong(served: tuple[Running, Made]) -> None:
    running, _made = served
    host, port = running.base.removeprefix("http://").split(":")
    before = _journal(running)
    for request in (
        b"\x16\x03\x01\x02\x00" + os.urandom(500),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /%00%ff%c0%af HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data\r\n"
        b"Content-Length: 4\r\n\r\nabcd",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /s/" + b"a" * 5000 + b"/ HTTP/1.1\r\nHost: x\r\nCookie: seat_=;;=,\xff\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        writer.write_eof()
        try:
            async with asyncio.timeout(60):
                answer = await reader.read(65536)
        except ConnectionError:
            answer = b""
        assert b" 500 " not in answer.split(b"\r\n")[0], request[:80]
        writer.close()
    assert running.healthy() and _journal(running) == before
