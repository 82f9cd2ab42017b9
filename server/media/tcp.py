"""ICE over TCP: the passive side of RFC 6544 with the framing of RFC 4571.

The same datagrams as on the UDP socket, each behind its length, for networks that drop UDP. A
connection is a *path* like an address is; what comes over it goes the way of all packets.

A stranger may open connections, so those that have not proven themselves by a valid check are few,
short-lived, and the oldest make room for new ones: whoever means it proves it within milliseconds.
Browsers open one more than they need: where UDP passes, nothing ever comes over it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any, cast

from server import listening

MAX_FRAME_BYTES = 2048
"""a longer frame is not ours"""
MAX_UNSENT_BYTES = 256 << 10
"""half a second of a large picture; what more there is to send is dropped as a router would"""
UNPROVEN_S = 5.0
MAX_UNPROVEN = 512


def written(host: str) -> str:
    """An address as people write it: a socket for IPv6 and IPv4 shows the latter mapped."""
    return host.removeprefix("::ffff:")


class Connection(asyncio.Protocol):
    """One TCP connection of somebody; ``proven`` once a valid check came over it."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.remote: tuple[str, int] = ("0.0.0.0", 0)
        self.opened_at_s = time.monotonic()
        self.silent = True
        """nothing has come over it"""
        self.proven = False
        self.dropped = 0
        """packets that the receiver was too slow for"""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected."""
        self._transport = cast(asyncio.Transport, transport)
        remote: tuple[Any, ...] = transport.get_extra_info("peername") or self.remote
        self.remote = (remote[0], remote[1])
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._paths.opened(self)

    def data_received(self, data: bytes) -> None:
        """Take whole frames out of the stream."""
        self.silent = False
        buffer = self._buffer
        buffer += data
        position = 0
        while len(buffer) - position >= 2:
            size = buffer[position] << 8 | buffer[position + 1]
            if size > MAX_FRAME_BYTES:
                self._paths.refuse(self)
                return
            end = position + 2 + size
            if end > len(buffer):
                break
            if size:
                self._paths.receive(memoryview(bytes(buffer[position + 2 : end])), self)
            position = end
        del buffer[:position]

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, whoever ended it."""
        self._transport = None
        self._paths.lost(self)

    @property
    def host(self) -> str:
        """The remote address, as people write it."""
        return written(self.remote[0])

    @property
    def is_open(self) -> bool:
        """Has it not ended?"""
        return self._transport is not None

    def send(self, data: bytes | memoryview) -> bool:
        """Send one frame; False where it was dropped."""
        transport = self._transport
        if transport is None or transport.is_closing():  # it broke, and we are not told yet
            return False
        if transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self.dropped += 1
            return False
        transport.write(len(data).to_bytes(2, "big") + data)
        return True

    def close(self) -> None:
        """End it at once: nobody waits for what is unsent."""
        if self._transport is not None:
            self._transport.abort()


class Paths:
    """The connections that are open. ``on_datagram(data, connection)``, ``on_lost(connection)``,
    ``on_refused(host)``."""

    def __init__(
        self,
        on_datagram: Callable[[memoryview, Connection], None],
        on_lost: Callable[[Connection], None],
        on_refused: Callable[[str], None],
    ) -> None:
        self._on_datagram = on_datagram
        self._on_lost = on_lost
        self._on_refused = on_refused
        self.open: dict[Connection, None] = {}
        self.unproven: dict[Connection, None] = {}
        """in the order of opening"""

    def opened(self, connection: Connection) -> None:
        """Take in a new connection, in place of the oldest unproven one where there are many."""
        self.open[connection] = None
        self.unproven[connection] = None
        if len(self.unproven) > MAX_UNPROVEN:
            self.refuse(next(iter(self.unproven)))

    def refuse(self, connection: Connection) -> None:
        """End a connection that means no good, or took too long to show that it does."""
        self._on_refused(connection.host)
        connection.close()

    def receive(self, data: memoryview, connection: Connection) -> None:
        """One datagram."""
        self._on_datagram(data, connection)
        if connection.proven:
            self.unproven.pop(connection, None)

    def lost(self, connection: Connection) -> None:
        """A connection is over."""
        self.open.pop(connection, None)
        self.unproven.pop(connection, None)
        self._on_lost(connection)


class Listener:
    """The worker's TCP socket."""

    def __init__(
        self,
        sock: socket.socket,
        on_datagram: Callable[[memoryview, Connection], None],
        on_lost: Callable[[Connection], None],
        on_refused: Callable[[str], None],
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._server: asyncio.Server | None = None
        self.paths = Paths(on_datagram, on_lost, on_refused)

    async def start(self) -> None:
        """Begin to accept."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self.paths), sock=self._socket, backlog=listening.TAKEN_AT_ONCE
        )
        listening.make_room(self._socket)

    def stop(self) -> None:
        """Stop accepting and end every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.paths.open):
            connection.close()

    def tick(self, now_s: float, is_known: Callable[[str], bool]) -> None:
        """Every second or so: end what has proven nothing. ``is_known``: somebody at this address
        has; a silent one from there is a browser's that was not needed."""
        late = [c for c in self.paths.unproven if now_s - c.opened_at_s > UNPROVEN_S]
        known = {host: is_known(host) for host in {c.host for c in late}}
        for connection in late:
            if connection.silent and known[connection.host]:
                connection.close()
            else:
                self.paths.refuse(connection)
