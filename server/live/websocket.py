"""WebSockets (RFC 6455) after their handshake: one protocol on the bare transport, no task each.

aiohttp does the handshake (``upgrade``) and parses frames (its parser is tested against the Autobahn
suite and compiled); between the two it would keep a task, a queue and the whole request for each
connection. Here the transport is handed to a ``Line``, which calls its owner for each message and
writes ready-made frames: a server's frames are not masked (section 5.1), so one serves all. The
parser is a private name of aiohttp's, which is why ``setup.cfg`` holds aiohttp to one minor version.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from array import array
from collections.abc import Sequence
from typing import Any, Protocol

from aiohttp import WSCloseCode, WSMsgType
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader

from server.live.allowance import BYTES_OF_FRAME, Allowance
from server.live.intake import Intake

MOST_QUEUED_BYTES = 1 << 20
"""A client that leaves more than this unread, beside the largest single message, is cut off."""
STRANGER_BYTES = 16 << 10
"""The same, and the largest message, of who has not said yet who it is."""
SLICE_BYTES = 4096
"""read at a time: thousands of frames may come at once"""
CLOSING_S = 5.0
"""How long a closed line may take to read what was sent before."""
CLEAR = array("Q")
"""By descriptor: the number of the line that has it, while nothing waits before what is sent next;
else 0. For compiled code, which looks at no line."""
_numbers = itertools.count(1)


def frame(payload: bytes, opcode: int = WSMsgType.TEXT) -> bytes:
    """``payload`` as one final, unmasked frame (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126, size >> 8, size & 0xFF)) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


class Owner(Protocol):
    """Who is behind a line."""

    def heard(self, line: Line, message: str | bytes) -> None:
        """A whole message has come."""

    def lost(self, line: Line) -> None:
        """The connection has ended, whoever ended it. Called once."""

    def overrun(self, line: Line) -> None:
        """It did not read and is cut off; ``lost`` follows."""


