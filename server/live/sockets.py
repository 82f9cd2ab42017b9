"""The Socket.IO server itself, as ``Gateway`` needs it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import socketio

from server.live.decode import MAX_MESSAGE_BYTES


class _Json:
    """JSON for python-socketio: written by msgspec, read by the standard library."""

    @staticmethod
    def dumps(value: object, **_options: object) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str, **_options: object) -> Any:
        return json.loads(text)


def make_server() -> socketio.AsyncServer:
    """A Socket.IO server for ``Gateway``; attach it to the aiohttp application."""
    return socketio.AsyncServer(
        async_mode="aiohttp",
        cors_allowed_origins=[],  # no CORS headers, no check: the gateway checks the Origin
        max_http_buffer_size=MAX_MESSAGE_BYTES,
        json=_Json,
    )
