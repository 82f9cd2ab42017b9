"""Who is connected now: one entry a socket, found by its id, its seat or its conference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from server.db.journal import Published
from server.i18n import Language
from server.live.audience import Audience, Place
from server.live.client import Socket
from server.permissions import Actor


@dataclass(slots=True, eq=False)
class Connection:
    """One socket of one seat."""

    sid: str
    socket: Socket
    actor: Actor
    language: Language
    passed: int = 0
    """the last seq that was sent to it or is not for it, when it had caught up; then its ``Audience``'s"""
    told: int = 0
    """the last seq that it was told of, not with all of its place (``Audience.told``)"""
    held: list[Published] | None = field(default_factory=list)
    """events that wait while it catches up; None once they are sent as they come"""
    chair: int = -1
    """where it sits in its ``Audience``; -1 while it catches up"""
    stale: bool = False
    """its snapshot must be made anew, although one is on its way"""
    in_flight: int = 0
    """commands sent and not yet acknowledged"""
    page: str | None = None
    """its page's name, the same after each reconnection; None where it never plays sound"""
    listens: bool = False
    """it can play the room's sound now"""
    asked: int = 0
    """which request, of all that somebody made, was for the sound to be here; 0 for none"""

    place: Place = field(init=False)
    """of ``actor``; plain values, since a fan-out looks at each"""
    person: int | None = field(init=False)
    """of ``actor``"""

    def __post_init__(self) -> None:
        self.move(self.actor)

    def move(self, actor: Actor) -> None:
        """It acts as ``actor`` from now on."""
        self.actor = actor
        self.place = (actor.role.value, actor.site_id)
        self.person = actor.person_id

    @property
    def conference_id(self) -> int:
        """A seat always is in a conference."""
        assert self.actor.conference_id is not None
        return self.actor.conference_id


@dataclass(slots=True, eq=False)
class Hall:
    """Those of one conference."""

    members: dict[str, Connection] = field(default_factory=dict)
    audience: Audience = field(default_factory=Audience)
    behind: set[Connection] = field(default_factory=set)
    """who catches up; the others are the audience"""
    stirred: bool = True
    """somebody came or went, is somewhere else, or hears with another page, since presence was counted"""
    _placed: dict[Place, list[Connection]] | None = None
    """``by_place`` as it was last asked for; None since somebody came, went or moved"""

    def stir(self) -> None:
        """Somebody came or went, is somewhere else, or hears with another page."""
        self.stirred = True
        self._placed = None

    def by_place(self) -> Mapping[Place, Sequence[Connection]]:
        """All of them, by where they are."""
        if self._placed is None:
            self._placed = {}
            for each in self.members.values():
                self._placed.setdefault(each.place, []).append(each)
        return self._placed


class Connections:
    """The register of all sockets of this process."""

    def __init__(self) -> None:
        self._by_sid: dict[str, Connection] = {}
        self._by_conference: dict[int, Hall] = {}
        self._by_seat: dict[str, list[Connection]] = {}
        """oldest first"""

    def __len__(self) -> int:
        return len(self._by_sid)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_sid.values()))

    def add(self, connection: Connection) -> None:
        """Subscribe it: from now on what is published in its conference is held for it."""
        self._by_sid[connection.sid] = connection
        self._by_seat.setdefault(connection.actor.holder, []).append(connection)
        hall = self._by_conference.get(connection.conference_id)
        if hall is None:
            hall = self._by_conference[connection.conference_id] = Hall()
        hall.members[connection.sid] = connection
        hall.behind.add(connection)
        hall.stir()

    def remove(self, sid: str) -> Connection | None:
        """Forget it; None where it is unknown."""
        connection = self._by_sid.pop(sid, None)
        if connection is not None:
            seat = self._by_seat[connection.actor.holder]
            seat.remove(connection)
            if not seat:
                del self._by_seat[connection.actor.holder]
            hall = self._by_conference[connection.conference_id]
            hall.audience.leave(connection)
            hall.behind.discard(connection)
            hall.stir()
            del hall.members[sid]
            if not hall.members:
                del self._by_conference[connection.conference_id]
        return connection

    def stir(self, connection: Connection) -> None:
        """It is somewhere else, or hears with another page."""
        if connection.sid in self._by_sid:
            self._by_conference[connection.conference_id].stir()

    def caught_up(self, connection: Connection) -> None:
        """From now on it hears what is published at once; nothing where it has gone meanwhile."""
        if connection.sid in self._by_sid:
            connection.held = None
            hall = self._by_conference[connection.conference_id]
            hall.behind.discard(connection)
            hall.audience.enter(connection)

    def fell_behind(self, connection: Connection) -> None:
        """It has to catch up: what is published is held for it."""
        connection.held = []
        if connection.sid in self._by_sid:
            hall = self._by_conference[connection.conference_id]
            hall.audience.leave(connection)
            hall.behind.add(connection)

    def get(self, sid: str) -> Connection | None:
        """The connection of a socket."""
        return self._by_sid.get(sid)

    def of_conference(self, conference_id: int) -> list[Connection]:
        """All of a conference."""
        hall = self._by_conference.get(conference_id)
        return list(hall.members.values()) if hall is not None else []

    def hall(self, conference_id: int) -> Hall | None:
        """All of a conference, as what is published finds them; None where nobody is there."""
        return self._by_conference.get(conference_id)

    def of_seats(self, seats: Iterable[str]) -> list[Connection]:
        """All of some seats, the oldest of each first."""
        return [each for seat in set(seats) for each in self._by_seat.get(seat, ())]

    def conferences(self) -> list[int]:
        """Those with anybody connected."""
        return list(self._by_conference)
