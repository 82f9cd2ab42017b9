"""The Socket.IO server itself, as ``Gateway`` needs it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import socketio
import structlog

from server.live.decode import MAX_MESSAGE_BYTES

log = structlog.get_logger(__name__)


class _Json:
    """JSON for python-socketio: written by msgspec, read by the standard library."""

    @staticmethod
    def dumps(value: object, **_options: object) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str, **_options: object) -> Any:
        return json.loads(text)


class _Server(socketio.AsyncServer):  # type: ignore[misc]
    """Hangs up on what is no Socket.IO packet, as the reference implementation does ("parse
    error"): the library would write a traceback for each and go on."""

    async def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        try:
            await super()._handle_eio_message(eio_sid, data)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            log.info("socket.malformed", error=type(error).__name__)
            await self.eio.disconnect(eio_sid)


def make_server() -> socketio.AsyncServer:
    """A Socket.IO server for ``Gateway``; attach it to the aiohttp application."""
    return _Server(
        async_mode="aiohttp",
        cors_allowed_origins=[],  # no CORS headers, no check: the gateway checks the Origin
        max_http_buffer_size=MAX_MESSAGE_BYTES,
        json=_Json,
    )
