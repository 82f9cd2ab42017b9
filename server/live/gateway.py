"""The only user of python-socketio: handshake, events, snapshots, live facts, negotiation of media."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import socketio
import structlog
from aiohttp import web
from msgspec.structs import asdict

from server.db.engine import Database
from server.db.journal import Published
from server.errors import (
    N_,
    DomainError,
    Forbidden,
    Invalid,
    Unauthenticated,
    Unavailable,
)
from server.i18n import Language, choose
from server.inbox import RETRY_AFTER_S, Inbox, utc_now
from server.live import presence, seats
from server.live.client import Socket
from server.live.commands import Commands, refusal
from server.live.connections import Connection, Connections
from server.live.decode import decode_hello
from server.live.delivery import Delivery
from server.live.facts import Facts
from server.live.gathering import Gathered
from server.live.sockets import Server, make_server
from server.people.seats import actors_of_seats
from server.permissions import Actor, Target, require
from server.protocol import (
    AcceptMedia,
    CloseMedia,
    ExpectMedia,
    ListenMedia,
    MediaRequest,
    PublishMedia,
    ReceiveMedia,
    ReportMedia,
    RestartMedia,
    SeeLines,
    SiteConnected,
    ViewMedia,
)
from server.signalling import Signalling

__all__ = ["Gateway", "make_server"]

MOST_OF_SEAT = 32
"""Sockets of one seat: its tabs, and those that nobody knows yet to be dead."""
STEERING = ("stage.", "floor.", "site.", "conference.", "seat.")
"""Types of events after which the media worker's desired state is derived anew; ``site.connected`` is
of sockets alone."""

HEAD_EVERY = 5
"""ticks between two ``head``: it only shortens a return, and each wakes every phone"""

log = structlog.get_logger(__name__)


class Gateway:
    """Joins sockets to the inbox. A listener of the inbox, and the ear of signalling."""

    def __init__(
        self,
        server: Server,
        inbox: Inbox,
        database: Database,
        signalling: Signalling,
        languages: Mapping[str, Language],
        public_url: str | None = None,
    ) -> None:
        self.connections = Connections()
        self._server = server
        self._inbox = inbox
        self._database = database
        self._seated = Gathered(database, actors_of_seats)
        self._signalling = signalling
        self._languages = languages
        self._public_host = urlsplit(public_url).netloc if public_url else None
        self._delivery = Delivery(server, database, self.connections)
        self._facts = Facts(self.connections, self._delivery.emit)
        self._commands = Commands(inbox, self._media, lambda: self._language(None))
        self._asked = itertools.count(1)
        self._ticks = itertools.count(1)
        self._rights_changes = 0
        signalling.steering.telling.on_live = self._facts.tell
        inbox.listen(self)
        server.on("connect", self._on_connect)
        server.on("disconnect", self._on_disconnect)
        server.on_command = self._commands.one
        server.on_commands = self._commands.many
        server.on_foreign = self._on_foreign

    async def stop(self) -> None:
        """Cut all connections and end every task."""
        for connection in self.connections:
            await self._server.disconnect(connection.sid)
        await self._commands.stop()
        await self._delivery.stop()
        await self._server.shutdown()

    @property
    def presences(self) -> Mapping[int, presence.Presence]:
        """By conference, who is there; as of the last ``tick``."""
        return self._facts.presences

    async def tick(self) -> None:
        """Once a second: presence that changed, and now and then ``head`` for those who heard
        nothing of late."""
        heads = next(self._ticks) % HEAD_EVERY == 0
        conferences = self.connections.conferences()
        self._facts.keep(conferences)
        for conference_id in conferences:
            hall = self.connections.hall(conference_id)
            if hall is not None and hall.stirred:
                hall.stirred = False
                before = self.presences.get(conference_id, {})
                counted = presence.count(hall.members.values(), before)
                self._facts.count(conference_id, counted)
            if heads:
                self._delivery.tell_heads(conference_id)
        self._facts.flush()

    def tell_choices(self, conference_id: int, choices: dict[str, Any]) -> None:
        """How the open item of a quiz is answered so far, where it is news."""
        telling = self._signalling.steering.telling
        if telling.current(conference_id).get("choices") != choices:
            telling.tell(conference_id, "choices", choices, keep=True)

    # --- handshake ---

    async def _on_connect(self, sid: str, _environ: object, auth: object = None) -> None:
        if self.connections.get(sid) is not None:
            return
        request: web.Request = self._server.get_environ(sid)["aiohttp.request"]
        language = self._language(request)
        try:
            self._require_own_origin(request)
            hello = decode_hello(auth)
            secret = request.cookies.get(f"seat_{hello.seat}")
            if secret is None:
                raise Unauthenticated()
            actor = await self._seat(hello.seat, secret)
        except DomainError as error:
            raise self._refuse(error, language) from None
        except Exception:
            log.exception("gateway.connect_failed")
            raise self._refuse(Unavailable(retry_after_s=RETRY_AFTER_S), language) from None
        socket = self._server.socket_of(sid)
        if socket is None or socket.closing:
            raise self._refuse(Unavailable(retry_after_s=RETRY_AFTER_S), language)
        others = self.connections.of_seats([actor.holder])
        self._server.forget_request(sid)
        connection = socket.owner = Connection(
            sid, socket, actor, language, page=hello.page, listens=hello.listens
        )
        self.connections.add(connection)  # nothing is awaited since its rights were looked up
        self._delivery.spawn(self._welcome(connection, hello.since))
        if len(others) >= MOST_OF_SEAT:
            await self._drop(others[:1])  # the oldest: most likely nobody is there

    async def _seat(self, seat: str, secret: str) -> Actor:
        """Who connects; looked up again where rights changed meanwhile: ``rights_changed`` looks at
        those who are connected alone. Raises: Unauthenticated, Forbidden, Unavailable.
        """
        while True:
            changes = self._rights_changes
            actor = await self._seated((seat, secret))
            if changes == self._rights_changes:
                return actor

    def _language(self, request: web.Request | None) -> Language:
        if request is None:
            return choose(self._languages, None, "")
        accepted = request.headers.get("Accept-Language", "")
        return choose(self._languages, request.cookies.get("lang"), accepted)

    def _refuse(self, error: DomainError, language: Language) -> Exception:
        told = refusal(error, language)
        problem: Exception = socketio.exceptions.ConnectionRefusedError(told["message"], told)
        return problem

    def _on_foreign(self, socket: Socket, request: web.Request | None) -> dict[str, Any]:
        """A namespace other than ours, refused as a seat is."""
        connection: Connection | None = socket.owner
        language = connection.language if connection else self._language(request)
        told = refusal(Invalid(N_("Máy chủ không có kênh này. Hãy tải lại trang.")), language)
        return {"message": told["message"], "data": told}

    def _require_own_origin(self, request: web.Request) -> None:
        """A browser says where the page came from, except for its own GET; other programs do not.

        Raises: Forbidden.
        """
        origin = request.headers.get("Origin")
        if origin is None:
            return
        host = urlsplit(origin).netloc
        if not host or host not in (request.host, self._public_host):
            raise Forbidden()

    async def _welcome(self, connection: Connection, since: int | None) -> None:
        await self._delivery.catch_up(connection, since)
        facts = self._signalling.steering.telling.current(connection.conference_id)
        self._facts.welcome(connection, facts, utc_now())

    async def _on_disconnect(self, sid: str, *_reason: object) -> None:
        self._forget(self.connections.remove(sid))

    def _forget(self, connection: Connection | None) -> None:
        if connection is not None:
            connection.socket.owner = None

    async def rights_changed(self, conference_id: int) -> None:
        """Cut the seats that are no more; those whose place changed get a fresh snapshot. Where their
        rights cannot be read all are cut, before anything more is told: each handshake reads them.
        """
        self._rights_changes += 1
        self._signalling.steering.refresh(conference_id)  # which tries again by itself
        members = self.connections.of_conference(conference_id)
        holders = {each.actor.holder for each in members}
        try:
            standing = await self._database.read(seats.standing, holders)
        except Exception as error:
            if not isinstance(error, Unavailable):
                log.exception("gateway.rights_unknown")
            await self._drop(members)
            return
        await self._drop([each for each in members if each.actor.holder not in standing])
        for each in members:
            now = standing.get(each.actor.holder)
            if now is not None and now != seats.place(each.actor):
                each.move(seats.moved(each.actor, now))
                self.connections.stir(each)
                self._delivery.resync(each)

    async def _drop(self, connections: Iterable[Connection]) -> None:
        for each in connections:
            self._forget(self.connections.remove(each.sid))
            await self._server.disconnect(each.sid)

    # --- media and events ---

    async def _media(self, connection: Connection, request: MediaRequest) -> dict[str, Any]:
        actor = connection.actor
        target = Target(actor.conference_id, actor.site_id, actor.person_id)
        require(actor, request.permission, target)
        media = self._signalling
        match request:
            case PublishMedia():
                session, sdp = await media.publish(actor, request.source, request.sdp)
            case ReceiveMedia():
                session, sdp = await media.receive(actor, request.wall, request.audio)
            case AcceptMedia():
                session, sdp = await media.accept(actor, request.session, request.sdp)
            case RestartMedia():
                session, sdp = await media.restart(actor, request.session, request.sdp)
            case CloseMedia():
                session, sdp = await media.close(actor, request.session)
            case ViewMedia():
                await media.view(actor, request.session, request.heights)
                return {}
            case ExpectMedia():
                await media.expect(actor, request.sources)
                return {}
            case ReportMedia():
                media.report(actor, request)
                return {}
            case SeeLines():
                return {"lines": [asdict(row) for row in media.lines(actor)]}
            case ListenMedia():
                if request.here:
                    connection.asked = next(self._asked)
                elif request.listens != connection.listens:  # else it only sees whether we hear it
                    connection.asked = 0
                connection.listens = request.listens
                self.connections.stir(connection)
                return {}
            case _:
                raise NotImplementedError(request.type)
        servers = media.ice_servers(actor.holder)
        return {"session": session, "sdp": sdp, "ice_servers": servers}

    def publish(self, events: Sequence[Published]) -> None:
        """Send committed events to their audiences; steer media where they concern it. Who may not
        have got them for a fault of ours gets a fresh snapshot."""
        try:
            self._delivery.publish(events)
        except Exception:
            log.exception("gateway.publish_failed")
            for conference_id in {event.conference_id for event in events}:
                for each in self.connections.of_conference(conference_id):
                    self._delivery.resync(each)
        for conference_id in {each.conference_id for each in events if _steers(each.type)}:
            self._signalling.steering.refresh(conference_id)


@cache
def _steers(event: str) -> bool:
    return event.startswith(STEERING) and event != SiteConnected.type
