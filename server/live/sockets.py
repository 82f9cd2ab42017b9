"""The Socket.IO server itself, as ``Gateway`` needs it.

Handshakes and ends go the way of python-socketio. Events, which are commands here, are read at
once and handed to ``on_command`` without a task, as they came: what is in them is looked at when
they are counted. Nothing else is expected of a client.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import socketio
import structlog
from aiohttp import web
from socketio.packet import CONNECT_ERROR

from server.db.journal import Published
from server.live.client import Message, Socket
from server.live.decode import MAX_MESSAGE_BYTES
from server.live.engine import Engine
from server.live.intake import Sent

_EVENT = re.compile(r"2([0-9]{0,15})(?=\[)")
"""An acknowledgement's number is one that a double holds (``Number.MAX_SAFE_INTEGER``)."""

OnForeign = Callable[[Socket, web.Request | None], dict[str, Any]]
"""(socket, its handshake, which is forgotten once it has greeted) → the answer"""
OnCommand = Callable[[Socket, bytes, str], None]
"""(socket, number to acknowledge or b"", ``[name, …]`` or whatever begins so)"""
OnCommands = Callable[[Sequence[Sent]], None]
"""of sockets that have an owner"""

log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode


class _Json:
    """JSON for python-socketio: written by msgspec, read by the standard library."""

    @staticmethod
    def dumps(value: object, **_options: object) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str, **_options: object) -> Any:
        return json.loads(text)


def event_message(name: str, data: object) -> Message:
    """An event with one argument, encoded once for all who hear it."""
    return Message(b"2" + _encode((name, data)))


class Alike:
    """``event_message("events", [event])`` of events that differ in their ``seq`` alone."""

    def __init__(self, event: Published) -> None:
        written = event_message("events", [event.wire()]).text
        self._before, number, self._behind = written.partition(b"%d" % event.seq)
        assert number and self._before.endswith(b'"seq":')
        self._size, self._head = 0, b""

    def message(self, seq: int) -> Message:
        """Of the one that has this number."""
        text = b"%b%d%b" % (self._before, seq, self._behind)
        if len(text) != self._size:  # it has more digits, or is the first
            self._size, self._head = len(text), Message(text).head
        return Message(text, self._head)


def acknowledgement(number: bytes, answer: object) -> Message:
    """The answer to one command."""
    return Message(b"".join((b"3", number, b"[", _encode(answer), b"]")))


class Server(socketio.AsyncServer):  # type: ignore[misc]
    """Hangs up on what is no Socket.IO packet (``Socket.malformed``)."""

    eio: Engine

    def __init__(self) -> None:
        super().__init__(
            async_mode="aiohttp",
            cors_allowed_origins=[],  # no CORS headers, no check: the gateway checks the Origin
            max_http_buffer_size=MAX_MESSAGE_BYTES,
            json=_Json,
        )
        self.on_command: OnCommand = lambda _socket, _number, _text: None
        self.on_commands: OnCommands = lambda _sent: None
        self.on_foreign: OnForeign = lambda _socket, _request: {}
        self.eio.take = self._take
        self.eio.take_commands = lambda sent: self.on_commands(sent)
        self._greeting: set[str] = set()

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    def socket_of(self, sid: str) -> Socket | None:
        """The socket behind a Socket.IO session; None where it has just gone."""
        return self.eio.sockets.get(self.manager.eio_sid_from_sid(sid, "/"))

    def forget_request(self, sid: str) -> None:
        """Let go of the handshake's request with all its headers."""
        eio_sid = self.manager.eio_sid_from_sid(sid, "/")
        if eio_sid in self.environ:
            self.environ[eio_sid] = {}

    def _take(self, socket: Socket, data: str | bytes) -> None:
        """One packet. Order among commands is that of their arrival."""
        if isinstance(data, bytes) or data.startswith(("5", "6")):
            socket.malformed("binary")  # nothing that clients send has attachments
        elif not data.startswith("2"):
            self.eio.keep(self._handle_eio_message(socket.sid, data))
        elif (begun := _EVENT.match(data)) is not None:
            self.on_command(socket, begun[1].encode(), data[begun.end(1) :])
        else:
            socket.malformed("no command")  # of another namespace it is none either

    async def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        try:
            await super()._handle_eio_message(eio_sid, data)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            if (socket := self.eio.sockets.get(eio_sid)) is not None:
                socket.malformed(type(error).__name__)

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: object) -> None:
        """One greeting at a time, and none while it is connected. There is one namespace: who asks for
        another is told so, whether connected or not."""
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and namespace not in (None, "/"):
            refusal = self.on_foreign(socket, self.environ[eio_sid].get("aiohttp.request"))
            refused = self.packet_class(CONNECT_ERROR, data=refusal, namespace=namespace)
            await self._send_packet(eio_sid, refused)
            return
        if socket is None or socket.owner is not None or eio_sid in self._greeting:
            raise ValueError("greeted already")
        self._greeting.add(eio_sid)
        try:
            await super()._handle_connect(eio_sid, namespace, data)
        finally:
            self._greeting.discard(eio_sid)


def make_server() -> Server:
    """A Socket.IO server for ``Gateway``; attach it to the aiohttp application."""
    return Server()
