"""The whole system as people run it: ``diemcau demo`` processes, Chromium with a fake camera."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright, expect

from benchmarks.load.chromium import CHROMIUM
from tests.e2e.pages import FLAGS, PROBE, WAIT_S, Visitor

HERE = Path(__file__).parent
READY_WITHIN_S = 90
STOPS_WITHIN_S = 30

expect.set_options(timeout=WAIT_S * 1000)


@dataclass(frozen=True)
class Demo:
    """A running demo: its JSON line."""

    base_url: str
    conference: str
    recording: str
    urls: dict[str, str]
    tokens: dict[str, str]
    trainee_codes: list[str]
    mark: str
    """A variable of the environment of all its processes."""

    def fresh_code(self) -> str:
        """Of a trainee who has no phone yet: a code belongs to the phone that typed it, also when its test is
        tried again."""
        return self.trainee_codes.pop(0)

    def kill(self, module: str) -> None:
        """SIGKILL the children that run a module, as a crash would end them."""
        self._signal(module, signal.SIGKILL)

    @contextlib.contextmanager
    def halted(self, module: str) -> Iterator[None]:
        """The children that run a module stand still meanwhile, their connections open."""
        self._signal(module, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(module, signal.SIGCONT)

    def _signal(self, module: str, number: signal.Signals) -> None:
        found = [pid for pid, command in _processes(self.mark) if module in command]
        assert found, module
        for pid in found:
            os.kill(pid, number)


def _processes(mark: str) -> Iterator[tuple[int, list[str]]]:
    """Process ids and command lines of the processes with a variable in their environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_text(errors="replace").split("\0"):
                yield int(folder.name), (folder / "cmdline").read_text().split("\0")


@contextlib.contextmanager
def run_demo(cache: Path, log: Path, sites: int, **settings: str) -> Iterator[Demo]:
    """``diemcau demo`` on a free port, live when it is yielded; a clean stop is part of the test."""
    command = [sys.executable, "-m", "server", "demo", "--port", "0", "--simulate", str(sites)]
    mark = f"E2E_DEMO={log}"
    environ = {**os.environ, **settings, "XDG_CACHE_HOME": str(cache), "E2E_DEMO": str(log)}
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environ)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        demo = Demo(**json.loads(line), mark=mark)
        _await_health(demo.base_url, process)
        yield demo
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            process.stdout.close()
    told = log.read_text()
    assert not list(_processes(mark)), "a child is left behind"
    assert code == 0 and "Traceback" not in told, told


def _await_health(base_url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{base_url}/healthz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError("the demo did not become ready")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demos keep their clips: nothing of this machine, once for all of them."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="package")
def demo(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The conference that the tests share: two simulated sites, Khoái Châu vacant."""
    with run_demo(cache, tmp_path_factory.mktemp("demo") / "log", sites=2) as running:
        yield running


@pytest.fixture
def short_demo(cache: Path, tmp_path: Path) -> Iterator[Demo]:
    """One for a test that ends it."""
    with run_demo(cache, tmp_path / "log", sites=1) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for all tests with a browser: Chromium belongs to the loop that started it."""
    for item in items:
        if item.path.parent == HERE and item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests: what a visitor has is in a context of its own."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browse(browser: Browser) -> AsyncIterator[Callable[..., Any]]:
    """``await browse()`` is a browser of its own (cookies, storage), still without a page.

    What any page throws, and what its security policy blocks, fails the test.
    """
    troubles: list[str] = []
    contexts: list[BrowserContext] = []

    async def open_(width: int = 1366, height: int = 768) -> Visitor:
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            permissions=["camera", "microphone"],
            locale="vi-VN",
        )
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: troubles.append(f"{page.url}: {error}"))
        page.on(
            "console",
            lambda message: "Content Security Policy" in message.text
            and troubles.append(f"{page.url}: {message.text}"),
        )
        await page.add_init_script(PROBE)
        return Visitor(page)

    yield open_
    for context in contexts:
        await context.close()
    assert not troubles, troubles


@pytest.fixture
def visit(browse: Callable[..., Any]) -> Callable[..., Any]:
    """``await visit(url)`` opens an address in a browser of its own."""

    async def open_(url: str, *size: int) -> Visitor:
        visitor: Visitor = await browse(*size)
        await visitor.page.goto(url)
        return visitor

    return open_


@pytest.fixture
def sit(browse: Callable[..., Any]) -> Callable[..., Any]:
    """``await sit(link)`` opens the seat's page that comes of a link, in a browser of its own; ``script``:
    what is to run in its pages before all else, ``form``: what the link's page asks for."""

    async def open_(link: str, *size: int, script: str = "", **form: str) -> Visitor:
        visitor: Visitor = await browse(*size)
        if script:
            await visitor.page.add_init_script(script)
        await visitor.take_seat(link, **form)
        return visitor

    return open_
