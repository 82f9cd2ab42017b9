"""Which connections hear which events of a batch: one group for each distinct subset.

Reach by reach instead of ``may`` for every pair, since a burst of 250 answers meets 1,700 phones:
an audience of conference reach is one entry a role, of site reach one a site, of self reach one a
person. A test holds it equal to ``Published.heard_by``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from server.db.journal import Published
from server.live.connections import Connection
from server.permissions import Reach, Role, reach


def groups(
    events: Sequence[Published], connections: Iterable[Connection]
) -> list[tuple[list[Published], list[Connection]]]:
    """(what they hear, who hears exactly that), nobody who hears nothing.

    ``events`` are of the conference of all ``connections``, with consecutive ``seq``; a connection
    hears none up to its ``passed``.
    """
    if not events:
        return []
    masks = _masks(events)
    first = events[0].seq
    found: dict[int, list[Connection]] = {}
    for connection in connections:
        actor = connection.actor
        heard = masks.get((actor.role, Reach.CONFERENCE, 0), 0)
        if actor.site_id is not None:
            heard |= masks.get((actor.role, Reach.SITE, actor.site_id), 0)
        if actor.person_id is not None:
            heard |= masks.get((actor.role, Reach.SELF, actor.person_id), 0)
        known = max(0, connection.passed - first + 1)
        heard = heard >> known << known
        if heard:
            found.setdefault(heard, []).append(connection)
    return [
        ([event for place, event in enumerate(events) if heard >> place & 1], members)
        for heard, members in found.items()
    ]


def _masks(events: Sequence[Published]) -> dict[tuple[Role, Reach, int], int]:
    """(role, reach, id) → bit n set where event n is heard so; id is 0 for a conference."""
    masks: dict[tuple[Role, Reach, int], int] = {}
    for place, event in enumerate(events):
        ids = {Reach.CONFERENCE: 0, Reach.SITE: event.site_id, Reach.SELF: event.person_id}
        for role in Role:
            how_far = reach(role, event.audience)
            subject = ids.get(how_far)
            if subject is not None:
                key = (role, how_far, subject)
                masks[key] = masks.get(key, 0) | 1 << place
    return masks
