"""Events and snapshots to connections: each in order, nothing lost, nothing twice.

A connection subscribes first and reads then: what is published while it reads is *held*, and sent
behind what was read. ``passed`` tells what a snapshot held already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from itertools import groupby
from typing import Any

import structlog

from server.db.engine import Database
from server.db.journal import Published
from server.errors import Unavailable
from server.live import fanout, metrics
from server.live.audience import Audience, Place
from server.live.client import deliver
from server.live.connections import Connection, Connections
from server.live.gathering import Gathered
from server.live.missed import Asked, Found, Missed, Snapshot
from server.live.sockets import Alike, Server, event_message
from server.permissions import Role
from server.protocol import EVENTS, Reload

log = structlog.get_logger(__name__)


class Delivery:
    """Sends what connections hear."""

    def __init__(self, server: Server, database: Database, connections: Connections) -> None:
        self._server = server
        self._connections = connections
        self._find = Gathered[Asked, Found](database, Missed().read)
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """End every task."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def publish(self, events: Sequence[Published]) -> None:
        """Send committed events to their audiences, or keep them for who is catching up."""
        for conference_id, group in groupby(events, lambda event: event.conference_id):
            hall = self._connections.hall(conference_id)
            if hall is not None:
                batch = list(group)
                for each in hall.behind:
                    assert each.held is not None
                    each.held += batch
                for each in self._tell_audience(batch, hall.audience):
                    self.resync(each)

    def _tell_audience(
        self, batch: Sequence[Published], audience: Audience
    ) -> Sequence[Connection]:
        """Send what each of ``audience`` hears of ``batch``; gives those who must reload (as
        ``_deliver`` does)."""
        roles = fanout.own(batch)
        if roles and not _reload(batch[:1]):
            self._tell_owners(batch, roles, audience)
            return []
        masks = fanout.Masks(batch)
        apart = audience.apart(masks.persons, masks.first)
        audience.passed = batch[-1].seq
        reloading = self._tell_groups(fanout.groups(masks, apart))
        for events, places in fanout.by_place(masks, audience.places):
            if _reload(events):
                reloading += audience.at(places, apart)
            else:
                self.tell_places(audience, places, apart, events)
        return reloading

    def _deliver(self, batch: Sequence[Published], connection: Connection) -> bool:
        """Send what one who catches up hears of ``batch``; True where it must reload.

        It is told nothing but the snapshot that is due: whoever is cut before it came has not
        heard of the reload, and misses it.
        """
        if not batch:
            return False
        found = fanout.groups(fanout.Masks(batch), [connection])
        connection.passed = max(connection.passed, batch[-1].seq)
        return bool(self._tell_groups(found))

    def _tell_owners(
        self, batch: Sequence[Published], roles: Collection[Role], audience: Audience
    ) -> None:
        """Each event to the person that it is about: hundreds of answers, which tell the same."""
        alike: dict[int, Alike] = {}
        for event in batch:
            if event.person_id is None:
                continue
            for connection in audience.of_person(event.person_id):
                if connection.actor.role in roles and event.seq > connection.passed:
                    told = alike.get(id(event.data))
                    if told is None:
                        told = alike[id(event.data)] = Alike(event)
                    connection.told = event.seq
                    connection.socket.deliver_soon(told.message(event.seq))
        audience.passed = batch[-1].seq

    def _tell_groups(
        self, groups: Sequence[tuple[Sequence[Published], Sequence[Connection]]]
    ) -> list[Connection]:
        reloading: list[Connection] = []
        for events, members in groups:
            if _reload(events):
                reloading += members
            else:
                self.tell(members, "events", [e.wire() for e in events], events[-1].seq)
        return reloading

    def resync(self, connection: Connection) -> None:
        """Send a fresh snapshot; what happens until then waits behind it."""
        if connection.held is None:
            self._connections.fell_behind(connection)
            self.spawn(self.catch_up(connection, None))
        else:
            connection.stale = True

    async def catch_up(self, connection: Connection, since: int | None) -> None:
        """Subscribed already (``held``), now read: nothing can fall between the two."""
        try:
            reload = await self._read_and_send(connection, since)
            while reload or connection.stale:
                connection.stale = False
                reload = await self._read_and_send(connection, None)
            self._connections.caught_up(connection)
        except Unavailable:
            log.warning("gateway.catch_up_unavailable")
            await self._server.disconnect(connection.sid)  # as below
        except Exception:
            log.exception("gateway.catch_up_failed")
            await self._server.disconnect(connection.sid)  # its client comes back by itself

    async def _read_and_send(self, connection: Connection, since: int | None) -> bool:
        """A snapshot or what was missed, then what was held; True where it must reload."""
        found = await self._find((connection.actor, since))
        if connection.stale:  # it was read for who it was before
            return True
        if isinstance(found, Snapshot):
            connection.passed = found.seq
            metrics.RESYNCS.labels("snapshot").inc()
            data = {"state": found.state, "seq": found.seq}
            self.tell([connection], "snapshot", data, found.seq)
        else:
            metrics.RESYNCS.labels("missed").inc()
            connection.passed = since or 0
            self._deliver(found, connection)
        while connection.held:
            held, connection.held = connection.held, []
            if self._deliver(held, connection):
                return True
        return False

    def tell_heads(self, conference_id: int) -> None:
        """``head`` to those who were sent nothing of late, though something happened."""
        hall = self._connections.hall(conference_id)
        if hall is not None:
            for seq, group in hall.audience.behind().items():
                self.tell(group, "head", seq, seq)

    def tell(self, connections: Sequence[Connection], name: str, data: object, seq: int) -> None:
        """A message after which they know of everything up to ``seq``."""
        for each in connections:
            each.told = seq
        self.emit(connections, name, data)

    def tell_places(
        self,
        audience: Audience,
        places: Sequence[Place],
        apart: Collection[Connection],
        events: Sequence[Published],
    ) -> None:
        """These events, to all at these places but some."""
        message = event_message("events", [event.wire() for event in events])
        audience.tell(places, apart, message, events[-1].seq)

    def emit(self, connections: Sequence[Connection], name: str, data: object) -> None:
        """One message, encoded once for all of them; each gets it behind what it got before."""
        message = event_message(name, data)
        if len(connections) == 1:  # an acknowledgement may follow, and take it along
            connections[0].socket.deliver_soon(message)
            return
        deliver([each.socket for each in connections], message)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` until it ends or ``stop``."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _reload(events: Sequence[Published]) -> bool:
    """Is there one that a fresh snapshot is told instead of?"""
    return any(isinstance(EVENTS[event.type].effect, Reload) for event in events)
