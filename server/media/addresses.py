"""Where datagrams come from and go to, in Python and as the kernel writes it.

Who listens on all of this machine's addresses answers from the one that was asked (RFC 8445, 7.3.1.2):
by itself the kernel would take that of the route, and browsers take no answer from another.
"""

from __future__ import annotations

import functools
import socket
import struct
from collections.abc import Sequence
from typing import Any

Address = tuple[Any, ...]
"""what recvfrom gives: (host, port) or (host, port, flow, scope); over a socket that listens on all
addresses followed by ours, as the kernel writes that (bytes)"""
Control = tuple[int, int, bytes]
MOST_BYTES = 44
"""of one that is written: a struct sockaddr_in6 and a struct in6_addr"""
CONTROL_BYTES = socket.CMSG_SPACE(20)
"""of what tells ours: a struct in6_pktinfo"""
EVERYWHERE = ("0.0.0.0", "::")
IP_PKTINFO = 8
"""of linux/in.h; the socket module lacks it"""
_SOCKADDR_BYTES = {socket.AF_INET: 16, socket.AF_INET6: 28}


def tell_ours(sock: socket.socket) -> bool:
    """Have the kernel say which of our addresses a datagram came to, where there may be several."""
    if sock.getsockname()[0] not in EVERYWHERE:
        return False
    if sock.family == socket.AF_INET6:  # IPv4 as well
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    return True


def with_ours(address: Address, told: Sequence[Control]) -> Address:
    """``address``, and ours where it was told with the datagram."""
    for level, kind, data in told:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return *address, data[:16]
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            return *address, data[4:8]
    return address


def split(address: Address) -> tuple[Address, list[Control]]:
    """What a send takes: the address itself, and what has it leave from ours."""
    ours = address[-1]
    return (address[:-1], _from(ours)) if isinstance(ours, bytes) else (address, [])


@functools.lru_cache(maxsize=256)
def _from(ours: bytes) -> list[Control]:
    if len(ours) == 4:
        return [(socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + ours + bytes(4))]
    return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, ours + bytes(4))]


def send(sock: socket.socket, data: bytes | memoryview, address: Address) -> None:
    """One datagram. Raises: OSError."""
    to, control = split(address)
    if control:
        sock.sendmsg([data], control, 0, to)
    else:
        sock.sendto(data, to)


def read(family: int, written: bytes) -> Address:
    """The address that the kernel wrote as a struct sockaddr_in or sockaddr_in6, and ours behind it."""
    size = _SOCKADDR_BYTES[socket.AddressFamily(family)]
    ours = (written[size:],) if len(written) > size else ()
    (port,) = struct.unpack_from("!H", written, 2)
    if family == socket.AF_INET:
        return socket.inet_ntoa(written[4:8]), port, *ours
    (flow,), (scope,) = struct.unpack_from("!I", written, 4), struct.unpack_from("=I", written, 24)
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    host = socket.inet_ntop(socket.AF_INET6, written[8:24])
    return socket.getnameinfo((host, port, flow, scope), numeric)[0], port, flow, scope, *ours


def write(family: int, address: Address) -> bytes:
    """The same as the kernel writes it."""
    ours = address[-1] if isinstance(address[-1], bytes) else b""
    host, port = address[:2]
    packed = socket.inet_pton(family, host.partition("%")[0])
    head = struct.pack("=H", family) + struct.pack("!H", port)
    if family == socket.AF_INET:
        return head + packed + bytes(8) + ours
    return head + struct.pack("!I", address[2]) + packed + struct.pack("=I", address[3]) + ours
