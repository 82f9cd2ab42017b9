"""Snapshot part: displays that wait to be let in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.db.once import Once
from server.people.models import Seat
from server.permissions import Actor, Permission, Role, Target, may


def part(once: Once, actor: Actor, now: datetime) -> dict[str, Any]:
    """``admissions``: seat → {seat, site, asked_at}."""
    waiting = [
        seat
        for seat in once(_waiting, actor.conference_id)
        if may(actor, Permission.ADMIT_DISPLAY, Target(seat.conference_id, seat.site_id))
    ]
    admissions = {
        seat.id: {"seat": seat.id, "site": seat.site_id, "asked_at": seat.created_at}
        for seat in waiting
    }
    return {"admissions": msgspec.to_builtins(admissions)}


def _waiting(session: Session, conference_id: int | None) -> Sequence[Seat]:
    query = select(Seat).where(
        Seat.conference_id == conference_id,
        Seat.role == Role.DISPLAY.value,
        Seat.admitted_at.is_(None),
        Seat.revoked_at.is_(None),
    )
    return session.scalars(query.order_by(Seat.created_at)).all()
