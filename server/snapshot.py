"""What one actor may see now, gathered from the rooms, and where in the journal that is.

Most of it is the same for all of one role at one site: it is built for nobody in particular, and
what is a person's own is laid over it. Hence 1,703 phones that come at once share a few builds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from server.activities import views as activities
from server.attendance import views as attendance
from server.conferences import views as conferences
from server.db import journal
from server.db.once import Once
from server.people import views as people
from server.permissions import Actor
from server.questions import views as questions

Part = Callable[[Once, Actor, datetime], dict[str, Any]]
OwnPart = Callable[[Session, Sequence[Actor], datetime], Sequence[dict[str, Any]]]

PARTS: tuple[Part, ...] = (
    conferences.part,
    people.part,
    attendance.part,
    questions.part,
    activities.part,
)
"""By role, conference and site alone: they are given an actor who is nobody."""
OWN: tuple[OwnPart, ...] = (conferences.own, attendance.own, questions.own, activities.own)
"""What a person's or a seat's being who they are adds: whole keys, or entries of ``PARTS``' keys."""
SHARED_FOR = timedelta(seconds=1)
"""Names may change without an event (an account's): a shared part is soon forgotten."""


def build(session: Session, actor: Actor, now: datetime) -> dict[str, Any]:
    """The state that ``actor``'s page shows: in the shape that the events' effects build."""
    [state] = _with_own([_common(Once(session), actor, now)], session, [actor], now)
    return state


def build_with_seq(session: Session, actor: Actor, now: datetime) -> tuple[dict[str, Any], int]:
    """``build`` and the last ``seq`` that it holds; ``session`` must see one moment."""
    assert actor.conference_id is not None
    return build(session, actor, now), journal.head(session, actor.conference_id)


def _common(once: Once, actor: Actor, now: datetime) -> dict[str, Any]:
    anybody = Actor("", actor.role, actor.conference_id, actor.site_id)
    state: dict[str, Any] = {}
    for part in PARTS:
        state |= part(once, anybody, now)
    return state


def _with_own(
    commons: Sequence[dict[str, Any]], session: Session, actors: Sequence[Actor], now: datetime
) -> list[dict[str, Any]]:
    """New states of ``actors``, all of one conference; ``commons`` and their values stay as they are."""
    states = [dict(common) for common in commons]
    for own in OWN:
        for state, facts in zip(states, own(session, actors, now), strict=True):
            for key, value in facts.items():
                state[key] = {**state[key], **value} if key in state else value
    return states


class Shared:
    """Common parts that were built a moment ago, by what they depend on. For many threads."""

    def __init__(self) -> None:
        self._built: dict[tuple[object, ...], tuple[int, datetime, dict[str, Any]]] = {}

    def build(
        self, session: Session, actors: Sequence[Actor], seq: int, now: datetime
    ) -> list[dict[str, Any]]:
        """The states of ``actors``, all of one conference whose last event is ``seq``, by as many
        queries as for one; no value in them may be changed."""
        once = Once(session)
        commons = [self._common(once, actor, seq, now) for actor in actors]
        return _with_own(commons, session, actors, now)

    def _common(self, once: Once, actor: Actor, seq: int, now: datetime) -> dict[str, Any]:
        key = (actor.role, actor.conference_id, actor.site_id)
        known = self._built.get(key)
        if known is None or known[0] != seq or now - known[1] > SHARED_FOR:
            known = (seq, now, _common(once, actor, now))
            self._forget(now)
            self._built[key] = known
        return known[2]

    def _forget(self, now: datetime) -> None:
        for key, (_seq, built_at, _state) in list(self._built.items()):
            if now - built_at > SHARED_FOR:
                self._built.pop(key, None)
