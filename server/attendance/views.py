"""Snapshot part: the check-ins of one's own room, or one's own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.attendance.models import CheckIn
from server.permissions import Actor, Permission, Reach, reach


def part(session: Session, actor: Actor, now: datetime) -> dict[str, Any]:
    """``attendance``: person → {person, site, checked_in_at, evidence}."""
    query = select(CheckIn).where(
        CheckIn.conference_id == actor.conference_id, CheckIn.undone_at.is_(None)
    )
    how_far = reach(actor.role, Permission.SEE_ATTENDANCE)
    if how_far is Reach.NONE:
        return {"attendance": {}}
    if how_far is Reach.SITE:
        query = query.where(CheckIn.site_id == actor.site_id)
    elif how_far is Reach.SELF:
        query = query.where(CheckIn.person_id == actor.person_id)
    attendance = {
        str(row.person_id): {
            "person": row.person_id,
            "site": row.site_id,
            "checked_in_at": row.at,
            "evidence": row.evidence,
        }
        for row in session.scalars(query.order_by(CheckIn.at, CheckIn.id))
    }
    return {"attendance": msgspec.to_builtins(attendance)}
