"""Fleeting facts (``protocol.LIVE``): who hears them, the last presence, what is to be sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from server.live.audience import Place
from server.live.connections import Connection, Connections
from server.live.presence import Presence
from server.permissions import Actor, Permission, Reach, reach

Emit = Callable[[Sequence[Connection], str, object], None]

_HEARD_BY = {
    "presence": Permission.RECEIVE,
    "publications": Permission.RECEIVE,
    "speaking": Permission.RECEIVE,
    "recording": Permission.RECEIVE,  # told each second: not to 1,703 phones, which do not show it
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
            self._send(
                self._connections.of_conference(conference_id),
                [fact for fact in facts if fact.conference_id == conference_id],
            )

    def _send(self, connections: Iterable[Connection], facts: list[Fact]) -> None:
        holders = {fact.holder for fact in facts if fact.holder is not None}
        at: dict[Place, tuple[int, ...]] = {}
        groups: dict[tuple[int, ...], list[Connection]] = {}
        for each in connections:
            named = each.actor.holder in holders
            heard = None if named else at.get(each.place)
            if heard is None:
                heard = tuple(n for n, fact in enumerate(facts) if fact.heard_by(each.actor))
                if not named:
                    at[each.place] = heard
            if heard:
                groups.setdefault(heard, []).append(each)
        for heard, members in groups.items():
            self._emit(members, "live", [facts[n].wire() for n in heard])

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
