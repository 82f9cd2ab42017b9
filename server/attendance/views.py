"""Snapshot part: the check-ins that one's role may see, or one's own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from server.attendance.models import CheckIn
from server.db.lists import among
from server.db.once import Once
from server.permissions import Actor, Permission, Reach, Role, reach


def part(once: Once, actor: Actor, now: datetime) -> dict[str, Any]:
    """``attendance``: person → {person, site, checked_in_at, evidence}."""
    how_far = reach(actor.role, Permission.SEE_ATTENDANCE)
    if how_far in (Reach.NONE, Reach.SELF):
        return {"attendance": {}}
    if how_far is Reach.SITE:
        return {"attendance": once(_of_site, actor.conference_id, actor.site_id)}
    return {"attendance": once(_of_all, actor.conference_id)}


def own(session: Session, actors: Sequence[Actor], now: datetime) -> list[dict[str, Any]]:
    """``attendance`` of each who sees their own alone; ``actors`` are of one conference."""
    sees = {role: reach(role, Permission.SEE_ATTENDANCE) is Reach.SELF for role in Role}
    persons = [a.person_id for a in actors if sees[a.role] and a.person_id is not None]
    query = _standing(actors[0].conference_id).where(among(CheckIn.person_id, "persons"))
    found = _built(session, query.params(persons=persons)) if persons else {}
    seen = {person: {person: entry} for person, entry in found.items()}
    return [{"attendance": seen.get(str(a.person_id), {})} if sees[a.role] else {} for a in actors]


def _of_all(session: Session, conference_id: int | None) -> dict[str, Any]:
    return _built(session, _standing(conference_id))


def _of_site(session: Session, conference_id: int | None, site_id: int | None) -> dict[str, Any]:
    return _built(session, _standing(conference_id).where(CheckIn.site_id == site_id))


def _standing(conference_id: int | None) -> Select[CheckIn]:
    return select(CheckIn).where(
        CheckIn.conference_id == conference_id, CheckIn.undone_at.is_(None)
    )


def _built(session: Session, query: Select[CheckIn]) -> dict[str, Any]:
    attendance = {
        str(row.person_id): {
            "person": row.person_id,
            "site": row.site_id,
            "checked_in_at": row.at,
            "evidence": row.evidence,
        }
        for row in session.scalars(query.order_by(CheckIn.at, CheckIn.id))
    }
    built: dict[str, Any] = msgspec.to_builtins(attendance)
    return built
