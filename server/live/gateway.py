"""The only user of python-socketio: handshake, commands, events, snapshots, live facts.

python-socketio runs handlers concurrently, and one that raises never acknowledges: handlers only
decode and enqueue, and catch everything. A client may also send events named ``connect`` and
``disconnect``, which reach the same handlers; the library's own register tells them apart.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

import msgspec
import socketio
import structlog
from aiohttp import web
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.db import journal
from server.db.engine import Database
from server.db.journal import Published
from server.errors import DomainError, Forbidden, SlowDown, Unauthenticated, Unavailable
from server.i18n import Language, choose
from server.inbox import Inbox, utc_now
from server.live import fanout, presence
from server.live.connections import Connection, Connections
from server.live.decode import MAX_MESSAGE_BYTES, decode, decode_hello
from server.live.facts import Facts
from server.people.models import Seat
from server.people.seats import actor_of_seat
from server.permissions import Actor, Role, Target, require
from server.protocol import (
    EVENTS,
    AcceptMedia,
    CloseMedia,
    Command,
    MediaRequest,
    PublishMedia,
    ReceiveMedia,
    Reload,
    RestartMedia,
)
from server.signalling import Signalling
from server.snapshot import build_with_seq

MOST_MISSED = 500
"""Events that are sent one by one to who comes back; beyond it a snapshot is shorter."""
MOST_IN_FLIGHT = 64
"""Commands of one socket that may wait for their acknowledgement."""
STEERING = ("stage.", "floor.", "site.", "conference.", "seat.")
"""Types of events after which the media worker's desired state is derived anew."""

log = structlog.get_logger(__name__)


class _Json:
    """JSON for python-socketio: written by msgspec, read by the standard library."""

    @staticmethod
    def dumps(value: object, **_options: object) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str, **_options: object) -> Any:
        return json.loads(text)


