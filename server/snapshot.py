"""What one actor may see now, gathered from the rooms, and where in the journal that is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from server.activities import views as activities
from server.attendance import views as attendance
from server.conferences import views as conferences
from server.db import journal
from server.people import views as people
from server.permissions import Actor
from server.questions import views as questions

Part = Callable[[Session, Actor, datetime], dict[str, Any]]

PARTS: tuple[Part, ...] = (
    conferences.part,
    people.part,
    attendance.part,
    questions.part,
    activities.part,
)


def build(session: Session, actor: Actor, now: datetime) -> dict[str, Any]:
    """The state that ``actor``'s page shows: in the shape that the events' effects build."""
    state: dict[str, Any] = {}
    for part in PARTS:
        state |= part(session, actor, now)
    return state


def build_with_seq(session: Session, actor: Actor, now: datetime) -> tuple[dict[str, Any], int]:
    """``build`` and the last ``seq`` that it holds; ``session`` must see one moment."""
    assert actor.conference_id is not None
    return build(session, actor, now), journal.head(session, actor.conference_id)
