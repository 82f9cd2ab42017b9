"""What a client that polls sends: packets in the body of a request; and how many it takes in one."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any
from urllib.parse import parse_qs

from engineio.payload import Payload

from server.live.allowance import BYTES_OF_FRAME, Allowance
from server.live.websocket import STRANGER_BYTES

PACKETS_A_POLL: int = Payload.max_decode_packets
"""python-engineio's own client leaves where a poll brings it more, which its own server would send"""
MOST_PACKETS = 10_000
"""in one request; twice as many may have to be heard at once, before the first of a WebSocket"""
_SEPARATOR = b"\x1e"


class Posted:
    """What has come of one client and waits to be heard, as fast as the client may send.

    It is the buffer that a WebSocket has in the kernel: a request is answered as soon as it has
    come, since python-engineio's client waits 5 s for that, and leaves. Its next heartbeat has
    to find room behind all that it sent at once.
    """

    def __init__(self, allowance: Allowance, most_bytes: int) -> None:
        self._allowance = allowance
        self._most_bytes = most_bytes
        self._waiting: deque[bytes] = deque()
        self.size = 0
        """bytes that wait"""
        self._less = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def read(self, environ: dict[str, Any]) -> None:
        """Take the packets of one request in, when there is room for them.

        Raises: EOFError or OSError where it does not come whole; ValueError, LookupError where it is
        too long, or no payload.
        """
        size = int(environ.get("CONTENT_LENGTH", "0"))
        if size > (self._most_bytes if self._allowance.trusted else STRANGER_BYTES):
            raise ValueError("too long")
        while self._waiting and (
            self.size + size > self._most_bytes or len(self._waiting) >= MOST_PACKETS
        ):
            self._less.clear()
            await self._less.wait()
        # Its ``read`` would return what has come so far.
        body: bytes = await environ["wsgi.input"].readexactly(size)
        if body.startswith(b"d="):  # JSONP's form
            body = parse_qs(body.decode())["d"][0].encode()
        packets = body.split(_SEPARATOR, MOST_PACKETS) if body else []
        if len(packets) > MOST_PACKETS:
            raise ValueError("too many")
        self._waiting.extend(packets)
        self.size += sum(map(len, packets))

    def next(self) -> str:
        """The next packet, counted for what the client may send. Raises: ValueError where it is no text."""
        packet = self._waiting.popleft()
        self.size -= len(packet)
        self._allowance.left -= 1 + len(packet) / BYTES_OF_FRAME
        self._less.set()
        return packet.decode()

    def forget(self) -> None:
        """Nothing more is heard."""
        self._waiting.clear()
        self.size = 0
        self._less.set()
