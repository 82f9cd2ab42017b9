"""Bursts to receivers over the UDP socket: protected in place, equal packets in one send.

``Compiled`` (``forward.c``, a call for each burst and receiver, one system call for many receivers)
where it was built, else ``Plain``, which does the same in Python. Both use UDP_SEGMENT (Linux 4.18)
where the kernel has it and send packet by packet where not, and where a path refuses it.
"""

from __future__ import annotations

import functools
import logging
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cffi import FFI  # type: ignore[import-untyped]

from server.media import rtp
from server.media.bursts import Burst, Packet
from server.media.srtp import BUFFER_BYTES, PROTECT_ADDRESS, Arena, Srtp

log = logging.getLogger(__name__)

Address = tuple[Any, ...]
SOL_UDP, UDP_SEGMENT = 17, 103
"""of linux/udp.h; the socket module lacks them"""
MAX_SEGMENTS, MAX_RUN_BYTES = 64, 64000
"""of one send: UDP_MAX_SEGMENTS, and what a UDP datagram holds"""
ARENA_BYTES = 128 << 10
VERSION = 1
"""of the compiled code that belongs to this module"""
_U16 = struct.Struct("=H")


@dataclass(slots=True, eq=False)
class Lane:
    """One layer's way to one receiver: what stays the same from burst to burst."""

    srtp: Srtp
    head: rtp.Head
    address: Address
    payload_type: int
    number: int
    """added to sequence numbers"""
    timestamp: int
    """added to time stamps"""
    made: Any = None
    """what a sender has made of it"""
    kept: Any = None
    """what ``made`` points to"""

    def write(self, packet: Packet, transport: int) -> None:
        """The header for ``packet``."""
        self.head.write(
            padding=bool(packet.data[0] & 0x20),
            marker=packet.header.marker,
            payload_type=self.payload_type,
            sequence=(packet.number + self.number) & 0xFFFF,
            timestamp=(packet.header.timestamp + self.timestamp) & 0xFFFFFFFF,
        )
        if self.head.transport_at:
            self.head.write_transport(transport & 0xFFFF)


class Sender(Protocol):
    """What may be held back until ``flush``."""

    @property
    def dropped(self) -> int:
        """Packets that could not be sent."""

    def forward(self, lane: Lane, transport: int, burst: Burst) -> None:
        """Send ``burst``; ``transport`` is the transport-wide number of its first packet."""

    def flush(self) -> None:
        """Send what was held back."""


def can_segment(sock: socket.socket) -> bool:
    """Does the kernel cut one send into datagrams?"""
    try:
        sock.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
    except OSError:
        return False
    return True


