"""Many Socket.IO 4 phones in one process: raw WebSockets on one epoll, as lean as Python can.

It is a program: JSON orders on standard input, one JSON answer a line (``phones.py`` drives it).
Frames carry the mask 0, which is a mask (RFC 6455 section 5.3); servers undo it all the same.
"""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

READ_BYTES = 1 << 16
PATIENCE_S = 60.0
PHONES_AN_ADDRESS = 4000


def frame(text: bytes) -> bytes:
    """A masked text frame."""
    size = len(text)
    head = bytes((0x81, 0x80 | size)) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
    return head + b"\0\0\0\0" + text


PONG = frame(b"3")


class Phone:
    """One connection: what it waits for, and since when."""

    __slots__ = ("socket", "unread", "auth", "sent_s", "ready_s")

    def __init__(self, address: tuple[str, int], order: dict[str, Any], auth: object) -> None:
        # An address of the loopback network a few thousand phones: ports are 28,000 an address.
        source = f"127.0.0.{2 + order.get('number', 0) // PHONES_AN_ADDRESS}"
        self.socket = socket.create_connection(address, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""
        self.auth = json.dumps(auth, separators=(",", ":")).encode() if auth else b""
        self.sent_s = time.perf_counter()
        self.ready_s: float | None = None
        key = base64.b64encode(os.urandom(16)).decode()
        cookie = f"Cookie: {order['cookie']}\r\n" if order.get("cookie") else ""
        self.socket.sendall(
            (
                f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address[0]}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {key}\r\n{cookie}\r\n"
            ).encode()
        )
        self.socket.setblocking(False)

    def send(self, text: bytes) -> None:
        """A packet; small ones always fit into the socket's buffer."""
        self.socket.send(frame(text))

    def packets(self) -> list[bytes]:
        """Whole packets that have come. Raises: ConnectionError once it is cut."""
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError
        data = self.unread + data
        found, at = [], 0
        if data.startswith(b"HTTP"):
            if (end := data.find(b"\r\n\r\n")) < 0:
                self.unread = data
                return []
            if not data.startswith(b"HTTP/1.1 101"):
                raise ConnectionRefusedError(data[:200])
            at = end + 4
        while len(data) - at >= 2:
            size, head = data[at + 1], 2
            if size == 126 and len(data) - at >= 4:
                size, head = struct.unpack_from("!H", data, at + 2)[0], 4
            elif size == 127 and len(data) - at >= 10:
                size, head = struct.unpack_from("!Q", data, at + 2)[0], 10
            if (size in (126, 127) and head == 2) or len(data) - at < head + size:
                break
            if data[at] == 0x88:
                raise ConnectionResetError
            found.append(data[at + head : at + head + size])
            at += head + size
        self.unread = data[at:]
        return found