def make_server() -> socketio.AsyncServer:
    """A Socket.IO server for ``Gateway``; attach it to the aiohttp application."""
    return socketio.AsyncServer(
        async_mode="aiohttp",
        cors_allowed_origins=[],  # no CORS headers, no check: the gateway checks the Origin
        max_http_buffer_size=MAX_MESSAGE_BYTES,
        json=_Json,
    )


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
        self._tasks: set[asyncio.Task[None]] = set()
        self._facts = Facts(self.connections, self._emit)
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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
                await self._tell(group, "head", seq, seq)
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
        self._spawn(self._welcome(connection, hello.since))

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

    async def _on_disconnect(self, sid: str, *_reason: object) -> None:
        if not self._server.manager.is_connected(sid, "/"):
            self.connections.remove(sid)

    async def rights_changed(self, conference_id: int) -> None:
        """Cut the seats that are no more; those whose place changed get a fresh snapshot."""
        members = self.connections.of_conference(conference_id)
        standing = await self._database.read(_standing, {each.actor.holder for each in members})
        await self._drop([each for each in members if each.actor.holder not in standing])
        for each in members:
            now = standing.get(each.actor.holder)
            if now is not None and now != _place(each.actor):
                each.actor = _moved(each.actor, now)
                self._resync(each)
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
        return {"session": session, "sdp": sdp}

    # --- events and snapshots ---

    async def publish(self, events: Sequence[Published]) -> None:
        """Send committed events to their audiences; steer media where they concern it."""
        for conference_id, group in groupby(events, lambda event: event.conference_id):
            batch = list(group)
            ready = []
            for each in self.connections.of_conference(conference_id):
                if each.held is None:
                    ready.append(each)
                else:
                    each.held += batch
            for each in await self._deliver(batch, ready):
                self._resync(each)
            if any(event.type.startswith(STEERING) for event in batch):
                self._signalling.refresh(conference_id)

    async def _deliver(
        self, batch: Sequence[Published], connections: Sequence[Connection]
    ) -> list[Connection]:
        """Send what each hears of ``batch``; gives those who heard that they must reload."""
        found = fanout.groups(batch, connections)
        if batch:
            for each in connections:
                each.passed = max(each.passed, batch[-1].seq)
        reloading: list[Connection] = []
        for events, members in found:
            await self._tell(members, "events", [e.wire() for e in events], events[-1].seq)
            if any(isinstance(EVENTS[event.type].effect, Reload) for event in events):
                reloading += members
        return reloading

    def _resync(self, connection: Connection) -> None:
        """Send a fresh snapshot; what happens until then waits behind it."""
        if connection.held is None:
            connection.held = []
            self._spawn(self._catch_up(connection, None))
        else:
            connection.stale = True

    async def _welcome(self, connection: Connection, since: int | None) -> None:
        await self._catch_up(connection, since)
        facts = self._signalling.current(connection.conference_id)
        await self._facts.welcome(connection, facts, utc_now())

    async def _catch_up(self, connection: Connection, since: int | None) -> None:
        """Subscribed already (``held``), now read: nothing can fall between the two."""
        try:
            reload = await self._read_and_send(connection, since)
            while reload or connection.stale:
                connection.stale = False
                reload = await self._read_and_send(connection, None)
            connection.held = None
        except Exception:
            log.exception("gateway.catch_up_failed")
            await self._server.disconnect(connection.sid)  # its client comes back by itself

    async def _read_and_send(self, connection: Connection, since: int | None) -> bool:
        """A snapshot or what was missed, then what was held; True where it must reload."""
        actor = connection.actor
        missed = None
        if since is not None:
            missed = await self._database.read(_missed, actor, since)
        if missed is None:
            state, seq = await self._database.read(build_with_seq, actor, utc_now())
            connection.passed = seq
            await self._tell([connection], "snapshot", {"state": state, "seq": seq}, seq)
        else:
            connection.passed = since or 0
            await self._deliver(missed, [connection])
        while connection.held:
            held, connection.held = connection.held, []
            if await self._deliver(held, [connection]):
                return True
        return False

    async def _tell(
        self, connections: Sequence[Connection], name: str, data: object, seq: int
    ) -> None:
        for each in connections:
            each.told = seq
        await self._emit(connections, name, data)

    async def _emit(self, connections: Iterable[Connection], name: str, data: object) -> None:
        """One message, encoded once for all of them."""
        sids = [each.sid for each in connections]
        if sids:
            await self._server.emit(name, data, to=sids)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _refusal(error: DomainError, language: Language) -> dict[str, Any]:
    answer = {"ok": False, "error": error.code, "message": language.explain(error)}
    if error.retry_after_s is not None:
        return {**answer, "retry_after_s": error.retry_after_s}
    return answer


def _missed(session: Session, actor: Actor, since: int) -> Sequence[Published] | None:
    """All events after ``since``; None where a snapshot is shorter or the only way."""
    assert actor.conference_id is not None
    if since > journal.head(session, actor.conference_id):
        return None
    events = journal.read(session, actor.conference_id, since, MOST_MISSED + 1)
    reload = any(
        isinstance(EVENTS[event.type].effect, Reload) and event.heard_by(actor) for event in events
    )
    return None if reload or len(events) > MOST_MISSED else events


_Place = tuple[str, int | None, int | None]


def _place(actor: Actor) -> _Place:
    return (actor.role.value, actor.site_id, actor.person_id)


def _moved(actor: Actor, place: _Place) -> Actor:
    role, site_id, person_id = place
    return replace(actor, role=Role(role), site_id=site_id, person_id=person_id)


def _standing(session: Session, seats: set[str]) -> dict[str, _Place]:
    """Which of ``seats`` are in force, and as what."""
    query = select(Seat.id, Seat.role, Seat.site_id, Seat.person_id).where(
        Seat.id.in_(seats), Seat.revoked_at.is_(None), Seat.admitted_at.is_not(None)
    )
    return {row.id: (row.role, row.site_id, row.person_id) for row in session.execute(query)}
