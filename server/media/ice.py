"""ICE-lite for every peer of a worker over one UDP socket and one TCP socket (RFC 8445, 2.5).

A connectivity check finds its peer by our username fragment and proves itself by our password;
from then on its address leads to the peer. Nothing else is ever answered, so a stranger learns
nothing and cannot be made to receive anything. A *path* is where packets come from and go to: an
address on the UDP socket, or a TCP connection (``tcp``).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from functools import partial
from operator import itemgetter
from typing import Protocol

from server.media import reading, stun, tcp
from server.media.bursts import Burst
from server.media.reading import Arrival, Inlet, Reader, Relayed, reader
from server.media.refusals import Refusals
from server.media.relaying import BOOKS_S
from server.media.sending import Address, Lanes, Sender, sender
from server.media.srtp import Srtp

log = logging.getLogger(__name__)

Path = Address | tcp.Connection

TCP_LATER_S = 0.25
"""so much later the first check over TCP is answered: UDP, which suits media better, is found first
where it passes, and browsers that began with TCP may stay there"""
IN_USE_S = 8.0
"""a path over which media or its reports came within this is left for no check elsewhere: a check
that was watched can be sent again by anybody, but what SRTP protects counts once. Players report
every 5 s (RFC 3550, 6.2)"""
MOVES_S = 0.1
"""whoever sends elsewhere and was not heard on the selected path for this long has moved; packets
that were overtaken on the way move nobody"""
STALE_S = 3.0
"""a path that was silent for longer than browsers' check interval (2.5 s) is left for the next
valid check elsewhere, though it be no nomination"""
MAX_PATHS = 16
"""known of one peer at a time"""


def host_of(path: Path) -> str:
    """The address without its port, as people write it."""
    return path.host if isinstance(path, tcp.Connection) else tcp.written(str(path[0]))


class Receiver(Protocol):
    """What a peer offers to the socket."""

    def handle_dtls(self, data: bytes) -> None:
        """A datagram that begins as DTLS does."""

    def handle_srtp(self, data: memoryview, now_s: float) -> bool:
        """An SRTP or SRTCP datagram; False if it was not authentic."""

    def handle_plain(self, packet: memoryview, rtcp: bool, now_s: float) -> None:
        """The same, unprotected already: authentic RTP or RTCP."""

    def handle_media(self, packet: bytes, arrival: Arrival, now_s: float) -> None:
        """RTP of a stream that its inlet knows."""

    def handle_relayed(self, relayed: Relayed) -> None:
        """The same, but that it went on already, a moment ago."""

    def handle_fall(self, now_s: float) -> None:
        """RTCP that its ear has taken lowered its budget."""

    def handle_reachable(self) -> None:
        """A valid check came in (each time)."""

    def handle_restarted(self) -> None:
        """The first valid check with the credentials of an ICE restart came in."""

    def handle_moved(self) -> None:
        """The selected path is another one, or there is none."""


class Binding:
    """One peer's place on the sockets: its credentials and paths."""

    def __init__(self, ice: IceLite, receiver: Receiver) -> None:
        self._ice = ice
        self.receiver = receiver
        self._path: Path | None = None
        self.nominated = False
        self.heard_at_s = time.monotonic()
        """last authentic datagram or valid check"""
        self._path_heard_at_s = 0.0
        self._used_at_s = float("-inf")
        """the last authentic datagram over the selected path"""
        self._nominated_at_s = float("-inf")
        """the last nomination of the selected path"""
        self.paths: list[Path] = []
        """all that lead here, the latest last"""
        self.credentials: list[tuple[str, str]] = []
        """(ufrag, password), newest last; two while an ICE restart is under way"""
        self.inlet: Inlet | None = None
        """by which compiled code reads what comes"""

    @property
    def path(self) -> Path | None:
        """The selected one."""
        return self._path

    @path.setter
    def path(self, path: Path | None) -> None:
        if path != self._path:
            self._path = path
            self._used_at_s = self._nominated_at_s = float("-inf")
            self.receiver.handle_moved()

    @property
    def ufrag(self) -> str:
        """The fragment to put into the next description."""
        return self.credentials[-1][0]

    @property
    def password(self) -> str:
        """The password to put into the next description."""
        return self.credentials[-1][1]

    def restart(self) -> None:
        """New credentials (RFC 8445, 9); the old ones hold until the new ones are used."""
        self._ice.add_credentials(self)

    def open(self, srtp: Srtp) -> Inlet | None:
        """The keys of what comes are known: compiled code, where there is any, may read it."""
        self.inlet = self._ice.inlet(srtp, self)
        return self.inlet

    def send(self, data: bytes | memoryview) -> None:
        """Send one datagram on the selected path; dropped while there is none."""
        if self.path is not None:
            self._ice.send(data, self.path)

    def defer(self, call: Callable[[], None]) -> None:
        """Call once the socket is drained; at once where nothing is being read."""
        self._ice.defer(call)

    def together(self, call: Callable[[], None]) -> None:
        """Call, and send at once all that it sends."""
        self._ice.together(call)

    def checked(self, check: stun.Check, path: Path, now_s: float) -> None:
        """A valid check came over ``path``: select it where the rules say so."""
        restarted = len(self.credentials) > 1 and check.local_ufrag == self.ufrag
        if restarted:
            self._ice.drop_old_credentials(self)
        stale = now_s - self._path_heard_at_s > STALE_S
        nominates = check.use_candidate or not self.nominated
        used = now_s - self._used_at_s < IN_USE_S
        chosen = nominates and not used and not self._outranks(path, check.use_candidate, now_s)
        if self.path is None or restarted or stale or chosen:
            self.path = path
            self.nominated = self.nominated or check.use_candidate
        if check.use_candidate and path == self.path:
            self._nominated_at_s = now_s
        self._alive(path, now_s)
        self.receiver.handle_reachable()
        if restarted:
            self.receiver.handle_restarted()

    def _outranks(self, path: Path, nominated: bool, now_s: float) -> bool:
        """Does the selected path stay, being UDP where the other is TCP? Browsers nominate whatever
        may do at the beginning, and of those the highest priority is used (RFC 8445, 8.1.1).
        """
        if self.path is None or isinstance(self.path, tcp.Connection):
            return False
        if not isinstance(path, tcp.Connection):
            return False
        return not nominated or now_s - self._nominated_at_s < STALE_S

    def heard(self, path: Path, now_s: float) -> None:
        """Media or its reports came over ``path``, for the first time: the peer is where it sends
        from."""
        moved = path != self._path and now_s - self._used_at_s > MOVES_S
        if moved and not self._outranks(path, True, now_s):
            self.path = path
        if path == self._path:
            self._used_at_s = now_s
        self._alive(path, now_s)

    def _alive(self, path: Path, now_s: float) -> None:
        self.heard_at_s = now_s
        if path == self._path:
            self._path_heard_at_s = now_s

    def close(self) -> None:
        """Forget credentials and paths."""
        self._ice.remove(self)


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
        self._by_ufrag: dict[str, Binding] = {}
        self._by_path: dict[Path, Binding] = {}
        self.find_by_ssrc: Callable[[int], Iterable[Binding]] = lambda ssrc: ()
        self.on_read: Callable[[float], None] = lambda now_s: None
        """what came was read, and has gone on"""
        self.awaited: Callable[[float], bool] = lambda now_s: False
        """does somebody wait for that?"""
        self._dropped = 0
        self.refusals = Refusals()

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
        self.add_credentials(binding)
        return binding

    def add_credentials(self, binding: Binding) -> None:
        """Give ``binding`` a further ufrag (RFC 8839, 5.4: at least 24 and 128 random bits)."""
        ufrag, password = secrets.token_hex(6), secrets.token_hex(16)
        while len(binding.credentials) > 1:  # a restart that was never used
            self._by_ufrag.pop(binding.credentials.pop()[0], None)
        binding.credentials.append((ufrag, password))
        self._by_ufrag[ufrag] = binding

    def drop_old_credentials(self, binding: Binding) -> None:
        """After a restart only the newest credentials remain."""
        for ufrag, _ in binding.credentials[:-1]:
            self._by_ufrag.pop(ufrag, None)
        del binding.credentials[:-1]
        binding.nominated = False

    def inlet(self, srtp: Srtp, binding: Binding) -> Inlet | None:
        """A way in for what comes over the paths of ``binding``."""
        inlet = self._reader.inlet(srtp, binding)
        for path in binding.paths:
            if not isinstance(path, tcp.Connection) and self._by_path.get(path) is binding:
                self._reader.lead(path, inlet)
        return inlet

    def remove(self, binding: Binding) -> None:
        """Nothing leads to ``binding`` any more."""
        for ufrag, _ in binding.credentials:
            self._by_ufrag.pop(ufrag, None)
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

    def send(self, data: bytes | memoryview, path: Path) -> None:
        """Send or drop: a full socket buffer is loss like any other."""
        if isinstance(path, tcp.Connection):
            self._dropped += not path.send(data)
            return
        self._sender.flush()  # nothing overtakes
        try:
            self.socket.sendto(data, path)
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

    def _note_all(self) -> None:
        heard: dict[tuple[Binding, Address], float] = {}
        for relayed in self._reader.relayed():
            heard[relayed.arrival.owner, relayed.address] = relayed.at_s
            if relayed.arrival.kind == reading.HEARD:
                continue
            try:
                relayed.arrival.owner.receiver.handle_relayed(relayed)
            except Exception:  # one peer's packet must never stop the others
                log.exception("packet handling failed")
        for (binding, address), at_s in sorted(heard.items(), key=itemgetter(1)):
            binding.heard(address, at_s)

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
        return self._reader.look(now_s) or self.awaited(now_s)

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
            self._refuse("media", address)
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
        self.catch_up()
        first = data[0]
        if 128 <= first < 192:
            binding = self._by_path.get(path)
            if binding is None:
                self._moved(data, path, now_s)
            elif binding.receiver.handle_srtp(data, now_s):
                binding.heard(path, now_s)
            else:
                self._refuse("media", path)
        elif first < 4:
            self._check(bytes(data), path, now_s)
        elif 20 <= first < 64 and (binding := self._by_path.get(path)) is not None:
            binding.receiver.handle_dtls(bytes(data))
        else:
            self._refuse("dtls" if 20 <= first < 64 else "unknown", path)

    def _refuse(self, kind: str, path: Path) -> None:
        self.refusals.refuse(kind, host_of(path))

    def _check(self, data: bytes, path: Path, now_s: float) -> None:
        check = stun.parse_check(data)
        binding = self._by_ufrag.get(check.local_ufrag) if check is not None else None
        if check is None or binding is None:
            self._refuse("check", path)
            return
        password = dict(binding.credentials)[check.local_ufrag]
        if not check.verify(password):
            self._refuse("check", path)
            return
        if check.controlled:  # a lite agent is always the controlled one (RFC 8445, 6.1.1)
            reply = stun.error(check.transaction, stun.ROLE_CONFLICT, "Role Conflict", password)
            self.send(reply, path)
            return
        if not isinstance(path, tcp.Connection):
            self._answer(check, path, (path[0], path[1]), binding, now_s)
            return
        path.proven = True
        if binding.path is None:
            answer = partial(self._answer_later, check, path, binding)
            asyncio.get_running_loop().call_later(TCP_LATER_S, answer)
        else:
            self._answer(check, path, path.remote, binding, now_s)

    def _answer(
        self,
        check: stun.Check,
        path: Path,
        remote: tuple[str, int],
        binding: Binding,
        now_s: float,
    ) -> None:
        password = dict(binding.credentials)[check.local_ufrag]
        self.send(stun.success(check.transaction, remote, password), path)
        self.lead(path, binding)
        binding.checked(check, path, now_s)

    def _answer_later(self, check: stun.Check, path: tcp.Connection, binding: Binding) -> None:
        if self._by_ufrag.get(check.local_ufrag) is binding:
            if path.is_open:
                self._answer(check, path, path.remote, binding, time.monotonic())
        elif path not in self._by_path:
            path.close()  # it leads to nobody, so nothing else would ever end it

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
        self._refuse("media", path)
