"""What connections need to be up to date: the events that they missed, or a snapshot. Many by one read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from server.db import journal
from server.db.journal import Published
from server.inbox import utc_now
from server.permissions import Actor
from server.protocol import EVENTS, Reload
from server.snapshot import Shared

MOST_MISSED = 500
"""Events that are sent one by one to who comes back; beyond it a snapshot is shorter."""

Asked = tuple[Actor, int | None]
"""who, and the last ``seq`` that they know of; None for a snapshot"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state and the last event that is in it."""

    state: dict[str, Any]
    seq: int


Found = Snapshot | Sequence[Published]
"""Events are all that came since, whoever hears them."""


class Missed:
    """Reads for many at once. For many threads."""

    def __init__(self) -> None:
        self._shared = Shared()

    def read(self, session: Session, asked: Sequence[Asked]) -> list[Found]:
        """One thing for each of ``asked``; ``session`` must see one moment."""
        found: list[Found | None] = [None] * len(asked)
        for conference_id in {actor.conference_id for actor, _ in asked}:
            assert conference_id is not None
            places = [n for n, (a, _) in enumerate(asked) if a.conference_id == conference_id]
            of_it = self._of_conference(session, conference_id, [asked[n] for n in places])
            for place, each in zip(places, of_it, strict=True):
                found[place] = each
        return [each for each in found if each is not None]

    def _of_conference(
        self, session: Session, conference_id: int, asked: Sequence[Asked]
    ) -> list[Found]:
        head = journal.head(session, conference_id)
        known = [s for _, s in asked if s is not None and head - MOST_MISSED <= s <= head]
        since = min(known, default=head)
        events = journal.read(session, conference_id, since, MOST_MISSED) if since < head else []
        found: dict[int, Found] = {}
        for number, (actor, seq) in enumerate(asked):
            if seq is not None and since <= seq <= head:
                behind = events[seq - since :]  # there is no gap
                if not any(_reloads(event, actor) for event in behind):
                    found[number] = behind
        fresh = [number for number in range(len(asked)) if number not in found]
        if fresh:
            actors = [asked[number][0] for number in fresh]
            states = self._shared.build(session, actors, head, utc_now())
            for number, state in zip(fresh, states, strict=True):
                found[number] = Snapshot(state, head)
        return [found[number] for number in range(len(asked))]


def _reloads(event: Published, actor: Actor) -> bool:
    """One at ``actor``'s own site counts though they may not hear it: it may have brought them there,
    and no other event says so."""
    if not isinstance(EVENTS[event.type].effect, Reload):
        return False
    at_its_site = event.site_id is not None and event.site_id == actor.site_id
    return at_its_site or event.heard_by(actor)
