"""Firefox, driven by WebDriver BiDi (https://www.w3.org/TR/webdriver-bidi/), which it speaks itself.

Playwright would do so too, but asks for commands that the extended support release has not.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.pages import PROBE, WAIT_S

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "intl.accept_languages": "vi-VN,vi",
    "media.autoplay.default": 0,  # what an operator's click allows anyway
    "media.gmp-manager.url": "",  # a closed network: no H.264 for WebRTC is fetched
    "media.gmp-gmpopenh264.enabled": False,
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}
_THROWN = re.compile(r"\w*(Error|Exception)\b|Content-Security-Policy")
_LISTENING = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")


class Tab:
    """One page of a browsing context; cookies are shared by the tabs of one ``Firefox``."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox, self._context = firefox, context

    async def go(self, url: str) -> None:
        """Open an address."""
        await self._firefox.send(
            "browsingContext.navigate", context=self._context, url=url, wait="interactive"
        )

    async def enter(self, url: str) -> None:
        """Press the button of a link's page; the seat's own page follows."""
        await self.go(url)
        await self.press("main form button[type=submit]")
        await self.until("location.pathname.startsWith('/s/') && document.readyState != 'loading'")

    async def evaluate(self, expression: str) -> Any:
        """The value (JSON) of an expression; a promise is awaited. Raises: RuntimeError."""
        result = await self._firefox.send(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        if result["type"] == "exception":
            raise RuntimeError(result["exceptionDetails"]["text"])
        return json.loads(result["result"].get("value") or "null")

    async def until(self, expression: str, within_s: float = WAIT_S) -> Any:
        """Wait until an expression is true, and give its value. Raises: AssertionError."""
        deadline = asyncio.get_running_loop().time() + within_s
        told: object = None
        while asyncio.get_running_loop().time() < deadline:
            try:
                told = await self.evaluate(expression)
            except RuntimeError as error:  # a page that is just going away, or not yet there
                told = error
            else:
                if told:
                    return told
            await asyncio.sleep(0.1)
        raise AssertionError(f"never true: {expression} (at last {told!r})")

    async def press(self, selector: str) -> None:
        """Click what is at a selector, when it can be clicked."""
        found = f"document.querySelector({json.dumps(selector)})"
        await self.until(
            f"{found} && {found}.checkVisibility() && !{found}.disabled && ({found}.click(), true)"
        )

    async def sees(self, selector: str, text: str) -> None:
        """Wait until a text stands there, to be seen."""
        found = f"document.querySelector({json.dumps(selector)})"
        await self.until(
            f"{found}?.checkVisibility() && {found}.innerText.includes({json.dumps(text)})"
        )

    async def picture(self, path: Path) -> None:
        """Take a picture of the page."""
        shot = await self._firefox.send("browsingContext.captureScreenshot", context=self._context)
        path.write_bytes(base64.b64decode(shot["data"]))


class Firefox:
    """A running Firefox with one BiDi session."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.errors: list[str] = []
        """what pages threw, and what their security policy blocked"""
        self.logged: list[str] = []
        """everything that pages logged"""

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and give its result. Raises: RuntimeError."""
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        return await asyncio.wait_for(answer, 2 * WAIT_S)

    async def open(self, width: int = 1366, height: int = 768) -> Tab:
        """A new window: nothing in it is hidden, as it would be in a tab behind another."""
        context = (await self.send("browsingContext.create", type="window"))["context"]
        viewport = {"width": width, "height": height}
        await self.send("browsingContext.setViewport", context=context, viewport=viewport)
        return Tab(self, context)

    async def listen(self) -> None:
        """Take messages until the browser ends."""
        async for text in self._socket:
            message = text.json()
            if message["type"] == "event":
                self._hear(message["params"])
                continue
            answer = self._waiting.pop(message["id"])
            if answer.done():
                continue
            if message["type"] == "success":
                answer.set_result(message["result"])
            else:
                answer.set_exception(RuntimeError(message["message"]))

    def _hear(self, entry: dict[str, Any]) -> None:
        text = f"{entry.get('source', {}).get('context')}: {entry.get('text')}"
        self.logged.append(text)
        if entry.get("type") == "javascript" and _THROWN.match(entry.get("text") or ""):
            self.errors.append(text)


@contextlib.asynccontextmanager
async def run_firefox(profile: Path, **preferences: Any) -> AsyncIterator[Firefox]:
    """Firefox without a window, in an empty folder for its profile; preferences: those of this one."""
    preferences = {**PREFERENCES, **preferences}
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in preferences.items()]
    (profile / "user.js").write_text("".join(lines))
    assert FIREFOX, "firefox-esr is not installed"
    process = await asyncio.create_subprocess_exec(
        FIREFOX,
        *("--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", str(profile)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    drain: asyncio.Task[bytes] | None = None
    try:
        while not (found := _LISTENING.search(line := await process.stderr.readline())):
            assert line, "Firefox ended"
        drain = asyncio.create_task(process.stderr.read())
        async with aiohttp.ClientSession() as http:
            url = f"{found[1].decode()}/session"
            async with http.ws_connect(url, max_msg_size=1 << 26) as socket:
                firefox = Firefox(socket)
                listener = asyncio.create_task(firefox.listen())
                await firefox.send("session.new", capabilities={})
                await firefox.send("session.subscribe", events=["log.entryAdded"])
                await firefox.send(
                    "script.addPreloadScript", functionDeclaration=f"() => {{{PROBE}}}"
                )
                yield firefox
                listener.cancel()
    finally:
        process.terminate()
        await process.wait()
        if drain is not None:
            await drain
