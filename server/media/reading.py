"""What comes on the UDP socket: ``Compiled`` (``receive.c``, all that has come by one call) where that
was built, else ``Plain``, datagram by datagram.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any, Protocol

from server.media import native

Address = tuple[Any, ...]
"""what recvfrom gives: (host, port) or (host, port, flow, scope)"""
DATAGRAM_BYTES = 2048
"""what is longer is cut; it is nothing that we know"""
MAX_BATCH = 128
"""datagrams read before the loop gets its turn again"""
MAX_KNOWN = 4096
"""addresses that are remembered as the kernel writes them; strangers must not fill the memory"""


class Reader(Protocol):
    """See the module."""

    def read(self) -> Iterator[tuple[memoryview, Address]]:
        """What has come, ``MAX_BATCH`` at most, and where from; never empty datagrams. Each is valid
        until the next."""


class Plain:
    """In Python."""

    def __init__(self, sock: socket.socket) -> None:
        self._receive = sock.recvfrom_into
        self._buffer = bytearray(DATAGRAM_BYTES)
        self._view = memoryview(self._buffer)

    def read(self) -> Iterator[tuple[memoryview, Address]]:
        """See ``Reader``."""
        for _ in range(MAX_BATCH):
            try:
                size, address = self._receive(self._buffer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # e.g. an ICMP error of an earlier send
                continue
            if size:
                yield self._view[:size], address


class Compiled:
    """By ``receive.c``. Raises: RuntimeError where that was not built."""

    def __init__(self, sock: socket.socket) -> None:
        library = native.library()
        if library is None:
            raise RuntimeError("receive.c was not built")
        ffi, code = library
        self._family = sock.family
        self._memory = ffi.new("char[]", code.diemcau_arrivals_bytes())
        rows = ffi.new("struct datagram **")
        data = code.diemcau_arrivals_open(self._memory, sock.fileno(), rows)
        self._rows = [rows[0] + i for i in range(MAX_BATCH)]
        self._addresses = [memoryview(ffi.buffer(row.address)) for row in self._rows]
        views = memoryview(ffi.buffer(data, MAX_BATCH * DATAGRAM_BYTES))
        starts = range(0, len(views), DATAGRAM_BYTES)
        self._views = [views[start : start + DATAGRAM_BYTES] for start in starts]
        self._receive = code.diemcau_receive
        self._known: dict[bytes, Address] = {}

    def read(self) -> Iterator[tuple[memoryview, Address]]:
        """See ``Reader``."""
        for i in range(self._receive(self._memory)):
            row = self._rows[i]
            if row.size:
                written = bytes(self._addresses[i][: row.address_size])
                yield self._views[i][: row.size], self._known.get(written) or self._know(written)

    def _know(self, written: bytes) -> Address:
        """The address in ``written``, a struct sockaddr_in or sockaddr_in6."""
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[written] = address = _address(self._family, written)
        return address


def _address(family: int, written: bytes) -> Address:
    """As recvfrom gives it."""
    (port,) = struct.unpack_from("!H", written, 2)
    if family == socket.AF_INET:
        return socket.inet_ntoa(written[4:8]), port
    (flow,), (scope,) = struct.unpack_from("!I", written, 4), struct.unpack_from("=I", written, 24)
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    host = socket.inet_ntop(socket.AF_INET6, written[8:24])
    return socket.getnameinfo((host, port, flow, scope), numeric)[0], port, flow, scope


def reader(sock: socket.socket, way: str = "auto") -> Reader:
    """``compiled``, ``plain``, or with ``auto`` what there is. Raises: RuntimeError as ``Compiled``."""
    if way == "plain" or (way == "auto" and native.library() is None):
        return Plain(sock)
    return Compiled(sock)