class Line(asyncio.Protocol):
    """One WebSocket."""

    __slots__ = (
        "direct",
        "number",
        "descriptor",
        "speaker",
        "partial",
        "_allowance",
        "_unread",
        "_transport",
        "_parser",
        "_owner",
        "_waits",
        "_largest",
        "_abort",
        "_held",
        "_intake",
        "_plain",
    )

    def __init__(
        self, owner: Owner, most_bytes: int, allowance: Allowance, intake: Intake | None = None
    ) -> None:
        loop = asyncio.get_running_loop()
        self._allowance = allowance
        self._intake = intake
        """what reads it; None where its transport does"""
        self._plain = True
        """all that came was whole text frames: the parser has no part of one"""
        self._owner: Owner | None = owner
        self._transport: asyncio.Transport | None = None
        self._parser: WebSocketReader | None = WebSocketReader(
            _Inlet(self, loop), most_bytes, False, True
        )
        self.direct = -1
        """the socket's descriptor, while nothing waits before what is sent next; else -1"""
        self.descriptor = -1
        """the socket's, where what is sent needs nothing done to it before (no encryption); else -1"""
        self.number = next(_numbers)
        """nobody else's, ever"""
        self.speaker: object = None
        """whose commands come by it, once that is known; None before, and once it has ended"""
        self._waits = False
        """something is in the transport's buffer"""
        self._largest = 0
        self._held = b""
        self._abort: asyncio.TimerHandle | None = None
        self._unread: bytes | None = None
        """what waits until there may be more; None while all is read as it comes"""
        self.partial = 0
        """bytes of a message that is not whole"""

    @property
    def queued(self) -> int:
        """Bytes that the client has not read yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    @property
    def held_back(self) -> bool:
        """It has sent more than it may: what it says now is heard later."""
        return self._unread is not None

    def hold(self, frames: bytes) -> bool:
        """Send ready-made frames with the next ``write`` or ``flush``; True where these are the
        first that wait for it."""
        if self._held:
            self._held += frames
            return False
        self._held = frames
        self._obstruct()
        return bool(frames)

    def release(self) -> bytes:
        """What was held back, for the caller to send now."""
        held, self._held = self._held, b""
        if not self._waits and self.descriptor >= 0:
            self.direct = self.descriptor
            CLEAR[self.descriptor] = self.number
        return held

    def _obstruct(self) -> None:
        """Something waits before what is sent next."""
        if self.direct >= 0:
            CLEAR[self.direct] = 0
            self.direct = -1

    def _clear(self) -> None:
        """Nothing does."""
        if self.descriptor >= 0:
            self.direct = self.descriptor
            CLEAR[self.descriptor] = self.number

    def flush(self) -> None:
        """Send what was held back."""
        if self._held:
            self.write(b"")

    def write(self, frames: bytes) -> None:
        """Send ready-made frames, behind those held back; nothing happens on a line that ends."""
        if self._held:
            frames = self.release() + frames
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._waits and self._overrun(transport):
            return
        transport.write(frames)
        if self._waits:
            self._largest = max(self._largest, len(frames))

    def close(self, code: int = WSCloseCode.OK, why: bytes = b"") -> None:
        """Say goodbye (section 5.5.1), and hang up once that is read, or not in time."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self.write(frame(struct.pack("!H", code) + why, WSMsgType.CLOSE))
        self._let_go()
        transport.close()
        self._abort = asyncio.get_running_loop().call_later(CLOSING_S, transport.abort)

    def _overrun(self, transport: asyncio.Transport) -> bool:
        most = MOST_QUEUED_BYTES + self._largest if self._allowance.trusted else STRANGER_BYTES
        if transport.get_write_buffer_size() <= most:
            return False
        self.cut_off()
        return True

    def cut_off(self) -> None:
        """Hang up at once: it does not read."""
        transport = self._transport
        if transport is None:
            return
        if self._owner is not None:
            self._owner.overrun(self)
        self._let_go()
        transport.abort()

    def _let_go(self) -> None:
        """Of the descriptor, before it is closed and another's."""
        if self._intake is not None:
            self._intake.forget(self.descriptor)
            self._intake = None
        self._obstruct()
        self.descriptor = -1
        self.speaker = None

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if transport.get_extra_info("sslcontext") is None:
            self.descriptor = transport.get_extra_info("socket").fileno()
            CLEAR.extend([0] * (self.descriptor + 1 - len(CLEAR)))
            self._clear()
        transport.set_write_buffer_limits(high=0)  # to be told of the first byte that waits
        if self.descriptor < 0 or transport.is_closing():
            self._intake = None
        self._read_again()

    def _read_again(self) -> None:
        transport = self._transport
        assert transport is not None
        if self._intake is None:
            transport.resume_reading()
        else:
            transport.pause_reading()
            self._intake.watch(self.descriptor, self)

    def _read_no_more(self) -> None:
        """For a while."""
        if self._intake is not None:
            self._intake.forget(self.descriptor)
        elif self._transport is not None:
            self._transport.pause_reading()

    def speaks(self, size: int) -> object:
        """Its speaker, where the parser has nothing left to do (``intake.Sender``)."""
        if self.speaker is None or not self._plain:
            return None
        allowance, cost = self._allowance, 1 + size / BYTES_OF_FRAME
        if allowance.left <= cost:
            return None
        allowance.left -= cost
        return self.speaker

    def arrived(self, data: memoryview, messages: Sequence[memoryview]) -> None:
        """``data_received``, where the parser has nothing left to do (``intake.Sender``)."""
        allowance, cost = self._allowance, len(messages) + len(data) / BYTES_OF_FRAME
        if not messages:
            self._plain = False
        elif self._plain and allowance.trusted and self._unread is None and allowance.left > cost:
            try:
                texts = [str(message, "utf-8") for message in messages]
            except UnicodeDecodeError:
                pass  # the parser says so in its goodbye
            else:
                allowance.left -= cost
                for text in texts:
                    self._hear(text)
                return
        self.data_received(bytes(data))

    def ended(self) -> None:
        """The transport finds out why (``intake.Sender``)."""
        self._intake = None
        if self._transport is not None:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._unread is not None:  # read before the transport could be paused
            self._unread += data
        elif self._allowance.trusted and len(data) < min(SLICE_BYTES, self._allowance.left):
            self._feed(data)  # the ordinary case: fewer frames than there may be, whatever they are
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        """A slice after another, while more may be read; the rest when it may."""
        for start in range(0, len(data), SLICE_BYTES):
            wait_s = self._allowance.wait_s(asyncio.get_running_loop().time())
            if wait_s:
                self._unread = data[start:]
                if self._transport is not None and not self._transport.is_closing():
                    self._read_no_more()
                    asyncio.get_running_loop().call_later(wait_s, self._read_on)
                return
            self._feed(data[start : start + SLICE_BYTES])

    def _read_on(self) -> None:
        data, self._unread = self._unread or b"", None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._read(data)
        if self._unread is None and not transport.is_closing():
            self._read_again()

    def _feed(self, data: bytes) -> None:
        if self._parser is None:
            return
        self._allowance.left -= len(data) / BYTES_OF_FRAME
        self.partial += len(data)
        self._parser.feed_data(data)
        if not self._allowance.trusted and self.partial > STRANGER_BYTES:
            self.close(WSCloseCode.MESSAGE_TOO_BIG)

    def pause_writing(self) -> None:
        self._waits = True
        self._obstruct()

    def resume_writing(self) -> None:
        self._waits = False
        self._largest = 0
        if not self._held:
            self._clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()
        owner, self._owner = self._owner, None
        self._transport = None
        self._parser = None
        self._held = b""
        if self._abort is not None:
            self._abort.cancel()
        if owner is not None:
            owner.lost(self)

    # --- what the parser found ---

    def took(self, kind: WSMsgType, data: Any) -> None:
        """One message or control frame."""
        self._allowance.left -= 1
        if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
            self.partial = 0
            self._hear(data)
        elif kind is WSMsgType.PING:
            self.write(frame(bytes(data), WSMsgType.PONG))
        elif kind is WSMsgType.CLOSE:
            self.close()

    def _hear(self, message: str | bytes) -> None:
        transport = self._transport
        if self._owner is not None and transport is not None and not transport.is_closing():
            self._owner.heard(self, message)

    def failed(self, error: BaseException) -> None:
        """What came is no WebSocket frame, or too long."""
        self.close(getattr(error, "code", WSCloseCode.PROTOCOL_ERROR))


class _Inlet(WebSocketDataQueue):
    """What aiohttp's parser writes into: hands on at once instead of queueing."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(None, 0, loop=loop)  # type: ignore[arg-type]
        self._line = line

    def feed_data(self, data: Any, size: int) -> None:
        self._line.took(data.type, data.data)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        self._line.failed(exc)
