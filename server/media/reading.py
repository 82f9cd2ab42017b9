"""What comes on the UDP socket: ``Compiled`` (``receive.c``, all that has come by one call) where that
was built, else ``Plain``, datagram by datagram.

Compiled code also unprotects what comes from an address that leads to a peer (``Inlet``), and reads
the headers of streams that it knows, as ``rtp.py`` would. ``Plain`` leaves all that to the peers.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from server.media import addresses, native, rtp
from server.media.addresses import Address
from server.media.listening import Ear
from server.media.relaying import Relay
from server.media.sending import Compiled as CompiledSender
from server.media.sending import Sender
from server.media.srtp import UNPROTECT_ADDRESS, UNPROTECT_RTCP_ADDRESS, Srtp

DATAGRAM_BYTES = 2048
"""what is longer is cut; it is nothing that we know"""
MAX_BATCH = 128
"""datagrams read before the loop gets its turn again"""
MAX_KNOWN = 4096
"""addresses that are remembered as the kernel writes them; strangers must not fill the memory"""
ROW = struct.Struct("=IHHB?Hii?BHIIHHHHHxx")
"""what ``receive.c`` tells of a datagram; from the ninth on a ``rtp.Header``"""
AGE_S = 1e-5
"""unit of an age"""
ENTRY = struct.Struct(f"=dIHxx{ROW.format[1:].replace('HHB?', 'HxxBx')}xxxx")
"""what ``relay.c`` tells of one that went on: when, where it lies, its size then, and of a row the rest"""
STRANGE, FORGED, RTCP, RTP, MEDIA, HEARD, FELL, RELAYED, TELLING = range(9)
"""what a datagram is: anything, not authentic, plain RTCP, plain RTP, RTP of a known stream, and RTCP
that an ear is done with; ``FELL``: and a budget is less since then; ``RELAYED``: RTP that went on already;
``TELLING``: plain RTP of a known stream that tells which layers are sent"""
CAME = struct.Struct("=dIxxxx")
"""when a packet came that went on, and its transport-wide number"""
MAX_ENTRIES, LEDGER_BYTES = 1024, 1 << 20
"""of what went on by itself until it is told"""
MAX_STREAMS, MAX_RID_BYTES = 8, 16
"""of one peer, and of a RID, that compiled code knows"""


class Stream(NamedTuple):
    """A stream that is known."""

    ssrc: int
    payload_type: int
    rid: bytes
    """where its packets name another, they are not of this stream; empty: whatever they name"""
    relay: Relay | None = None


class Ids(NamedTuple):
    """Header extensions that are looked at; 0 where not agreed on."""

    transport: int = 0
    level: int = 0
    rid: int = 0
    layers: int = 0


class Arrival(NamedTuple):
    """What was found out about a datagram on its way in."""

    owner: Any
    """of the inlet"""
    kind: int
    first: bool
    """from its address, of what was read together"""
    age: int
    """since the kernel took it from the line, until it was read, in ``AGE_S``"""
    transport: int
    """its transport-wide number"""
    level: int
    """in -dBov; both are -1 where not told"""
    header: rtp.Header
    """``MEDIA`` and ``RELAYED`` only"""


class Relayed(NamedTuple):
    """One that went on by itself."""

    packet: bytes
    """as it went on: it may be padded"""
    at_s: float
    size: int
    """as it came"""
    age: int
    transport: int
    level: int
    """as of an ``Arrival``"""
    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    profile: int
    extension_start: int
    extension_end: int
    payload_start: int
    payload_end: int

    @property
    def header(self) -> rtp.Header:
        """All from ``marker`` on."""
        return _new(rtp.Header, self[6:])


class Told(NamedTuple):
    """What came over one address."""

    owner: Any
    """of the inlet"""
    address: Address
    at_s: float
    """the latest of it"""
    relayed: list[Relayed]
    """none where all of it was ``HEARD``"""


class Reader(Protocol):
    """See the module."""

    def look(self, now_s: float) -> bool:
        """Is anything left for ``read``, once what needs nobody is done with?"""

    @property
    def behind(self) -> bool:
        """May more be waiting than was read the last time?"""

    def rest(self, pace: Any, epoll: int, end_s: float, due_s: float) -> bool | None:
        """As ``Resting`` does until ``end_s``, or something comes after ``due_s``: is anything left for
        ``read``? None where ``Resting`` has to do it."""

    def read(self, now_s: float) -> Iterator[tuple[memoryview, Address, Arrival | None]]:
        """What has come, ``MAX_BATCH`` at most, where from, and what is known of it; never empty
        datagrams. Each is valid until the next."""

    def inlet(self, srtp: Srtp, owner: Any) -> Inlet | None:
        """A peer's way in, None where there are none."""

    def lead(self, address: Address, inlet: Inlet | None) -> None:
        """What comes from there goes by ``inlet`` from now on, or as it came."""

    def relay_by(self, sender: Sender) -> None:
        """What goes on by itself leaves with what this sends."""

    @property
    def untold(self) -> int:
        """How many have gone on by themselves since ``relayed`` was last asked."""

    def relayed(self) -> list[Told]:
        """Those, in order of their arrival within each stream; all of them count as told at once."""


