"""A bad line between browsers and a server: a UDP relay that drops, delays, reorders, duplicates and
limits, the same way for the same seed.

``python benchmarks/load/relay.py --to 127.0.0.1:7000`` prints the port that it listens on, and with
``--tcp 127.0.0.1:8080`` the one of TCP. A line of JSON on standard input changes what one way or both
do from then on, e.g. ``{"way": "down", "loss": 0.02, "delay_ms": 40}``: fields of ``Way``; what is not
named stays. They concern UDP alone; TCP is carried as it comes, and while all is lost both ways not
at all. It ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

READ_BYTES = 2048
BUFFER_BYTES = 4 << 20
Send = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Way:
    """What the line does in one direction."""

    loss: float = 0.0
    """share of packets that are lost, 0 to 1"""
    burst: float = 1.0
    """so many packets are lost in a row on average (two states, Gilbert); 1: at random"""
    delay_ms: float = 0.0
    rate_bps: float = 0.0
    """0: unlimited"""
    queue_ms: float = 300.0
    """what would wait longer for the limited line is dropped"""
    reorder: float = 0.0
    """share of packets that are late by ``reorder_ms``, overtaken by those behind them"""
    reorder_ms: float = 30.0
    duplicate: float = 0.0
    """share of packets that come twice"""


class Direction:
    """One way of one client's line."""

    def __init__(self, way: Way, seed: int) -> None:
        self.way = way
        self._random = random.Random(seed)
        self._losing = False
        self._free_s = self._latest_s = 0.0

    def _lost(self) -> bool:
        way = self.way
        if way.burst <= 1:
            return self._random.random() < way.loss
        if way.loss >= 1:
            return True
        ends = 1 / way.burst
        begins = ends * way.loss / (1 - way.loss)
        self._losing = self._random.random() < ((1 - ends) if self._losing else begins)
        return self._losing

    def times(self, size: int, now_s: float) -> list[float]:
        """When a packet of ``size`` bytes (with IP and UDP) arrives; never, or more than once."""
        way = self.way
        if self._lost():
            return []
        begin_s = max(now_s, self._free_s) if way.rate_bps else now_s
        if begin_s - now_s > way.queue_ms / 1000:
            return []
        if way.rate_bps:
            self._free_s = begin_s = begin_s + size * 8 / way.rate_bps
        at_s = begin_s + way.delay_ms / 1000
        if self._random.random() < way.reorder:
            at_s += way.reorder_ms / 1000
        else:
            at_s = self._latest_s = max(at_s, self._latest_s)
        return [at_s] * (2 if self._random.random() < way.duplicate else 1)


class Relay:
    """Listens on a port of its own; each client has a socket of its own towards the server."""

    def __init__(self, server: tuple[str, int], seed: int = 1) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = server
        self._random = random.Random(seed)
        self._ways = {"up": Way(), "down": Way()}
        self._directions: dict[str, list[Direction]] = {"up": [], "down": []}
        self._clients: dict[Any, Send] = {}
        self._socket = self._open()
        self._socket.bind((server[0], 0))
        self._read(self._socket, self._from_client)
        self.port: int = self._socket.getsockname()[1]

    def change(self, way: str = "", **fields: float) -> None:
        """From now on; ``way``: ``up``, ``down`` or both."""
        for name in [way] if way else list(self._ways):
            self._ways[name] = replace(self._ways[name], **fields)
            for direction in self._directions[name]:
                direction.way = self._ways[name]

    @property
    def dead(self) -> bool:
        """Is everything lost, both ways?"""
        return all(way.loss >= 1 for way in self._ways.values())

    @staticmethod
    def _open() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        return sock

    def _read(self, sock: socket.socket, receive: Callable[[bytes, Any], None]) -> None:
        def drain() -> None:
            while True:
                try:
                    receive(*sock.recvfrom(READ_BYTES))
                except OSError:  # nothing more, or the other side is gone
                    return

        self._loop.add_reader(sock, drain)

    def _from_client(self, data: bytes, client: Any) -> None:
        if client not in self._clients:
            self._clients[client] = self._join(client)
        self._clients[client](data)

    def _join(self, client: Any) -> Send:
        upstream = self._open()
        upstream.connect(self._server)
        up = self._carry("up", upstream.send)
        down = self._carry("down", lambda data: self._socket.sendto(data, client))
        self._read(upstream, lambda data, _address: down(data))
        return up

    def _carry(self, way: str, send: Callable[[bytes], int]) -> Send:
        direction = Direction(self._ways[way], self._random.getrandbits(32))
        self._directions[way].append(direction)

        def arrive(data: bytes) -> None:
            try:
                send(data)
            except OSError:
                pass  # a full buffer, or nobody there: a line loses it

        def carry(data: bytes) -> None:
            now_s = self._loop.time()
            for at_s in direction.times(len(data) + 28, now_s):
                if at_s <= now_s:
                    arrive(data)
                else:
                    self._loop.call_at(at_s, arrive, data)

        return carry


class TcpRelay:
    """Carries connections while there is a line. Those that meet its end carry nothing any more, and
    are reset some time after its return: TCP repeats so seldom by then.
    """

    RESET_S = 10.0

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._dead: set[asyncio.StreamWriter] = set()
        self._alive: set[asyncio.StreamWriter] = set()
        self._cut = False
        self.port = 0

    async def start(self) -> None:
        """Listen on ``port``."""
        listening = await asyncio.start_server(self._serve, self._server[0], 0)
        self.port = listening.sockets[0].getsockname()[1]

    def cut(self, cut: bool) -> None:
        """No line, or one again."""
        if self._cut and not cut:
            asyncio.get_running_loop().call_later(self.RESET_S, self._reset, set(self._dead))
        self._cut = cut
        if cut:
            self._dead |= self._alive

    @staticmethod
    def _reset(writers: set[asyncio.StreamWriter]) -> None:
        for writer in writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._alive.add(writer)
        try:
            if self._cut:
                self._dead.add(writer)
                await reader.read()
                return
            up_reader, up_writer = await asyncio.open_connection(*self._server)
            ways = (self._carry(reader, up_writer, writer), self._carry(up_reader, writer, writer))
            await asyncio.gather(*ways)
        except OSError:
            pass  # either side hung up
        finally:
            self._alive.discard(writer)
            self._dead.discard(writer)
            writer.close()

    async def _carry(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(65536):
            if client not in self._dead:
                to.write(data)
                await to.drain()
        to.close()


async def run(server: tuple[str, int], seed: int, tcp: tuple[str, int] | None) -> None:
    """Relay until standard input ends."""
    loop = asyncio.get_running_loop()
    relay = Relay(server, seed)
    print(relay.port, flush=True)
    connections = TcpRelay(tcp) if tcp else None
    if connections is not None:
        await connections.start()
        print(connections.port, flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        relay.change(**json.loads(line))
        if connections is not None:
            connections.cut(relay.dead)


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", required=True, help="host:port of the server's UDP")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tcp", help="host:port of the server's pages")
    arguments = parser.parse_args()
    tcp = _address(arguments.tcp) if arguments.tcp else None
    asyncio.run(run(_address(arguments.to), arguments.seed, tcp))


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    main()
