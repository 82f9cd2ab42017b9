"""ICE-lite for every peer of a worker over one UDP socket and one TCP socket (RFC 8445, 2.5).

A valid connectivity check (``checks``) makes its address lead to its peer; what comes over an
address that leads nowhere is never answered, so a stranger learns nothing and cannot be made to
receive anything.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from server.media import addresses, reading, tcp
from server.media.addresses import Address
from server.media.binding import Binding, Path, Receiver, host_of
from server.media.bursts import Burst
from server.media.checks import Checks
from server.media.reading import Arrival, Inlet, Reader, reader
from server.media.refusals import Refusals
from server.media.relaying import BOOKS_S
from server.media.sending import Lanes, Sender, sender
from server.media.srtp import Srtp

log = logging.getLogger(__name__)

MAX_PATHS = 16
"""known of one peer at a time"""


class IceLite:
    """Demultiplexes one UDP socket and TCP's connections (RFC 7983) to bindings."""

    def __init__(self, sock: socket.socket, way: str = "auto") -> None:
        """``way``: see ``sending.sender`` and ``reading.reader``."""
        sock.setblocking(False)
        self.socket = sock
        self._sender: Sender = sender(sock, way)
        self._reader: Reader = reading.Plain(sock)
        """until it is started"""
        self._way = way
        self._gathering = False
        self._books: asyncio.TimerHandle | None = None
        self._catching_up = False
        self._deferred: list[Callable[[], None]] = []
        self._by_path: dict[Path, Binding] = {}
        self.find_by_ssrc: Callable[[int], Iterable[Binding]] = lambda ssrc: ()
        self.on_read: Callable[[float], None] = lambda now_s: None
        """what came was read, and has gone on"""
        self.due_s: Callable[[], float] = lambda: float("inf")
        """from when on somebody waits for that"""
        self._dropped = 0
        self.refusals = Refusals()
        self.checks = Checks(self)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to read, before anything leads anywhere."""
        self._reader = reader(self.socket, self._way)
        self._reader.relay_by(self._sender)
        loop.add_reader(self.socket.fileno(), self._readable)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop reading; the socket stays its owner's."""
        loop.remove_reader(self.socket.fileno())

    def bind(self, receiver: Receiver) -> Binding:
        """A place for a new peer, with fresh credentials."""
        binding = Binding(self, receiver)
        self.checks.add_credentials(binding)
        return binding

    def inlet(self, srtp: Srtp, binding: Binding) -> Inlet | None:
        """A way in for what comes over the paths of ``binding``."""
        inlet = self._reader.inlet(srtp, binding)
        for path in binding.paths:
            if not isinstance(path, tcp.Connection) and self._by_path.get(path) is binding:
                self._reader.lead(path, inlet)
        return inlet

    def remove(self, binding: Binding) -> None:
        """Nothing leads to ``binding`` any more."""
        self.checks.forget(binding)
        for path in binding.paths:
            self._forget(path, binding)
        binding.paths.clear()
        binding.path = None

    def _forget(self, path: Path, binding: Binding) -> None:
        if self._by_path.get(path) is binding:
            del self._by_path[path]
            if isinstance(path, tcp.Connection):
                path.close()
            else:
                self._reader.lead(path, None)

    def lead(self, path: Path, binding: Binding) -> None:
        """What comes over ``path`` is for ``binding`` from now on."""
        if self._by_path.get(path) is binding:
            return
        self._by_path[path] = binding
        binding.paths.append(path)
        if not isinstance(path, tcp.Connection):
            self._reader.lead(path, binding.inlet)
        while len(binding.paths) > MAX_PATHS:
            oldest = binding.paths.pop(0)
            if oldest == binding.path:
                binding.paths.append(oldest)
            else:
                self._forget(oldest, binding)

    def leads(self, path: Path) -> bool:
        """Is what comes over ``path`` for anybody?"""
        return path in self._by_path

    def send(self, data: bytes | memoryview, path: Path) -> None:
        """Send or drop: a full socket buffer is loss like any other."""
        if isinstance(path, tcp.Connection):
            self._dropped += not path.send(data)
            return
        self._sender.flush()  # nothing overtakes
        try:
            addresses.send(self.socket, data, path)
        except OSError:
            self._dropped += 1

    @property
    def dropped_sends(self) -> int:
        """Datagrams that could not be sent."""
        return self._dropped + self._sender.dropped

    def forward(self, lanes: Lanes, burst: Burst, now_s: float) -> None:
        """Send a burst, while reading together with what else goes out."""
        self._sender.forward(lanes, burst, now_s)
        if not self._gathering:
            self._sender.flush()

    def flush(self) -> None:
        """Send what waits to be sent together."""
        self._sender.flush()

    def defer(self, call: Callable[[], None]) -> None:
        """Call once the socket is drained; at once where nothing is being read."""
        if self._gathering:
            self._deferred.append(call)
        else:
            self.together(call)

    def together(self, *calls: Callable[[], None]) -> None:
        """Call each, and send at once all that they send."""
        self._gathering = True
        for call in calls:
            try:
                call()
            except Exception:  # one peer's packet must never stop the others
                log.exception("forwarding failed")
        self._gathering = False
        self._sender.flush()

    def catch_up(self) -> None:
        """Note what has gone on by itself (``relaying``). Before anything that may depend on it."""
        if not self._reader.untold or self._catching_up:
            return
        gathering, deferred = self._gathering, self._deferred
        self._gathering = self._catching_up = True
        self._deferred = []
        try:
            self._note_all()
        finally:
            noted, self._deferred = self._deferred, deferred
            self._catching_up = False
            self.together(*noted)
            self._gathering = gathering

    @property
    def untold(self) -> int:
        """How many have gone on by themselves since."""
        return self._reader.untold

    def _note_all(self) -> None:
        told = self._reader.relayed()
        for each in told:
            if each.relayed:
                try:
                    each.owner.receiver.handle_relayed(each.relayed)
                except Exception:  # one peer's packets must never stop the others
                    log.exception("packet handling failed")
        for each in sorted(told, key=attrgetter("at_s")):
            each.owner.heard(each.address, each.at_s)

    def noted(self, call: Callable[[], None]) -> None:
        """Call once all that has gone on by itself is noted: at once but while that is being done. Whatever
        changes who receives what needs numbers that are told to the last."""
        if self._catching_up:
            self._deferred.append(call)
        else:
            call()

    def _keep_books(self) -> None:
        self._books = None
        self.catch_up()

    def lost(self, connection: tcp.Connection) -> None:
        """Nothing comes over ``connection`` any more."""
        binding = self._by_path.pop(connection, None)
        if binding is None:
            return
        binding.paths.remove(connection)
        if binding.path is connection:  # whichever was heard last, until a check nominates one
            binding.path = binding.paths[-1] if binding.paths else None
            binding.nominated = False

    def look(self, now_s: float) -> bool:
        """Do what needs nobody, where something has come; is anything left, or ``on_read`` awaited?"""
        return self._reader.look(now_s) or now_s >= self.due_s()

    def rest(self, pace: Any, epoll: int, end_s: float) -> bool | None:
        """The same as often as something comes until ``end_s``, with rests (``resting``); None where that
        is not known here. Who awaits ``on_read`` is called at once, though nothing be left."""
        left = self._reader.rest(pace, epoll, end_s, self.due_s())
        if left is False:
            self.on_read(time.monotonic())
        return left

    @property
    def behind(self) -> bool:
        """May more be waiting than was read the last time?"""
        return self._reader.behind

    def _readable(self) -> None:
        self._gathering = True
        now_s = time.monotonic()
        self._read(now_s)
        deferred, self._deferred = self._deferred, []
        self.together(*deferred)
        if self._books is None and self._reader.untold:
            self._books = asyncio.get_running_loop().call_later(BOOKS_S, self._keep_books)
        self.on_read(now_s)

    def _read(self, now_s: float) -> None:
        for data, address, arrival in self._reader.read(now_s):
            try:
                if arrival is None:
                    self.receive(data, address, now_s)
                else:
                    self._take(data, address, arrival, now_s)
            except Exception:  # one peer's packet must never stop the others
                log.exception("packet handling failed")

    def _take(self, data: memoryview, address: Address, arrival: Arrival, now_s: float) -> None:
        """What came over an address that leads to a peer, unprotected."""
        if arrival.kind == reading.FORGED:
            self.refuse("media", address)
            return
        binding: Binding = arrival.owner
        if arrival.first:
            binding.heard(address, now_s)
        if arrival.kind == reading.HEARD:
            return
        self.catch_up()
        if arrival.kind == reading.FELL:
            binding.receiver.handle_fall(now_s)
        elif arrival.kind == reading.MEDIA:
            binding.receiver.handle_media(bytes(data), arrival, now_s)
        else:
            came_s = (
                now_s - arrival.age * reading.AGE_S
            )  # retransmissions and probes tell of the line too
            binding.receiver.handle_plain(data, arrival.kind == reading.RTCP, came_s)

    def datagram(self, data: memoryview, connection: tcp.Connection) -> None:
        """One frame of a TCP connection."""
        try:
            self.receive(data, connection, time.monotonic())
        except Exception:  # as above
            log.exception("packet handling failed")

    def receive(self, data: memoryview, path: Path, now_s: float) -> None:
        """One datagram from anybody; by its first byte as RFC 7983 says."""
        first = data[0]
        if 128 <= first < 192:
            self.catch_up()
            binding = self._by_path.get(path)
            if binding is None:
                self._moved(data, path, now_s)
            elif binding.receiver.handle_srtp(data, now_s):
                binding.heard(path, now_s)
            else:
                self.refuse("media", path)
        elif first < 4:
            self.checks.take(bytes(data), path, now_s)
        elif 20 <= first < 64 and (binding := self._by_path.get(path)) is not None:
            binding.receiver.handle_dtls(bytes(data))
        else:
            self.refuse("dtls" if 20 <= first < 64 else "unknown", path)

    def refuse(self, kind: str, path: Path) -> None:
        """What came over ``path`` is nobody's, or not authentic: it is counted, and never answered."""
        self.refusals.refuse(kind, host_of(path))

    def _moved(self, data: memoryview, path: Path, now_s: float) -> None:
        """Media over an unknown path: a publisher behind a NAT that changed its mind.

        Authentic SRTP moves the peer at once; its next check would, up to 2.5 s later.
        """
        if len(data) >= 12 and not 192 <= data[1] <= 223:
            for binding in self.find_by_ssrc(int.from_bytes(data[8:12], "big")):
                if binding.receiver.handle_srtp(data, now_s):
                    self.lead(path, binding)
                    binding.heard(path, now_s)
                    return
        self.refuse("media", path)
