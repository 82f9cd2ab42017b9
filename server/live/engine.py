"""Engine.IO 4 for many quiet clients: python-engineio with a transport handling of our own.

python-engineio keeps, for each client, a reader and a writer task, a queue and a sleeping ping,
and starts a task a message. Here a client is a ``Socket`` without any, and one wheel beats for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from operator import itemgetter
from typing import Any

import engineio
import structlog
from engineio.packet import OPEN, Packet

from server.live import metrics
from server.live.client import PING_FRAME, Socket
from server.live.intake import Intake, Sent, intake
from server.live.spread import flush, spread
from server.live.websocket import Line

PING_INTERVAL_S = 25
"""Proxies and mobile networks forget a quiet connection after 30 to 60 s."""
PING_TIMEOUT_S = 20
MOST_QUEUED_IN_ALL = 256 << 20
"""Bytes that all clients together may leave unread or half sent ..."""
RELIEVE_EVERY = 5
"""... which are counted each so many seconds: a look at each of 1,703 takes as long as all their pings"""
MOST_STRANGERS = 10_000
"""Who have not said yet who they are; beyond it the one that came first goes. A room's phones say so
within moments, and who polls without ever saying it holds no connection that would bound it."""

log = structlog.get_logger(__name__)


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """The Engine.IO server."""

    sockets: dict[str, Socket]

    def __init__(self, **options: Any) -> None:
        super().__init__(
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            monitor_clients=False,
            **options,
        )
        self.take: Callable[[Socket, str | bytes], None] = lambda _socket, _message: None
        """called with each Socket.IO packet"""
        self.take_commands: Callable[[Sequence[Sent]], None] = lambda _commands: None
        """called with the plain commands of known clients that have come; these are no ``take``'s"""
        self.strangers: dict[str, Socket] = {}
        """by session, the one that came first before the others"""
        self._wheel: list[list[Socket]] = [[] for _ in range(PING_INTERVAL_S)]
        self._next_slot = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._beating: asyncio.Task[None] | None = None
        self._holding: list[Line] = []
        self._intake: Intake | None = None

    def make_line(self, socket: Socket) -> Line:
        """A WebSocket of ``socket``."""
        return Line(socket, self.max_http_buffer_size, socket.allowance, self._intake)

    def keep(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run ``work`` until it ends or ``shutdown``."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def flush_soon(self, line: Line) -> None:
        """``line.flush()`` behind what is under way now."""
        if not self._holding:
            asyncio.get_running_loop().call_soon(self._flush)
        self._holding.append(line)

    def _flush(self) -> None:
        lines, self._holding = self._holding, []
        flush(lines)

    async def send_packet(self, sid: str, pkt: Packet) -> None:
        """The library's, without a line in the log for each client that has gone meanwhile."""
        socket = self.sockets.get(sid)
        if socket is not None and not socket.closed:
            await socket.send(pkt)

    async def shutdown(self) -> None:
        """End every task."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, *self._tasks, return_exceptions=True)
        await super().shutdown()
        if self._intake is not None:
            self._intake.close()
            self._intake = None

    async def _handle_connect(
        self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None
    ) -> Any:
        """The library's, with our ``Socket``. It takes no part in the wheel until it is open."""
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())
            self._intake = intake(self.take_commands)
        sid = self.generate_id()
        socket = self.sockets[sid] = Socket(self, sid)
        socket.peer = environ["aiohttp.request"].remote
        self._admit_stranger(socket)
        await socket.send(
            Packet(
                OPEN,
                {
                    "sid": sid,
                    "upgrades": self._upgrades(sid, transport),
                    "pingTimeout": PING_TIMEOUT_S * 1000,
                    "pingInterval": PING_INTERVAL_S * 1000,
                    "maxPayload": self.max_http_buffer_size,
                },
            )
        )
        await self._trigger_event("connect", sid, environ, run_async=False)
        self._next_slot = (self._next_slot + 1) % PING_INTERVAL_S
        self._wheel[self._next_slot].append(socket)
        if transport == "websocket":
            try:
                return await socket.begin_line(environ)
            except BaseException:
                self.sockets.pop(sid, None)
                self.strangers.pop(sid, None)
                socket.closed = True
                self.keep(self._trigger_event("disconnect", sid, self.reason.TRANSPORT_ERROR))
                raise
        socket.connected = True
        return self._ok(await socket.poll(), jsonp_index=jsonp_index)

    def _admit_stranger(self, socket: Socket) -> None:
        self.strangers[socket.sid] = socket
        if len(self.strangers) > MOST_STRANGERS:
            first = self.strangers.pop(next(iter(self.strangers)))
            first.hang_up(self.reason.TRANSPORT_ERROR)

    async def _beat(self) -> None:
        """Each second the sockets of one slot; a slot's turn comes every ``PING_INTERVAL_S``."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        slot = 0
        while True:
            # Never two turns at once, also after a stall: who is alive has had no time to answer.
            due = max(due + 1.0, loop.time())
            await asyncio.sleep(due - loop.time())
            metrics.LOOP_DELAY.observe(loop.time() - due)
            slot = (slot + 1) % PING_INTERVAL_S
            open_now = [socket for socket in self._wheel[slot] if not socket.closed]
            for socket in self._wheel[slot]:
                if socket.closed:
                    self.sockets.pop(socket.sid, None)
            self._wheel[slot] = open_now
            self._ping(open_now)
            metrics.SOCKETS.set(len(self.sockets))
            if slot % RELIEVE_EVERY == 0:
                metrics.QUEUED_BYTES.set(self._relieve())

    def _ping(self, sockets: Sequence[Socket]) -> None:
        """It is their turn of the wheel."""
        lines = []
        for socket in sockets:
            try:
                if socket.beat() and socket.line is not None:
                    lines.append(socket.line)
            except Exception:  # of one; the others' hearts beat on
                log.exception("socket.beat_failed")
        spread(lines, PING_FRAME)

    def _relieve(self) -> int:
        """Bytes that are held for all, after those with the most were cut off where it is too much."""
        sizes = [(socket.held, socket) for socket in self.sockets.values() if not socket.closed]
        held = sum(size for size, _ in sizes)
        if held <= MOST_QUEUED_IN_ALL:
            return held
        for size, socket in sorted(sizes, key=itemgetter(0), reverse=True):
            held -= size
            socket.cut_off()
            if held <= MOST_QUEUED_IN_ALL / 2:
                break
        log.warning("socket.too_much_queued", left_bytes=held)
        return held
