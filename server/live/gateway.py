"""The only user of python-socketio: handshake, commands, events, snapshots, live facts.

python-socketio runs handlers concurrently, and one that raises never acknowledges: handlers only
decode and enqueue, and catch everything. A client may also send events named ``connect`` and
``disconnect``, which reach the same handlers; the library's own register tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import socketio
import structlog
from aiohttp import web

from server.db.engine import Database
from server.db.journal import Published
from server.errors import DomainError, Forbidden, SlowDown, Unauthenticated, Unavailable
from server.i18n import Language, choose
from server.inbox import Inbox, utc_now
from server.live import presence, seats
from server.live.connections import Connection, Connections
from server.live.decode import decode, decode_hello
from server.live.delivery import Delivery
from server.live.facts import Facts
from server.live.sockets import make_server
from server.people.seats import actor_of_seat
from server.permissions import Actor, Target, require
from server.protocol import (
    AcceptMedia,
    CloseMedia,
    Command,
    MediaRequest,
    PublishMedia,
    ReceiveMedia,
    RestartMedia,
)
from server.signalling import Signalling

__all__ = ["Gateway", "make_server"]

MOST_IN_FLIGHT = 64
"""Commands of one socket that may wait for their acknowledgement."""
STEERING = ("stage.", "floor.", "site.", "conference.", "seat.")
"""Types of events after which the media worker's desired state is derived anew."""

log = structlog.get_logger(__name__)


class Gateway:
    """Joins sockets to the inbox. A listener of the inbox, and the ear of signalling."""

    def __init__(
        self,
        server: socketio.AsyncServer,
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
        self._signalling = signalling
        self._languages = languages
        self._public_host = urlsplit(public_url).netloc if public_url else None
        self._delivery = Delivery(server, database, self.connections)
        self._facts = Facts(self.connections, self._delivery.emit)
        self.live = self._facts.tell
        signalling.on_live = self._facts.tell
        inbox.listen(self)
        server.on("connect", self._on_connect)
        server.on("disconnect", self._on_disconnect)
        server.on("*", self._on_command)

    async def stop(self) -> None:
        """Cut all connections and end every task."""
        for connection in self.connections:
            await self._server.disconnect(connection.sid)
        await self._delivery.stop()

    async def drop(self, seat: str) -> None:
        """Cut a revoked seat's connections at once."""
        await self._drop(self.connections.of_seats([seat]))

    async def tick(self) -> None:
        """Once a second: presence that changed, ``head`` for those who heard nothing of late."""
        for conference_id in self.connections.conferences():
            members = self.connections.of_conference(conference_id)
            self._facts.count(conference_id, presence.count(members))
            behind: dict[int, list[Connection]] = {}
            for each in members:
                if each.held is None and each.told < each.passed:
                    behind.setdefault(each.passed, []).append(each)
            for seq, group in behind.items():
                await self._delivery.tell(group, "head", seq, seq)
        await self._facts.flush()

    # --- handshake ---

    async def _on_connect(self, sid: str, _environ: object, auth: object = None) -> None:
        if self.connections.get(sid) is not None:
            return
        request: web.Request = self._server.get_environ(sid)["aiohttp.request"]
        language = choose(
            self._languages,
            request.cookies.get("lang"),
            request.headers.get("Accept-Language", ""),
        )
        try:
            self._require_own_origin(request)
            hello = decode_hello(auth)
            secret = request.cookies.get(f"seat_{hello.seat}")
            if secret is None:
                raise Unauthenticated()
            actor = await self._database.read(actor_of_seat, hello.seat, secret, utc_now())
        except DomainError as error:
            raise self._refuse(error, language) from None
        except Exception:
            log.exception("gateway.connect_failed")
            raise self._refuse(Unavailable(retry_after_s=2.0), language) from None
        connection = Connection(sid, actor, language)
        self.connections.add(connection)
        self._delivery.spawn(self._welcome(connection, hello.since))

    def _refuse(self, error: DomainError, language: Language) -> Exception:
        refusal = _refusal(error, language)
        problem: Exception = socketio.exceptions.ConnectionRefusedError(refusal["message"], refusal)
        return problem

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
        facts = self._signalling.current(connection.conference_id)
        await self._facts.welcome(connection, facts, utc_now())

    async def _on_disconnect(self, sid: str, *_reason: object) -> None:
        if not self._server.manager.is_connected(sid, "/"):
            self.connections.remove(sid)

    async def rights_changed(self, conference_id: int) -> None:
        """Cut the seats that are no more; those whose place changed get a fresh snapshot."""
        members = self.connections.of_conference(conference_id)
        standing = await self._database.read(
            seats.standing, {each.actor.holder for each in members}
        )
        await self._drop([each for each in members if each.actor.holder not in standing])
        for each in members:
            now = standing.get(each.actor.holder)
            if now is not None and now != seats.place(each.actor):
                each.actor = seats.moved(each.actor, now)
                self._delivery.resync(each)
        self._signalling.refresh(conference_id)

    async def _drop(self, connections: Iterable[Connection]) -> None:
        for each in connections:
            self.connections.remove(each.sid)
            await self._server.disconnect(each.sid)

    # --- commands ---

    async def _on_command(self, type_: str, sid: str, *arguments: Any) -> dict[str, Any]:
        connection = self.connections.get(sid)
        language = connection.language if connection else choose(self._languages, None, "")
        try:
            if connection is None:
                raise Unauthenticated()
            return {"ok": True, "result": await self._do(connection, type_, arguments)}
        except DomainError as error:
            return _refusal(error, language)
        except Exception:
            log.exception("gateway.command_failed", type=type_[:80])
            return _refusal(Unavailable(retry_after_s=2.0), language)

    async def _do(
        self, connection: Connection, type_: str, arguments: tuple[Any, ...]
    ) -> dict[str, Any]:
        if connection.in_flight >= MOST_IN_FLIGHT:
            raise SlowDown(retry_after_s=1.0)
        command, key = decode(type_, arguments)
        connection.in_flight += 1
        try:
            if isinstance(command, Command):
                return await self._inbox.submit(connection.actor, command, key)
            return await self._media(connection.actor, command)
        finally:
            connection.in_flight -= 1

    async def _media(self, actor: Actor, request: MediaRequest) -> dict[str, Any]:
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
            case _:
                raise NotImplementedError(request.type)
        servers = media.ice_servers(actor.holder)
        return {"session": session, "sdp": sdp, "ice_servers": servers}

    async def publish(self, events: Sequence[Published]) -> None:
        """Send committed events to their audiences; steer media where they concern it."""
        await self._delivery.publish(events)
        for conference_id in {e.conference_id for e in events if e.type.startswith(STEERING)}:
            self._signalling.refresh(conference_id)


def _refusal(error: DomainError, language: Language) -> dict[str, Any]:
    answer = {"ok": False, "error": error.code, "message": language.explain(error)}
    if error.retry_after_s is not None:
        return {**answer, "retry_after_s": error.retry_after_s}
    return answer
