"""Bursts to receivers over the UDP socket: protected in place, equal packets in one send.

``Compiled`` (``forward.c``, a call for each burst, one system call for many receivers) where it was
built, else ``Plain``, which does the same in Python. Both use UDP_SEGMENT (Linux 4.18) where the
kernel has it and send packet by packet where not, and where a path refuses it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from server.media import addresses, flight, native, rtp
from server.media.addresses import Address
from server.media.bursts import Burst, Packet
from server.media.flight import Flight
from server.media.srtp import BUFFER_BYTES, PROTECT_ADDRESS, Arena, Srtp

SOL_UDP, UDP_SEGMENT = 17, 103
"""of linux/udp.h; the socket module lacks them"""
MAX_SEGMENTS, MAX_RUN_BYTES = 64, 64000
"""of one send: UDP_MAX_SEGMENTS, and what a UDP datagram holds"""
ARENA_BYTES = 128 << 10
_U16 = struct.Struct("=H")
_PACKET = struct.Struct("=IHHBB2x")
"""``struct packet`` of ``forward.c``"""


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
    flight: Flight | None = None
    """gives transport-wide numbers"""
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


class Lanes:
    """Lanes that bursts take together."""

    __slots__ = ("lanes", "made")

    def __init__(self, lanes: Iterable[Lane]) -> None:
        self.lanes = tuple(lanes)
        self.made: Any = None
        """what a sender has made of them"""


class Sender(Protocol):
    """What may be held back until ``flush``."""

    @property
    def dropped(self) -> int:
        """Packets that could not be sent."""

    def forward(self, lanes: Lanes, burst: Burst, now_s: float) -> None:
        """Send ``burst`` to each."""

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

    def forward(self, lanes: Lanes, burst: Burst, now_s: float) -> None:
        """Send at once."""
        for lane in lanes.lanes:
            self._forward(lane, burst, now_s)

    def _forward(self, lane: Lane, burst: Burst, now_s: float) -> None:
        transport = 0
        if lane.flight is not None:
            transport = lane.flight.send_all(len(lane.head.data), burst.sizes, now_s)
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
                addresses.send(self._socket, view[start:end], address)
                return
            to, control = addresses.split(address)
            control = [*control, (SOL_UDP, UDP_SEGMENT, _U16.pack(segment))]
            self._socket.sendmsg([view[start:end]], control, 0, to)
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


class Compiled:
    """By ``forward.c``. Raises: RuntimeError where that was not built."""

    def __init__(self, sock: socket.socket, *, offload: bool = True) -> None:
        library = native.library()
        if library is None:
            raise RuntimeError("forward.c was not built")
        self._ffi, self._code = library
        self._family = sock.family
        self.queue = self._ffi.new("char[]", self._code.diemcau_queue_bytes())
        """for ``receive.c``"""
        self._code.diemcau_open(
            self.queue,
            sock.fileno(),
            offload and can_segment(sock),
            self._ffi.cast("void *", PROTECT_ADDRESS),
        )
        self._fan = self._code.diemcau_fan
        self._waiting = False

    @property
    def dropped(self) -> int:
        """Packets that could not be sent."""
        return int(self._code.diemcau_dropped(self.queue))

    def forward(self, lanes: Lanes, burst: Burst, now_s: float) -> None:
        """Protect at once, and queue until ``flush``."""
        streams = lanes.made or self.prepare(lanes)
        packets, payloads = burst.prepared or self._prepare(burst)
        self._fan(
            *(self.queue, streams, len(lanes.lanes)),
            *(packets, payloads, len(burst.sizes), now_s),
        )
        self._waiting = True

    def prepare(self, lanes: Lanes) -> Any:
        """These as compiled code takes them."""
        made = [lane.made or self._make(lane) for lane in lanes.lanes]
        lanes.made = self._ffi.new("struct stream *[]", made)
        return lanes.made

    def _make(self, lane: Lane) -> Any:
        """The lane as compiled code takes it."""
        ffi = self._ffi
        head = ffi.from_buffer("uint8_t[]", lane.head.data)
        written = addresses.write(self._family, lane.address)
        where = ffi.new("uint8_t[]", written)
        stream = ffi.new("struct stream *")
        stream.srtp = ffi.cast("void *", lane.srtp.context_address)
        if lane.srtp.seal is not None:
            stream.seal = lane.srtp.seal
        stream.head, stream.head_size = head, len(head)
        stream.transport_at = lane.head.transport_at
        stream.payload_type = lane.payload_type
        stream.number_shift = lane.number & 0xFFFF
        stream.timestamp_shift = lane.timestamp & 0xFFFFFFFF
        stream.address, stream.address_size = where, len(written)
        if isinstance(lane.flight, flight.Compiled):
            stream.flight = lane.flight.memory
        elif lane.flight is not None:
            raise TypeError("compiled code numbers by a compiled flight only")
        lane.made, lane.kept = stream, (head, where)
        return stream

    @staticmethod
    def _prepare(burst: Burst) -> tuple[bytes, bytes]:
        """The packets as compiled code takes them: what it writes of each, and all payloads."""
        rows = [
            _PACKET.pack(
                packet.header.timestamp,
                packet.number & 0xFFFF,
                size,
                packet.data[0] & 0x20,
                packet.header.marker << 7,
            )
            for packet, size in zip(burst.packets, burst.sizes, strict=True)
        ]
        burst.prepared = prepared = b"".join(rows), b"".join(burst.payloads)
        return prepared

    def flush(self) -> None:
        """Send all that is queued."""
        if self._waiting:
            self._waiting = False
            self._code.diemcau_flush(self.queue)


def sender(sock: socket.socket, way: str = "auto") -> Sender:
    """``compiled``, ``plain``, or with ``auto`` what there is. Raises: RuntimeError as ``Compiled``."""
    if way == "plain" or (way == "auto" and native.library() is None):
        return Plain(sock)
    return Compiled(sock)