class Plain:
    """In Python."""

    def __init__(self, sock: socket.socket) -> None:
        self._receive = sock.recvmsg_into
        self._told_bytes = addresses.CONTROL_BYTES if addresses.tell_ours(sock) else 0
        self._buffer = bytearray(DATAGRAM_BYTES)
        self._view = memoryview(self._buffer)

    def inlet(self, srtp: Srtp, owner: Any) -> Inlet | None:
        """None."""
        return None

    def lead(self, address: Address, inlet: Inlet | None) -> None:
        """Nothing changes."""

    def relay_by(self, sender: Sender) -> None:
        """Nothing goes on by itself."""

    untold = 0
    behind = False

    def look(self, now_s: float) -> bool:
        """It may be."""
        return True

    def rest(self, pace: Any, epoll: int, end_s: float, due_s: float) -> bool | None:
        """None."""
        return None

    def relayed(self) -> list[Told]:
        """None."""
        return []

    def read(self, now_s: float) -> Iterator[tuple[memoryview, Address, Arrival | None]]:
        """See ``Reader``."""
        self.behind = True
        for _ in range(MAX_BATCH):
            try:
                size, told, _, address = self._receive([self._buffer], self._told_bytes)
            except (BlockingIOError, InterruptedError):
                self.behind = False
                return
            except OSError:  # e.g. an ICMP error of an earlier send
                continue
            if size:
                yield self._view[:size], addresses.with_ours(address, told), None


class Inlet:
    """One peer's way in, as compiled code knows it."""

    def __init__(self, ffi: Any, srtp: Srtp, owner: Any) -> None:
        self.owner = owner
        self.memory = ffi.new("struct inlet *")
        self._ffi, self._srtp = ffi, srtp
        self._ear: Ear | None = None
        self._streams: Sequence[Stream] = ()
        """what ``memory`` points to"""
        self.memory.srtp = ffi.cast("void *", srtp.context_address)
        self._came = memoryview(ffi.buffer(self.memory.came))

    def take_came(self) -> list[tuple[float, int]]:
        """When those came that went on by themselves, and their transport-wide numbers, since this was last
        asked: known before ``Reader.relayed`` is asked."""
        count = self.memory.count
        if not count:
            return []
        self.memory.count = 0
        return list(CAME.iter_unpack(self._came[: CAME.size * count]))

    def know(self, ids: Ids, streams: Sequence[Stream]) -> None:
        """What is read of its packets from the next call on; streams that find no room are left."""
        memory = self.memory
        memory.streams = 0
        memory.transport_id, memory.level_id, memory.rid_id, memory.layers_id = ids
        short = [stream for stream in streams if len(stream.rid) <= MAX_RID_BYTES][:MAX_STREAMS]
        for row, stream in zip(memory.stream, short, strict=False):
            row.ssrc, row.payload_type = stream.ssrc, stream.payload_type
            row.rid_size = len(stream.rid)
            self._ffi.memmove(row.rid, stream.rid, len(stream.rid))
            relay = stream.relay
            row.relay = relay.memory if relay is not None else self._ffi.NULL
        memory.streams = len(short)
        self._streams = short

    def hear(self, ear: Ear) -> None:
        """RTCP goes by it first from now on."""
        self._ear = ear
        self.memory.ear = ear.memory

    def close(self) -> None:
        """Whatever comes is left as it came."""
        self.memory.srtp = self._ffi.NULL


