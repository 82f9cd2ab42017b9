"""Requests for sessions, answered: a description in, a session made, a description out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiortc.rtcdtlstransport import RTCCertificate

from server.media import messages, negotiation, sdp
from server.media.faults import Fault, InvalidDescription
from server.media.ice import IceLite
from server.media.peer import Peer
from server.media.publication import Publication
from server.media.router import Conference, Session
from server.media.subscription import Receiver, Watcher

MAX_WALL = 64
MAX_SESSIONS_A_HOLDER = 16
HANGS_ON_FAREWELL = "FFmpegPublishSession"
"""Name of what FFmpeg's WHIP muxer (seen with 9.0.2) describes. An alert makes its socket a blocking one,
and it waits for ever; without one it ends by itself 30 s later, as no check is answered any more."""


class Refusal(Exception):
    """A request that is not done; ``code`` and ``about`` as in ``messages.Refused``."""

    def __init__(self, code: str, about: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.about = about


@dataclass(slots=True)
class Negotiator:
    """Makes sessions over one ICE socket."""

    ice: IceLite
    certificate: RTCCertificate
    fingerprint: str
    addresses: tuple[tuple[str, int], ...]

    def publish(self, conference: Conference, request: messages.Publish) -> tuple[str, str]:
        """(session, answer) for an offer to publish. Raises: Refusal."""
        if request.source not in conference.grant(request.holder).publish:
            raise Refusal("forbidden")
        offer, lines, remote = self._read_offer(request.sdp, publishing=True)
        self._limit(conference, request.holder)
        peer = Peer(self.ice, self.certificate)
        peer.farewell = offer.name != HANGS_ON_FAREWELL
        publication = Publication(request.source, request.holder, peer, lines)
        publication.offer = request.sdp
        answer = self._answer(offer, lines, peer, remote, None, publication)
        conference.add(publication)
        peer.describe_remote(remote.fingerprints, client=remote.client)
        return publication.session, answer

    def watch(self, conference: Conference, request: messages.Watch) -> tuple[str, str]:
        """(session, answer) for a WHEP player's offer. Raises: Refusal."""
        if not conference.grant(request.holder).receive:
            raise Refusal("forbidden")
        offer, lines, remote = self._read_offer(request.sdp, publishing=False)
        self._limit(conference, request.holder)
        peer = Peer(self.ice, self.certificate)
        watcher = Watcher(request.source, request.holder, peer, lines)
        watcher.offer = request.sdp
        watcher.agree(lines)
        answer = self._answer(offer, lines, peer, remote, watcher.sources, watcher)
        conference.add(watcher)
        peer.describe_remote(remote.fingerprints, client=remote.client)
        return watcher.session, answer

    def receive(self, conference: Conference, request: messages.Receive) -> tuple[str, str]:
        """(session, our offer of slots). Raises: Refusal."""
        if not conference.grant(request.holder).receive:
            raise Refusal("forbidden")
        if not 0 <= request.wall <= MAX_WALL:
            raise Refusal("invalid")
        self._limit(conference, request.holder)
        peer = Peer(self.ice, self.certificate)
        lines = negotiation.slot_lines(request.wall, request.audio)
        receiver = Receiver(request.holder, peer, lines)
        conference.add(receiver)
        return receiver.session, self._offer(receiver)

    def accept(self, conference: Conference, session: Session, text: str) -> None:
        """The page's answer to our offer. Raises: Refusal."""
        if not isinstance(session, Receiver):
            raise Refusal("invalid")
        with _read():
            answer = sdp.parse(text)
            lines = negotiation.read_answer(session.lines, answer)
            remote = negotiation.remote(answer, offer=False)
        known = session.peer.fingerprints
        if known is None:
            session.agree(lines)
            session.peer.describe_remote(remote.fingerprints, client=remote.client)
        else:
            _require_same("a=fingerprint", sorted(known), sorted(remote.fingerprints))
        conference.reconcile()

    def restart(self, session: Session, text: str) -> str:
        """New ICE credentials on the same DTLS association (RFC 8842, 5.5). Raises: Refusal."""
        if isinstance(session, Receiver):
            session.peer.binding.restart()
            session.version += 1
            return self._offer(session)
        assert isinstance(session, Publication | Watcher)
        publishing = isinstance(session, Publication)
        offer, lines, remote = self._read_offer(text, publishing=publishing)
        agreed = session.answer if isinstance(session, Watcher) else session.lines
        _require_same("m=", [_shape(line) for line in agreed], [_shape(line) for line in lines])
        known = sorted(session.peer.fingerprints or [])
        _require_same("a=fingerprint", known, sorted(remote.fingerprints))
        session.peer.binding.restart()
        session.version += 1
        session.offer = text
        ssrcs = session.sources if isinstance(session, Watcher) else None
        remote.client = session.peer.client
        return self._answer(offer, lines, session.peer, remote, ssrcs, session)

    def describe(self, session: Session) -> str:
        """The latest offer that the remote side made. Raises: Refusal where we made it."""
        if isinstance(session, Publication | Watcher):
            return session.offer
        raise Refusal("not_found")

    def _limit(self, conference: Conference, holder: str) -> None:
        if sum(s.holder == holder for s in conference.sessions()) >= MAX_SESSIONS_A_HOLDER:
            raise Refusal("busy")

    def _read_offer(
        self, text: str, *, publishing: bool
    ) -> tuple[sdp.Description, list[negotiation.Line | None], negotiation.Remote]:
        with _read():
            offer = sdp.parse(text)
            lines = negotiation.accept_offer(offer, publishing=publishing)
            return offer, lines, negotiation.remote(offer, offer=True, publishing=publishing)

    def _transport(self, peer: Peer, setup: str) -> sdp.Transport:
        binding = peer.binding
        return sdp.Transport(
            binding.ufrag, binding.password, self.fingerprint, setup, self.addresses
        )

    def _answer(
        self,
        offer: sdp.Description,
        lines: list[negotiation.Line | None],
        peer: Peer,
        remote: negotiation.Remote,
        ssrcs: dict[str, negotiation.Sources] | None,
        session: Session,
    ) -> str:
        transport = self._transport(peer, "active" if remote.client else "passive")
        return negotiation.write_answer(
            offer, lines, transport, ssrcs, session=session.origin, version=session.version
        )

    def _offer(self, receiver: Receiver) -> str:
        return negotiation.write_offer(
            receiver.lines,
            self._transport(receiver.peer, "actpass"),
            receiver.sources,
            session=receiver.origin,
            version=receiver.version,
        )


@contextmanager
def _read() -> Iterator[None]:
    """What is wrong with a description is told to who made it."""
    try:
        yield
    except InvalidDescription as error:
        raise Refusal(error.fault.code, error.about) from error


def _require_same(what: str, known: object, given: object) -> None:
    if given != known:
        raise Refusal(Fault.CHANGED.code, what)


def _shape(line: negotiation.Line | None) -> object:
    """What may not change over an ICE restart."""
    if line is None:
        return None
    return line.mid, line.kind, [codec.payload_type for codec in line.codecs], line.rids
