"""Those of one conference who hear at once what is published, kept from event to event.

Each has a *chair*: its socket's descriptor, its line's number, and a number for its place (role and
site). So one call (``spread.c``) tells all of some places without a look at the Python objects of
1,703 phones, which lie apart in memory and would cost a quarter of what their sends do. Who cannot be
sent to in this way goes the ordinary one: it polls, its line is encrypted, something waits before, or
its socket is full.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from server.live.client import Message, Socket
from server.live.spread import spread_among

if TYPE_CHECKING:
    from server.live.connections import Connection

Place = tuple[str, int | None]
"""(role, site): what decides what is heard, but for what is one's own"""
_EMPTY = 0
"""a place's number, of a chair in which nobody sits"""


class Audience:
    """Of one conference; who catches up is in none."""

    def __init__(self) -> None:
        self.passed = 0
        """the last seq that was published here: all of them were told, or it is not for them"""
        self.told: dict[Place, int] = {}
        """the last seq that all of a place know of; some may know of more (``Connection.told``)"""
        self._sitting: list[Connection | None] = []
        self._persons: list[int | None] = []
        self._free: list[int] = []
        self._by_person: dict[int, list[Connection]] = {}
        self._early: set[Connection] = set()
        """who may have read more than was published when they came"""
        self._places: dict[Place, int] = {}
        """their numbers, from 1 on"""
        self._descriptors = array("i")
        self._numbers = array("Q")
        self._at = array("I")

    def __iter__(self) -> Iterator[Connection]:
        return (each for each in self._sitting if each is not None)

    def enter(self, connection: Connection) -> None:
        """It has all up to its ``passed``, and hears the rest from now on."""
        if not self._free:
            self._free.append(len(self._sitting))
            self._sitting.append(None)
            self._persons.append(None)
            self._descriptors.append(-1)
            self._numbers.append(0)
            self._at.append(_EMPTY)
        chair = connection.chair = self._free.pop()
        self._sitting[chair] = connection
        self._at[chair] = self._places.setdefault(connection.place, len(self._places) + 1)
        person = self._persons[chair] = connection.person
        if person is not None:
            self._by_person.setdefault(person, []).append(connection)
        if connection.passed > self.passed:
            self._early.add(connection)

    def leave(self, connection: Connection) -> None:
        """It goes, or catches up; nothing where it is not here. It may have moved meanwhile."""
        chair = connection.chair
        if chair < 0:
            return
        connection.chair = -1
        person, self._persons[chair] = self._persons[chair], None
        if person is not None:
            others = self._by_person[person]
            others.remove(connection)
            if not others:
                del self._by_person[person]
        self._early.discard(connection)
        self._sitting[chair] = None
        self._descriptors[chair], self._numbers[chair], self._at[chair] = -1, 0, _EMPTY
        self._free.append(chair)

    @property
    def places(self) -> Collection[Place]:
        """Where some are, or were once."""
        return self._places.keys()

    def of_person(self, person: int) -> Sequence[Connection]:
        """Theirs."""
        return self._by_person.get(person, ())

    def apart(self, persons: Iterable[int], first: int) -> set[Connection]:
        """Who hears something else than their place does of what begins with ``first``: what is for
        ``persons`` alone, or not what it knows already."""
        self._early = {each for each in self._early if each.passed >= first}
        own = (each for person in persons for each in self._by_person.get(person, ()))
        return {*own, *self._early}

    def at(self, places: Collection[Place], but: Collection[Connection]) -> list[Connection]:
        """All at these places, without some."""
        return [each for each in self if each.place in places and each not in but]

    def behind(self) -> dict[int, list[Connection]]:
        """By the last seq that they could know of, those who know of less."""
        found: dict[int, list[Connection]] = {}
        for each in self:
            passed = max(each.passed, self.passed)
            if max(each.told, self.told.get(each.place, 0)) < passed:
                found.setdefault(passed, []).append(each)
        return found

    def tell(
        self, places: Iterable[Place], but: Collection[Connection], message: Message, seq: int
    ) -> None:
        """Send to all at these places, without some, what takes them up to ``seq``."""
        hears = bytearray(len(self._places) + 1)
        for place in places:
            hears[self._places[place]] = True
            self.told[place] = seq
        without = {each.chair: self._at[each.chair] for each in but}
        for chair in without:
            self._at[chair] = _EMPTY
        left = spread_among(self._descriptors, self._numbers, self._at, hears, message.frame)
        for chair, place_number in without.items():
            self._at[chair] = place_number
        for chair, taken in left:
            connection = self._sitting[chair]
            assert connection is not None
            self._go_on(chair, connection.socket, message, taken)

    def _go_on(self, chair: int, socket: Socket, message: Message, taken: int) -> None:
        """Send what could not be sent at once, and see whether next time it can."""
        line = socket.line
        if line is not None:
            line.write(message.frame[taken:])
            self._descriptors[chair], self._numbers[chair] = line.descriptor, line.number
        else:
            socket.deliver(message)
