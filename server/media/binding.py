"""One peer's place on the sockets: its credentials, its paths, and which of them is selected.

A *path* is where packets come from and go to: an address on the UDP socket, or a TCP connection
(``tcp``). It is selected by valid checks (RFC 8445, 8) and by what SRTP proves to be the peer's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from server.media import stun, tcp
from server.media.addresses import Address
from server.media.reading import Arrival, Inlet, Relayed
from server.media.srtp import Srtp

if TYPE_CHECKING:
    from server.media.checks import Credentials
    from server.media.ice import IceLite

Path = Address | tcp.Connection

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

    def handle_relayed(self, relayed: Sequence[Relayed]) -> None:
        """The same, but that they went on already, a moment ago."""

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
        self.credentials: list[Credentials] = []
        """newest last; two while an ICE restart is under way"""
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
        return self.credentials[-1].ufrag

    @property
    def password(self) -> str:
        """The password to put into the next description."""
        return self.credentials[-1].password

    def restart(self) -> None:
        """New credentials (RFC 8445, 9); the old ones hold until the new ones are used."""
        self._ice.checks.add_credentials(self)

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
        if path != self._path:
            self._ice.catch_up()  # is the selected one in use?
        restarted = len(self.credentials) > 1 and check.local_ufrag == self.ufrag
        if restarted:
            self._ice.checks.drop_old_credentials(self)
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
        if path != self._path:
            self._ice.catch_up()  # the same
        moved = path != self._path and now_s - self._used_at_s > MOVES_S
        if moved and not self._outranks(path, True, now_s):
            self.path = path
        if path == self._path:
            self._used_at_s = max(self._used_at_s, now_s)
        self._alive(path, now_s)

    def _alive(self, path: Path, now_s: float) -> None:
        self.heard_at_s = max(self.heard_at_s, now_s)
        if path == self._path:
            self._path_heard_at_s = max(self._path_heard_at_s, now_s)

    def close(self) -> None:
        """Forget credentials and paths."""
        self._ice.remove(self)
