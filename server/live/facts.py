"""Fleeting facts (``protocol.LIVE``): who hears them, the last presence, what is to be sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from server.live.connections import Connection, Connections
from server.live.presence import Presence
from server.permissions import Actor, Permission, Reach, reach

Emit = Callable[[Sequence[Connection], str, object], None]

_HEARD_BY = {
    "presence": Permission.RECEIVE,
    "publications": Permission.RECEIVE,
    "speaking": Permission.RECEIVE,
    "recording": Permission.RECEIVE,  # told each second: not to 1,703 phones, which do not show it
    "choices": Permission.SEE_KEY,
    "lines": Permission.SEE_REPORTS,
    "downlinks": Permission.SEE_REPORTS,
}
"""Phones hear only what they show; the rest is for everyone."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact for one holder, for one site's publishers, or for all who may hear its type."""

    conference_id: int
    type: str
    data: Any
    holder: str | None = None
    site: int | None = None

    def heard_by(self, actor: Actor) -> bool:
        """True where ``actor`` (of this conference) is to be told."""
        if self.holder is not None:
            return actor.holder == self.holder
        if self.site is not None:
            return actor.site_id == self.site and _may(actor, Permission.PUBLISH)
        permission = _HEARD_BY.get(self.type)
        return permission is None or _may(actor, permission)

    def wire(self) -> dict[str, Any]:
        """An entry of the socket's ``live``."""
        return {"type": self.type, "data": self.data}


def _may(actor: Actor, permission: Permission) -> bool:
    return reach(actor.role, permission) is not Reach.NONE


class Facts:
    """Collects facts and sends what came together as one message."""

    def __init__(self, connections: Connections, emit: Emit) -> None:
        self._connections = connections
        self._emit = emit
        self._waiting: list[Fact] = []
        self._flushing: asyncio.Handle | None = None
        self._presence: dict[int, Presence] = {}

    def tell(
        self,
        conference_id: int,
        type: str,
        data: Any,
        holder: str | None = None,
        site: int | None = None,
    ) -> None:
        """Send soon. Call on the loop."""
        self._waiting.append(Fact(conference_id, type, data, holder, site))
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self.flush)

    @property
    def presences(self) -> Mapping[int, Presence]:
        """By conference, what was told last to somebody who is still there."""
        return self._presence

    def keep(self, conferences: Collection[int]) -> None:
        """Forget the presence of other conferences: everybody left, and who comes next shall not be
        told of them."""
        self._presence = {id_: p for id_, p in self._presence.items() if id_ in conferences}

    def count(self, conference_id: int, presence: Presence) -> None:
        """Tell of ``presence`` where it is not what was told last."""
        if self._presence.get(conference_id) != presence:
            self._presence[conference_id] = presence
            self.tell(conference_id, "presence", presence)

    def flush(self) -> None:
        """Send what waits: one message for each set of receivers, in order for each of them."""
        self._flushing = None
        facts, self._waiting = self._waiting, []
        for conference_id in {fact.conference_id for fact in facts}:
            self._send(conference_id, [f for f in facts if f.conference_id == conference_id])

    def _send(self, conference_id: int, facts: list[Fact]) -> None:
        hall = self._connections.hall(conference_id)
        if hall is None:
            return
        groups: dict[tuple[int, ...], list[Connection]] = {}
        holders = {fact.holder for fact in facts if fact.holder is not None}
        named = {c for c in self._connections.of_seats(holders) if c.conference_id == conference_id}
        for each in named:
            heard = tuple(n for n, fact in enumerate(facts) if fact.heard_by(each.actor))
            groups.setdefault(heard, []).append(each)
        for_all = [(n, fact) for n, fact in enumerate(facts) if fact.holder is None]
        for members in hall.by_place().values() if for_all else ():
            # What is for no holder is heard by a role at a site, or not.
            heard = tuple(n for n, fact in for_all if fact.heard_by(members[0].actor))
            others = [each for each in members if each not in named] if named else members
            if heard:
                groups.setdefault(heard, []).extend(others)
        for heard, receivers in groups.items():
            if receivers:
                self._emit(receivers, "live", [facts[n].wire() for n in heard])

    def welcome(self, connection: Connection, facts: Mapping[str, Any], now: datetime) -> None:
        """The clock, and the last fact of each type, to who has just come."""
        conference_id = connection.conference_id
        known = dict(facts)
        if conference_id in self._presence:
            known["presence"] = self._presence[conference_id]
        clock = Fact(conference_id, "clock", {"at": now.isoformat().replace("+00:00", "Z")})
        others = [Fact(conference_id, type_, data) for type_, data in known.items()]
        heard = [fact.wire() for fact in [clock, *others] if fact.heard_by(connection.actor)]
        self._emit([connection], "live", heard)
