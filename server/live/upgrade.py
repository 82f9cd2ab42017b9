"""From HTTP to a WebSocket: aiohttp's handshake, after which the transport is a ``Line``'s."""

from __future__ import annotations

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from server.live.websocket import Line


class Upgrade(web.WebSocketResponse):
    """A handshake by aiohttp, after which the transport is a ``Line``'s and aiohttp lets go.

    Frames are not compressed: a compressed one fits one client alone, and costs more than it
    saves at our sizes.
    """

    def __init__(self, line: Line) -> None:
        super().__init__(compress=False)
        self._line: Line = line

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter:
        """Raises: HTTPBadRequest where it is no WebSocket handshake; ConnectionResetError."""
        if self.prepared:
            assert self._payload_writer is not None
            return self._payload_writer
        writer = await super().prepare(request)
        handler, transport = request.protocol, request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("gone during the handshake")
        transport.set_protocol(self._line)
        handler.transport = None  # or it would close what is no longer its own
        handler.connection_lost(None)
        self._line.connection_made(transport)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """The response does not end: the line does."""
