"""What a client that polls sends: packets in the body of a request."""

from __future__ import annotations

import asyncio
from typing import Any

from engineio.packet import Packet
from engineio.payload import Payload

from server.live.allowance import BYTES_OF_FRAME, FRAMES_BURST, Allowance
from server.live.websocket import STRANGER_BYTES


class _Payload(Payload):  # type: ignore[misc]
    max_decode_packets = FRAMES_BURST
    """the library would take 16; a page that comes back has all that it kept in one request"""


async def posted(environ: dict[str, Any], allowance: Allowance, most_bytes: int) -> list[Packet]:
    """The packets of one request, read when its client may send more; they count for what it may send.

    Raises: EOFError or OSError where it does not come whole; ValueError, LookupError where it is
    too long, or no payload.
    """
    while wait_s := allowance.wait_s(asyncio.get_running_loop().time()):
        await asyncio.sleep(wait_s)
    size = int(environ.get("CONTENT_LENGTH", "0"))
    if size > (most_bytes if allowance.trusted else STRANGER_BYTES):
        raise ValueError("too long")
    # Its ``read`` would return what has come so far.
    body: bytes = await environ["wsgi.input"].readexactly(size)
    packets: list[Packet] = _Payload(encoded_payload=body.decode()).packets
    allowance.left -= len(packets) + size / BYTES_OF_FRAME
    return packets