class Crowd:
    """All phones. ``heard`` is what a round counts: called with (phone, packet, seconds)."""

    def __init__(self) -> None:
        self.phones: list[Phone] = []
        self.ready = 0
        self.lost = 0
        self._poll = select.epoll()
        self._poll.register(0, select.EPOLLIN)
        self._by_fd: dict[int, Phone] = {}
        self._ready_by = b""
        self.heard: Callable[[Phone, bytes, float], None] | None = None

    def turn(self, timeout_s: float) -> bool:
        """Serve what has come; True where an order waits."""
        ordered = False
        for fd, _what in self._poll.poll(timeout_s):
            if fd == 0:
                ordered = True
                continue
            phone = self._by_fd[fd]
            try:
                packets = phone.packets()
            except OSError:
                self._drop(fd, phone)
                continue
            now = time.perf_counter()
            for packet in packets:
                self._take(phone, packet, now)
        return ordered

    def _drop(self, fd: int, phone: Phone) -> None:
        self.lost += 1
        self._poll.unregister(fd)
        del self._by_fd[fd]
        phone.socket.close()

    def _take(self, phone: Phone, packet: bytes, now: float) -> None:
        if packet == b"2":
            phone.socket.send(PONG)
            return
        if packet.startswith(b"0"):
            phone.send(b"40" + phone.auth)
        elif phone.ready_s is None and packet.startswith(self._ready_by):
            phone.ready_s = now
            self.ready += 1
        elif self.heard is not None:
            self.heard(phone, packet, now)

    def connect(self, order: dict[str, Any]) -> dict[str, Any]:
        """``phones`` one after the other, ``per_s`` of them at most; until each is ready."""
        self._ready_by = order["ready"].encode()
        address = (order["host"], order["port"])
        began = time.perf_counter()
        for number, each in enumerate(order["phones"]):
            due = began + number / order["per_s"]
            while (left := due - time.perf_counter()) > 0:
                self.turn(left)
            phone = Phone(address, each | {"number": len(self.phones)}, each.get("auth"))
            self.phones.append(phone)
            self._by_fd[phone.socket.fileno()] = phone
            self._poll.register(phone.socket.fileno(), select.EPOLLIN)
            self.turn(0)
        self._until(lambda: self.ready >= len(self.phones))
        waits = [phone.ready_s - phone.sent_s for phone in self.phones if phone.ready_s]
        return {"seconds": time.perf_counter() - began, "ms": _ms(waits)}

    def _until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            if time.monotonic() > deadline or self.lost:
                raise TimeoutError(f"the crowd waited in vain; {self.lost} lines were cut")
            self.turn(1.0)

    def fanout(self, order: dict[str, Any]) -> dict[str, Any]:
        """The first phone sends each of ``packets``; ms until the last has heard of it."""
        conductor, marker = self.phones[0], order["marker"].encode()
        audience = len(self.phones)
        lasts: list[float] = []
        for number, text in enumerate(order["packets"]):
            heard = 0
            last_s = 0.0

            def listen(_phone: Phone, packet: bytes, now: float) -> None:
                nonlocal heard, last_s
                if packet.startswith(b'42["events"') and marker in packet:
                    heard += packet.count(marker)
                    last_s = now

            self.heard = listen
            began = time.perf_counter()
            conductor.send(f"42{number}".encode() + text.encode())
            self._until(lambda: heard >= audience)
            lasts.append(last_s - began)
            pause_end = time.perf_counter() + order.get("pause_s", 0.0)
            while (left := pause_end - time.perf_counter()) > 0:
                self.turn(left)
        return {"ms": _ms(lasts)}

    def burst(self, order: dict[str, Any]) -> dict[str, Any]:
        """Each phone but the first sends a command, evenly over ``spread_s``; until all are
        acknowledged."""
        phones = self.phones[1:]
        number = order["round"]
        mark = f"43{number}[".encode()
        waits: list[float] = []
        refused: list[str] = []

        def listen(phone: Phone, packet: bytes, now: float) -> None:
            if packet.startswith(mark):
                waits.append(now - phone.sent_s)
                if b'"ok":true' not in packet:
                    refused.append(packet.decode())

        self.heard = listen
        body = json.dumps(order["payload"], separators=(",", ":"))
        text = f'42{number}["{order["type"]}",{body},"round {number}"]'.encode()
        began = time.perf_counter()
        for count, phone in enumerate(phones):
            if order["spread_s"]:
                due = began + order["spread_s"] * count / len(phones)
                while (left := due - time.perf_counter()) > 0:
                    self.turn(left)
            elif count % 16 == 0:
                self.turn(0)
            phone.sent_s = time.perf_counter()
            phone.send(text)
        self._until(lambda: len(waits) >= len(phones))
        return {"ms": _ms(waits), "refused": refused[:3]}


def _ms(waits: list[float]) -> list[float]:
    return [wait * 1e3 for wait in waits]


def main() -> None:
    """Serve orders until standard input ends; phones answer pings meanwhile."""
    crowd = Crowd()
    orders = {"connect": crowd.connect, "fanout": crowd.fanout, "burst": crowd.burst}
    unread = b""
    while True:
        while b"\n" not in unread:
            if crowd.turn(1.0):
                data = os.read(0, READ_BYTES)
                if not data:
                    return
                unread += data
        line, _, unread = unread.partition(b"\n")
        order = json.loads(line)
        try:
            answer = orders[order["do"]](order)
        except (TimeoutError, OSError) as error:
            answer = {"error": str(error)}
        crowd.heard = None
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