class Plain:
    """In Python."""

    def __init__(self, sock: socket.socket, *, offload: bool = True) -> None:
        self.dropped = 0
        self._socket = sock
        self._most = MAX_SEGMENTS if offload and can_segment(sock) else 1
        self._arena = Arena(ARENA_BYTES)

    def forward(self, lane: Lane, transport: int, burst: Burst) -> None:
        """Send at once."""
        arena, data, address = self._arena, lane.head.data, lane.address
        protect_in = lane.srtp.protect_in
        start = end = segment = count = 0
        closed = False
        for packet, payload in zip(burst.packets, burst.payloads, strict=True):
            if end - start > MAX_RUN_BYTES - BUFFER_BYTES:
                self._send(start, end, segment, address)
                start = end = count = 0
            lane.write(packet, transport)
            transport += 1
            size = protect_in(arena, end, data, payload)
            if not size:
                continue
            if count and (closed or size > segment or count == self._most):
                self._send(start, end, segment, address)
                start, count = end, 0
            if not count:
                segment = size
            closed = size < segment
            count += 1
            end += size
            if end > ARENA_BYTES - BUFFER_BYTES:
                self._send(start, end, segment, address)
                start = end = count = 0
        if count:
            self._send(start, end, segment, address)

    def _send(self, start: int, end: int, segment: int, address: Address) -> None:
        view = self._arena.view
        try:
            if end - start <= segment:
                self._socket.sendto(view[start:end], address)
                return
            control = [(SOL_UDP, UDP_SEGMENT, _U16.pack(segment))]
            self._socket.sendmsg([view[start:end]], control, 0, address)
        except (BlockingIOError, InterruptedError):  # a full buffer is loss like any other
            self.dropped += -(-(end - start) // segment)
        except OSError:
            if end - start <= segment:
                self.dropped += 1
                return
            # This path takes no run as a whole: a smaller MTU, or no checksums by the device.
            for at in range(start, end, segment):
                self._send(at, min(at + segment, end), segment, address)

    def flush(self) -> None:
        """Nothing is held back."""


_DECLARATIONS = """
struct packet { const uint8_t *payload; uint32_t timestamp; uint16_t number, size;
                uint8_t first, second; };
struct stream { void *srtp; const uint8_t *head; const void *address; uint32_t timestamp_shift;
                uint16_t number_shift, transport, head_size, transport_at, address_size;
                uint8_t payload_type; };
int diemcau_version(void);
unsigned long diemcau_queue_bytes(void);
void diemcau_open(void *queue, int fd, int offload, void *protect);
uint64_t diemcau_dropped(const void *queue);
void diemcau_flush(void *queue);
int diemcau_forward(void *queue, const struct stream *, const struct packet *, int count);
"""


@functools.cache
def _library() -> tuple[FFI, Any] | None:
    """The compiled code, None where it was not built."""
    found = next(Path(__file__).parent.glob("_forward.*"), None)
    if found is None:
        return None
    ffi = FFI()
    ffi.cdef(_DECLARATIONS)
    try:
        code = ffi.dlopen(str(found))
        if code.diemcau_version() != VERSION:
            raise OSError("it was built of another version")
    except (OSError, AttributeError) as error:
        log.warning("compiled forwarding is not used: %s", error)
        return None
    return ffi, code


class Compiled:
    """By ``forward.c``. Raises: RuntimeError where that was not built."""

    def __init__(self, sock: socket.socket, *, offload: bool = True) -> None:
        library = _library()
        if library is None:
            raise RuntimeError("forward.c was not built")
        self._ffi, self._code = library
        self._family = sock.family
        self._queue = self._ffi.new("char[]", self._code.diemcau_queue_bytes())
        self._code.diemcau_open(
            self._queue,
            sock.fileno(),
            offload and can_segment(sock),
            self._ffi.cast("void *", PROTECT_ADDRESS),
        )
        self._forward = self._code.diemcau_forward
        self._waiting = False

    @property
    def dropped(self) -> int:
        """Packets that could not be sent."""
        return int(self._code.diemcau_dropped(self._queue))

    def forward(self, lane: Lane, transport: int, burst: Burst) -> None:
        """Queue until ``flush``."""
        stream = lane.made or self._make(lane)
        stream.transport = transport
        packets = (burst.prepared or self._prepare(burst))[0]
        self._forward(self._queue, stream, packets, len(burst.sizes))
        self._waiting = True

    def _make(self, lane: Lane) -> Any:
        """The lane as compiled code takes it."""
        ffi = self._ffi
        head = ffi.from_buffer("uint8_t[]", lane.head.data)
        where = ffi.new("uint8_t[]", self._sockaddr(lane.address))
        stream = ffi.new("struct stream *")
        stream.srtp = ffi.cast("void *", lane.srtp.context_address)
        stream.head, stream.head_size = head, len(head)
        stream.transport_at = lane.head.transport_at
        stream.payload_type = lane.payload_type
        stream.number_shift = lane.number & 0xFFFF
        stream.timestamp_shift = lane.timestamp & 0xFFFFFFFF
        stream.address, stream.address_size = where, len(where)
        lane.made, lane.kept = stream, (head, where)
        return stream

    def _prepare(self, burst: Burst) -> Any:
        """The packets as compiled code takes them; what they point to is kept beside them."""
        ffi = self._ffi
        rows = ffi.new("struct packet[]", len(burst.packets))
        kept = []
        for row, packet, payload in zip(rows, burst.packets, burst.payloads, strict=True):
            buffer = ffi.from_buffer("uint8_t[]", payload)
            kept.append(buffer)
            row.payload, row.size = buffer, len(payload)
            row.number, row.timestamp = packet.number & 0xFFFF, packet.header.timestamp
            row.first, row.second = packet.data[0] & 0x20, packet.header.marker << 7
        burst.prepared = (rows, kept)
        return burst.prepared

    def _sockaddr(self, address: Address) -> bytes:
        """``address`` as struct sockaddr_in or sockaddr_in6."""
        host, port = address[:2]
        packed = socket.inet_pton(self._family, host.partition("%")[0])
        family = struct.pack("=H", self._family) + struct.pack("!H", port)
        if self._family == socket.AF_INET6:
            flow, scope = address[2:]
            return family + struct.pack("!I", flow) + packed + struct.pack("=I", scope)
        return family + packed + bytes(8)

    def flush(self) -> None:
        """Send all that is queued."""
        if self._waiting:
            self._waiting = False
            self._code.diemcau_flush(self._queue)


def sender(sock: socket.socket, way: str = "auto") -> Sender:
    """``compiled``, ``plain``, or with ``auto`` what there is. Raises: RuntimeError as ``Compiled``."""
    if way == "plain" or (way == "auto" and _library() is None):
        return Plain(sock)
    return Compiled(sock)
