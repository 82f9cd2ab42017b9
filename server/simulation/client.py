"""A page without a browser: opens a seat by the server's own forms and speaks its wire.

Used by the demo's trainees and operators and by tests that need a real client.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping
from typing import Any

import aiohttp
import socketio

from server.state import State, apply

_CSRF = re.compile(r'name="csrf" value="([^"]+)"')
_SEAT = re.compile(r"/s/([^/]+)/")
ANSWER_WITHIN_S = 15.0


class Refused(Exception):
    """The server said no: its stable ``code`` and its words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class SeatClient:
    """One seat's page: state kept from snapshot and events, commands with keys."""

    def __init__(self, base_url: str, *, verify_tls: bool = True) -> None:
        self.base_url = base_url
        self.state: State = {}
        self.live: dict[str, Any] = {}
        self.seq: int | None = None
        self.seat = ""
        self.changed = asyncio.Event()
        """set by everything that comes; whoever waits clears it"""
        self._tls = None if verify_tls else False
        self._http: aiohttp.ClientSession | None = None
        self._socket: socketio.AsyncClient | None = None

    async def open(self, path: str, form: Mapping[str, str] | None = None) -> None:
        """Take a seat by the form at ``path`` (a link, or a conference's code).

        Raises: Refused where no seat came of it; aiohttp.ClientError where the server is away.
        """
        await self.close()
        # A jar that keeps cookies of plain addresses too: the demo runs on 127.0.0.1.
        jar = aiohttp.CookieJar(unsafe=True)
        connector = aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True)
        self._http = aiohttp.ClientSession(cookie_jar=jar, connector=connector)
        url = path if path.startswith("http") else self.base_url + path
        async with self._http.get(url) as page:
            csrf = _CSRF.search(await page.text())
        fields = {**(form or {}), "csrf": csrf[1] if csrf else ""}
        headers = {"Origin": self.base_url}
        async with self._http.post(
            url, data=fields, headers=headers, allow_redirects=False
        ) as answer:
            seat = _SEAT.search(answer.headers.get("Location", ""))
            if seat is None:
                raise Refused(str(answer.status), "no seat came of it")
        self.seat = seat[1]

    async def connect(self) -> None:
        """Connect the socket and wait for the first snapshot. Raises: socketio ConnectionError."""
        assert self._http is not None
        client = socketio.AsyncClient(http_session=self._http, reconnection=True)
        client.on("snapshot", self._on_snapshot)
        client.on("events", self._on_events)
        client.on("head", self._on_head)
        client.on("live", self._on_live)
        self._socket = client
        await client.connect(
            self.base_url,
            auth=lambda: {"seat": self.seat, "since": self.seq},
            headers={"Origin": self.base_url},
            transports=["websocket"],
            wait_timeout=ANSWER_WITHIN_S,  # one second otherwise, too little for a busy machine
        )
        async with asyncio.timeout(ANSWER_WITHIN_S):
            while not self.state:
                await self.wait()

    async def send(
        self,
        type_: str,
        payload: Mapping[str, Any],
        *,
        key: str | None = None,
        within_s: float = ANSWER_WITHIN_S,
    ) -> dict[str, Any]:
        """Send a command; its result. The same ``key`` again makes it a retry.

        Raises: Refused, TimeoutError, socketio errors.
        """
        assert self._socket is not None
        message = (dict(payload), key or uuid.uuid4().hex)
        answer = await self._socket.call(type_, message, timeout=within_s)
        if not answer["ok"]:
            raise Refused(answer["error"], answer["message"])
        result: dict[str, Any] = answer["result"]
        return result

    async def wait(self) -> None:
        """Wait until something comes."""
        self.changed.clear()
        await self.changed.wait()

    async def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            await self._socket.disconnect()
        if self._http is not None:
            await self._http.close()
        self._socket = self._http = None

    async def _on_snapshot(self, data: dict[str, Any]) -> None:
        self.state, self.seq = data["state"], data["seq"]
        self.changed.set()

    async def _on_events(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            if self.seq is not None and event["seq"] <= self.seq:
                continue
            self.state = apply(self.state, event["type"], event["data"])
            self.seq = event["seq"]
        self.changed.set()

    async def _on_head(self, seq: int) -> None:
        self.seq = seq

    async def _on_live(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            self.live[message["type"]] = message["data"]
        self.changed.set()
