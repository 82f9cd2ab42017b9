"""One client of Engine.IO: what is sent to it and heard of it, by polling or a WebSocket.

A WebSocket is a ``Line``: a packet is written as it comes, in order; long polling and the upgrade
from it go python-engineio's way through its queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import WSCloseCode
from engineio.async_socket import AsyncSocket
from engineio.exceptions import EngineIOError, QueueEmpty
from engineio.packet import CLOSE, MESSAGE, NOOP, PING, Packet

from server.live import metrics
from server.live.allowance import Allowance
from server.live.polling import PACKETS_A_POLL, Posted
from server.live.spread import spread
from server.live.upgrade import Upgrade
from server.live.websocket import MOST_QUEUED_BYTES, Line, frame

if TYPE_CHECKING:
    from server.live.engine import Engine

MOST_POLLED = 1000
"""Packets that may wait for a client that polls; beyond it, it is gone or does not read. So it is
beyond ``MOST_QUEUED_BYTES``, which is looked at with every so many of them."""
LOOKED_AT = 8
UNREAD_POLLED = MOST_POLLED // 2
"""While more wait for a client that polls, nothing more is heard of it: each command is one answer more"""
LOOK_AGAIN_S = 0.05
"""whether more of what a client has posted may be heard now"""

log = structlog.get_logger(__name__)


class Message:
    """One Socket.IO packet to many, made once."""

    __slots__ = ("text", "frame")

    def __init__(self, text: bytes, head: bytes | None = None) -> None:
        """``head`` is what a frame of that size begins with, where it is known."""
        self.text = text
        self.frame = frame(b"4" + text) if head is None else head + text
        """for a WebSocket"""

    @property
    def head(self) -> bytes:
        """What its frame has before the text."""
        return self.frame[: -len(self.text)]

    def packet(self) -> Packet:
        """For long polling."""
        return Packet(MESSAGE, self.text.decode())


PING_FRAME = frame(b"2")


class Socket(AsyncSocket):  # type: ignore[misc]
    """One client: first a poller or a line; ``line`` is None while it polls."""

    server: Engine
    queue: asyncio.Queue[Packet | None] | None
    upgraded: bool
    upgrading: bool
    closing: bool
    closed: bool

    def __init__(self, server: Engine, sid: str) -> None:
        super().__init__(server, sid)
        self.last_ping = None  # the wheel beats
        self.line: Line | None = None
        self.peer: str | None = None
        """the client's address, for the log"""
        self.allowance = Allowance(asyncio.get_running_loop().time())
        self._posted: Posted | None = None  # most never poll, and it costs more than 1 kB
        self._owner: Any = None
        self._ending = False
        self._probe: Line | None = None
        self._answered = True
        self._unowned_beats = 0
        self._posting = self._hearing = False

    @property
    def owner(self) -> Any:
        """What the application keeps about it; a socket without one is a stranger's, of which less
        is taken, and is hung up after a while."""
        return self._owner

    @owner.setter
    def owner(self, owner: Any) -> None:
        self._owner = owner
        if owner is not None:
            self.server.strangers.pop(self.sid, None)
            self.allowance.trust()
        self._say_who_speaks()

    def _say_who_speaks(self) -> None:
        if self.line is not None:
            self.line.speaker = None if self._ending else self._owner

    # --- out ---

    def deliver(self, message: Message) -> None:
        """Send at once, behind what was sent before."""
        if self.line is not None:
            self.line.write(message.frame)
        else:
            self._enqueue(message.packet())

    def deliver_soon(self, message: Message) -> None:
        """``deliver`` at the end of this turn of the loop, in one send with all that it has for
        this client until then."""
        if self.line is None:
            self._enqueue(message.packet())
        elif self.line.hold(message.frame):
            self.server.flush_soon(self.line)

    async def send(self, pkt: Packet) -> None:
        """The library's own way to send."""
        self._send(pkt)

    def _send(self, pkt: Packet) -> None:
        if self.line is None:
            self._enqueue(pkt)
            return
        encoded = pkt.encode()
        if isinstance(encoded, bytes):
            self.line.write(frame(encoded, 2))
        else:
            self.line.write(frame(encoded.encode()))

    def _enqueue(self, pkt: Packet) -> None:
        if self.closed or self.queue is None:
            return
        waiting = self.queue.qsize()
        if waiting > MOST_POLLED or (waiting % LOOKED_AT == 0 and self._polled > MOST_QUEUED_BYTES):
            self.cut_off()
        else:
            self.queue.put_nowait(pkt)

    @property
    def _polled(self) -> int:
        """Bytes that wait for its next poll, without the newest: one message may be large."""
        waiting = list(self.queue._queue)[:-1] if self.queue is not None else []  # type: ignore[attr-defined]
        return sum(len(pkt.data) for pkt in waiting if pkt and isinstance(pkt.data, str | bytes))

    @property
    def held(self) -> int:
        """Bytes that it has not read, or has sent without their end."""
        if self.line is None:
            return self._polled + (self._posted.size if self._posted else 0)
        return self.line.queued + self.line.partial

    def cut_off(self) -> None:
        """Hang up at once: it does not read."""
        if self.line is not None:
            self.line.cut_off()
        else:
            metrics.CUT_OFF.inc()
            self.hang_up(self.server.reason.TRANSPORT_ERROR)

    # --- in ---

    def heard(self, line: Line, message: str | bytes) -> None:
        """A message of its WebSocket: one packet."""
        if self._ending:
            return
        try:
            if line is self.line:
                self._take(message)
            else:
                self._upgrade_step(line, message)
        except ValueError:
            self.malformed()

    def _take(self, message: str | bytes) -> None:
        """One packet. Raises: ValueError where no client sends it."""
        if isinstance(message, bytes):
            self.server.take(self, message)
        elif message == "3":
            self._answered = True
        elif message.startswith("4"):
            self.server.take(self, message[1:])
        elif message.startswith("1"):
            self.hang_up(self.server.reason.CLIENT_DISCONNECT)
        elif message != "6":
            raise ValueError("no packet that is expected here")

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """What a client that polls sends. One request at a time, as the reference implementation has
        it. Raises: EngineIOError, answered by 400."""
        if self._posting:
            self.malformed("overlap")
            raise EngineIOError("one at a time")
        self._posting = True
        try:
            if self._posted is None:
                self._posted = Posted(self.allowance, self.server.max_http_buffer_size)
            await self._posted.read(environ)
            if not self._hearing and (wait_s := self._hear_posted()):
                self._hearing = True
                self.server.keep(self._hear_on(wait_s))
        except (EOFError, OSError) as error:  # it has left in the middle
            self.hang_up(self.server.reason.TRANSPORT_CLOSE)
            raise EngineIOError("not whole") from error
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            self.malformed(type(error).__name__)
            raise EngineIOError("no packets") from error
        finally:
            self._posting = False

    def _hear_posted(self) -> float:
        """Hear what it may have sent by now. Gives the seconds until there may be more of it; 0 where
        nothing waits. Raises: ValueError where no client sends it."""
        clock = asyncio.get_running_loop().time
        while self._posted and not self._ending:
            if self._reads_late or (self.allowance.left < 1 and self.allowance.wait_s(clock())):
                return LOOK_AGAIN_S
            self._take(self._posted.next())
        if self._posted:
            self._posted.forget()
        return 0

    async def _hear_on(self, wait_s: float) -> None:
        """Until all that waits is heard."""
        try:
            while wait_s:
                await asyncio.sleep(wait_s)
                wait_s = self._hear_posted()
        except ValueError as error:
            self.malformed(type(error).__name__)
            if self._posted:
                self._posted.forget()
        finally:
            self._hearing = False

    @property
    def _reads_late(self) -> bool:
        return self.queue is not None and self.queue.qsize() > UNREAD_POLLED

    async def poll(self) -> list[Packet]:
        """What waits, as much as any client takes at once; none where it has ended. Raises: QueueEmpty."""
        queue = self.queue
        if queue is None:
            return [Packet(NOOP)]
        within_s = self.server.ping_interval + self.server.ping_timeout
        try:
            first = await asyncio.wait_for(queue.get(), within_s)
        except (TimeoutError, asyncio.CancelledError):
            raise QueueEmpty() from None
        packets = [] if first is None else [first]
        while packets and len(packets) < PACKETS_A_POLL and not queue.empty():
            if (packet := queue.get_nowait()) is None:
                queue.put_nowait(None)  # for the poll that comes next
                break
            packets.append(packet)
        return packets

    def malformed(self, error: str = "") -> None:
        """Hang up on what is no packet, as the reference implementation does ("parse error"):
        the library would write a traceback for each, or go on."""
        if self._ending:
            return
        actor = getattr(self.owner, "actor", None)
        seat = actor.holder if actor is not None else None
        log.warning("socket.malformed", peer=self.peer, seat=seat, error=error)
        if self.line is not None:
            self.line.close(WSCloseCode.UNSUPPORTED_DATA, b"no packet that is expected here")
        self.hang_up(self.server.reason.TRANSPORT_ERROR)

    # --- transports ---

    async def begin_line(self, environ: dict[str, Any]) -> Upgrade:
        """It begins as a WebSocket. Raises: as ``Upgrade.prepare``."""
        line = self.server.make_line(self)
        upgrade = Upgrade(line)
        await upgrade.prepare(environ["aiohttp.request"])
        self.connected = True
        self._use(line)
        return upgrade

    def _use(self, line: Line) -> None:
        """From now on everything goes over ``line``, first what waited for a poll."""
        while self._posted and not self._ending:  # comes before what the line brings
            self._take(self._posted.next())
        waiting, self.queue = self.queue, None
        self.line, self.upgraded = line, True
        self._say_who_speaks()
        while waiting is not None and not waiting.empty():
            pkt = waiting.get_nowait()
            if pkt is not None and pkt.packet_type != NOOP:
                self._send(pkt)

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        """It polls and probes a WebSocket (Engine.IO protocol, "Upgrade")."""
        if self.upgraded or self._probe is not None:
            return self.server._bad_request("upgraded already")
        self._probe = self.server.make_line(self)
        upgrade = Upgrade(self._probe)
        try:
            await upgrade.prepare(environ["aiohttp.request"])
        except BaseException:
            self._probe = None  # it may try again
            raise
        return upgrade

    def _upgrade_step(self, line: Line, message: str | bytes) -> None:
        if message == "2probe" and not self.upgrading:
            self.upgrading = True  # from here on packets wait in the queue
            line.write(frame(b"3probe"))
            self._enqueue(Packet(NOOP))  # ends the poll that waits
        elif message == "5" and self.upgrading and line is self._probe:
            self._probe, self.upgrading = None, False
            self._use(line)
        else:
            line.close()

    def lost(self, line: Line) -> None:
        """Its WebSocket has ended."""
        if line is self.line:
            self.hang_up(self.server.reason.TRANSPORT_CLOSE)
        elif line is self._probe:
            self._probe, self.upgrading = None, False

    def overrun(self, line: Line) -> None:
        """It does not read; it resumes by ``since`` when it comes back."""
        metrics.CUT_OFF.inc()
        log.info("socket.cut_off", queued_bytes=line.queued)

    # --- end ---

    def hang_up(self, reason: str) -> None:
        """``close`` without waiting for who is told of it; nothing more is heard of it."""
        if not self.closing and not self._ending:
            self._ending = True
            self._say_who_speaks()
            self.server.keep(self.close(wait=False, abort=True, reason=reason))

    async def close(
        self, wait: bool = True, abort: bool = False, reason: str | None = None
    ) -> None:
        """End it; whoever listens is told first, by ``disconnect``."""
        if self.closed or self.closing:
            return
        self.closing = True
        told = reason or self.server.reason.SERVER_DISCONNECT
        await self.server._trigger_event("disconnect", self.sid, told, run_async=False)
        if not abort:
            self._send(Packet(CLOSE))
        self.closed = True
        self.owner = None
        self.server.strangers.pop(self.sid, None)
        if self.line is not None:
            self.line.close()
        elif self.queue is not None:
            self.queue.put_nowait(None)  # ends the poll that waits
        if self._probe is not None:
            self._probe.close()
        if self.line is not None or abort:
            self.server.sockets.pop(self.sid, None)

    def beat(self) -> bool:
        """Its turn of the wheel: hang up where the last ping was not answered, unless the answer may wait
        behind what it has sent too fast. True where ``PING_FRAME`` is to be sent to its line now; to
        one that polls it is."""
        self._unowned_beats = 0 if self.owner is not None else self._unowned_beats + 1
        if self.line is not None:
            behind = self.line.held_back
        else:
            behind = bool(self._posted) and not self._reads_late
        if not (self._answered or behind) or self._unowned_beats > 1:
            self.hang_up(self.server.reason.PING_TIMEOUT)
            return False
        self._answered = False
        if self.line is None:
            self._enqueue(Packet(PING))
        return self.line is not None

    def schedule_ping(self) -> None:
        """The wheel does it."""


def deliver(sockets: Iterable[Socket], message: Message) -> None:
    """``Socket.deliver`` to many."""
    lines = []
    for socket in sockets:
        if socket.line is not None:
            lines.append(socket.line)
        else:
            socket.deliver(message)
    spread(lines, message.frame)
