"""Which connections hear which events of a batch: one group for each distinct subset.

Reach by reach instead of ``may`` for every pair, since a burst of 250 answers meets 1,700 phones:
what is heard by conference or site is the same for a role at a site, what is heard by oneself is
looked up by person. A test holds it equal to ``Published.heard_by``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from server.db.journal import Published
from server.live.connections import Connection, Place
from server.permissions import Permission, Reach, Role, reach


def groups(
    events: Sequence[Published], connections: Iterable[Connection]
) -> list[tuple[list[Published], list[Connection]]]:
    """(what they hear, who hears exactly that), nobody who hears nothing.

    ``events`` are of the conference of all ``connections``, with consecutive ``seq``; a connection
    hears none up to its ``passed``.
    """
    if not events:
        return []
    masks = _Masks(events)
    persons = masks.persons
    if not masks.places:  # all is somebody's own, as in a burst of answers: look at them alone
        connections = [each for each in connections if each.person in persons]
    first = events[0].seq
    shared: dict[Place, int] = {}
    found: dict[int, list[Connection]] = {}
    for connection in connections:
        place = connection.place
        heard = shared.get(place)
        if heard is None:
            heard = shared[place] = masks.of_place(place)
        if persons and connection.person in persons:
            heard |= persons[connection.person].get(connection.actor.role, 0)
        if connection.passed >= first:
            known = connection.passed - first + 1
            heard = heard >> known << known
        if heard:
            found.setdefault(heard, []).append(connection)
    return [(_chosen(events, heard), members) for heard, members in found.items()]


def _chosen(events: Sequence[Published], heard: int) -> list[Published]:
    """The events whose bits are set, lowest first; in a burst each hears one of hundreds."""
    chosen = []
    while heard:
        lowest = heard & -heard
        chosen.append(events[lowest.bit_length() - 1])
        heard ^= lowest
    return chosen


class _Masks:
    """(role, reach, id) → bit n set where event n is heard so; id is 0 for a conference."""

    def __init__(self, events: Sequence[Published]) -> None:
        self.places: dict[tuple[Role, Reach, int], int] = {}
        self.persons: dict[int | None, dict[Role, int]] = {}
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


@cache
def _reaches(audience: Permission) -> Sequence[tuple[Role, Reach]]:
    """How far each role of a conference hears what ``audience`` may."""
    inside = (Reach.SELF, Reach.SITE, Reach.CONFERENCE)
    return [(role, reach(role, audience)) for role in Role if reach(role, audience) in inside]