class Compiled:
    """By ``receive.c``. Raises: RuntimeError where that was not built."""

    def __init__(self, sock: socket.socket) -> None:
        library = native.library()
        if library is None:
            raise RuntimeError("receive.c was not built")
        self._ffi, self._code = ffi, code = library
        self._family, self._fd = sock.family, sock.fileno()
        addresses.tell_ours(sock)
        self._memory = ffi.new("char[]", code.diemcau_arrivals_bytes())
        where = [ffi.new("uint8_t **") for _ in range(3)]
        unprotect = (UNPROTECT_ADDRESS, UNPROTECT_RTCP_ADDRESS)
        functions = [ffi.cast("void *", address) for address in unprotect]
        code.diemcau_arrivals_open(self._memory, sock.fileno(), *functions, *where)
        self._rows = self._view(where[0], ROW.size)
        self._addresses = self._parts(where[1], addresses.MOST_BYTES)
        self._views = self._parts(where[2], DATAGRAM_BYTES)
        self._receive = code.diemcau_receive
        self._left = 0
        """datagrams that were read and not looked at yet"""
        self._known: dict[bytes, Address] = {}
        self._places: dict[int, tuple[Address, Inlet]] = {}
        """by number: where compiled code knows who sends"""
        self._numbers: dict[Address, int] = {}
        self._next = 1
        self._ledger = memoryview(bytes(8)).cast("I")
        """how many there are in the ledger, and in how many bytes"""
        self._keeps: tuple[Any, Sender] | None = None
        """that ledger, and what it leads to"""

    def _view(self, where: Any, size: int) -> memoryview:
        return memoryview(self._ffi.buffer(where[0], MAX_BATCH * size))

    def _parts(self, where: Any, size: int) -> list[memoryview]:
        """One for each datagram."""
        view = self._view(where, size)
        return [view[start : start + size] for start in range(0, len(view), size)]

    def inlet(self, srtp: Srtp, owner: Any) -> Inlet | None:
        """For a peer whose keys are known."""
        return Inlet(self._ffi, srtp, owner)

    def lead(self, address: Address, inlet: Inlet | None) -> None:
        """See ``Reader``; where there are too many already, it is as without an inlet."""
        self._places.pop(self._numbers.pop(address, 0), None)
        written = addresses.write(self._family, address)
        number, self._next = self._next, (self._next + 1) & 0xFFFFFFFF
        place = (self._memory, written, len(written))
        memory = inlet.memory if inlet is not None else self._ffi.NULL
        led = self._code.diemcau_lead(*place, memory, number)
        if inlet is None:
            return
        if not led:
            self._code.diemcau_tidy(self._memory)
            led = self._code.diemcau_lead(*place, memory, number)
        if led:
            self._numbers[address] = number
            self._places[number] = address, inlet

    def read(self, now_s: float) -> Iterator[tuple[memoryview, Address, Arrival | None]]:
        """See ``Reader``."""
        count = self._left or self._receive(self._memory, now_s)
        self._left = 0
        rows = ROW.iter_unpack(self._rows[: ROW.size * count])
        for i, row in enumerate(rows):
            number, size, address_size, kind, first = row[:5]
            if not size or kind == RELAYED:
                continue
            if kind == STRANGE:
                written = bytes(self._addresses[i][:address_size])
                address = self._known.get(written) or self._know(written)
                yield self._views[i][:size], address, None
            elif (place := self._places.get(number)) is not None:
                if kind == HEARD and not first:
                    continue  # nothing is left to do
                address, inlet = place
                header = _new(rtp.Header, row[8:])
                arrival = _new(Arrival, (inlet.owner, *row[3:8], header))
                yield self._views[i][:size], address, arrival

    def relay_by(self, sender: Sender) -> None:
        """See ``Reader``."""
        if not isinstance(sender, CompiledSender):
            return
        ffi, code = self._ffi, self._code
        memory = ffi.new("char[]", code.diemcau_ledger_bytes())
        where = [ffi.new("uint8_t **") for _ in range(2)]
        code.diemcau_arrivals_relay(self._memory, sender.queue, memory, *where)
        self._keeps = memory, sender
        self._ledger = memoryview(ffi.buffer(memory, 8)).cast("B").cast("I")
        self._entries = memoryview(ffi.buffer(where[0][0], MAX_ENTRIES * ENTRY.size))
        self._data = memoryview(ffi.buffer(where[1][0], LEDGER_BYTES))

    @property
    def untold(self) -> int:
        """See ``Reader``."""
        return self._ledger[0]

    def relayed(self) -> list[Told]:
        """See ``Reader``."""
        count, used = self._ledger
        entries, data = bytes(self._entries[: ENTRY.size * count]), bytes(self._data[:used])
        self._ledger[0] = self._ledger[1] = 0
        found: dict[int, list[Relayed]] = {}
        latest_s: dict[int, float] = {}
        for entry in ENTRY.iter_unpack(entries):
            at_s, start, size, number, came, kind = entry[:6]
            latest_s[number] = at_s
            if number not in found:
                found[number] = []
            if kind == RELAYED:
                packet = data[start : start + size], at_s, came, *entry[6:]
                found[number].append(_new(Relayed, packet))
        return [
            Told(place[1].owner, place[0], latest_s[number], packets)
            for number, packets in found.items()
            if (place := self._places.get(number)) is not None
        ]

    @property
    def behind(self) -> bool:
        """See ``Reader``."""
        return bool(self._code.diemcau_is_behind(self._memory))

    def rest(self, pace: Any, epoll: int, end_s: float, due_s: float) -> bool | None:
        """See ``Reader``."""
        if not self._left:
            place = self._memory, pace, epoll, self._fd
            self._left = self._code.diemcau_rest(*place, end_s, due_s)
        return self._left > 0

    def look(self, now_s: float) -> bool:
        """See ``Reader``."""
        self._left = self._left or self._receive(self._memory, now_s)
        return self._left > 0

    def _know(self, written: bytes) -> Address:
        """The address in ``written``."""
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[written] = address = addresses.read(self._family, written)
        return address


_new = tuple.__new__
"""of a named tuple, in half of the time that naming its fields takes"""


def reader(sock: socket.socket, way: str = "auto") -> Reader:
    """``compiled``, ``plain``, or with ``auto`` what there is. Raises: RuntimeError as ``Compiled``."""
    if way == "plain" or (way == "auto" and native.library() is None):
        return Plain(sock)
    return Compiled(sock)
