"""Which connections hear which events of a batch: one group for each distinct subset.

Reach by reach instead of ``may`` for every pair, since a burst of 250 answers meets 1,700 phones:
what is heard by conference or site is the same for a role at a site, what is heard by oneself is
looked up by person. A test holds it equal to ``Published.heard_by``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache

from server.db.journal import Published
from server.live.audience import Place
from server.live.connections import Connection
from server.permissions import Permission, Reach, Role, reach


def groups(
    masks: Masks, connections: Iterable[Connection]
) -> list[tuple[list[Published], list[Connection]]]:
    """(what they hear, who hears exactly that), nobody who hears nothing.

    The events are of the conference of all ``connections``, with consecutive ``seq``; a connection
    hears none up to its ``passed``.
    """
    shared: dict[Place, int] = {}
    found: dict[int, list[Connection]] = {}
    for connection in connections:
        place = connection.place
        heard = shared.get(place)
        if heard is None:
            heard = shared[place] = masks.of_place(place)
        own = masks.persons.get(connection.person) if connection.person is not None else None
        if own is not None:
            heard |= own.get(connection.actor.role, 0)
        if connection.passed >= masks.first:
            known = connection.passed - masks.first + 1
            heard = heard >> known << known
        if heard:
            found.setdefault(heard, []).append(connection)
    return [(masks.chosen(heard), members) for heard, members in found.items()]


def by_place(masks: Masks, places: Iterable[Place]) -> list[tuple[list[Published], list[Place]]]:
    """(what is heard there, where exactly that is), no place where nothing is; without what is one's own."""
    found: dict[int, list[Place]] = {}
    if masks.places:
        for place in places:
            if heard := masks.of_place(place):
                found.setdefault(heard, []).append(place)
    return [(masks.chosen(heard), at) for heard, at in found.items()]


def own(events: Sequence[Published]) -> Collection[Role]:
    """The roles that hear of themselves what ``events`` tell, where all are of one kind that nobody else
    hears; else none."""
    kind, audience = events[0].type, events[0].audience
    for event in events:
        if event.type != kind or event.audience != audience:
            return ()
    reaches = _reaches(audience)
    alone = all(how_far is Reach.SELF for _, how_far in reaches)
    return {role for role, _ in reaches} if alone else ()


class Masks:
    """Who hears which of ``events``, which are some: bit n is set where event n is heard."""

    def __init__(self, events: Sequence[Published]) -> None:
        self.first = events[0].seq
        self.places: dict[tuple[Role, Reach, int], int] = {}
        """by (role, reach, id); id is 0 for a conference"""
        self.persons: dict[int, dict[Role, int]] = {}
        """what is theirs alone"""
        self._events = events
        for number, event in enumerate(events):
            bit = 1 << number
            for role, how_far in _reaches(event.audience):
                if how_far is Reach.SELF:
                    if event.person_id is not None:
                        own = self.persons.setdefault(event.person_id, {})
                        own[role] = own.get(role, 0) | bit
                    continue
                id_ = 0 if how_far is Reach.CONFERENCE else event.site_id
                if id_ is not None:
                    key = (role, how_far, id_)
                    self.places[key] = self.places.get(key, 0) | bit

    def of_place(self, place: Place) -> int:
        """What everybody of a role and site hears."""
        role, site_id = Role(place[0]), place[1]
        heard = self.places.get((role, Reach.CONFERENCE, 0), 0)
        if site_id is not None:
            heard |= self.places.get((role, Reach.SITE, site_id), 0)
        return heard

    def chosen(self, heard: int) -> list[Published]:
        """The events whose bits are set, lowest first; in a burst each hears one of hundreds."""
        chosen = []
        while heard:
            lowest = heard & -heard
            chosen.append(self._events[lowest.bit_length() - 1])
            heard ^= lowest
        return chosen


@cache
def _reaches(audience: Permission) -> Sequence[tuple[Role, Reach]]:
    """How far each role of a conference hears what ``audience`` may."""
    inside = (Reach.SELF, Reach.SITE, Reach.CONFERENCE)
    return [(role, reach(role, audience)) for role in Role if reach(role, audience) in inside]
