"""What has become of connected seats: revoked, or moved to another place."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.db.lists import among
from server.people.models import Seat
from server.permissions import Actor, Role

Place = tuple[str, int | None, int | None]
"""(role, site, person): what decides the rights of a seat"""


def place(actor: Actor) -> Place:
    """Where ``actor`` is now."""
    return (actor.role.value, actor.site_id, actor.person_id)


def moved(actor: Actor, place: Place) -> Actor:
    """``actor`` at another place."""
    role, site_id, person_id = place
    return replace(actor, role=Role(role), site_id=site_id, person_id=person_id)


def standing(session: Session, seats: set[str]) -> dict[str, Place]:
    """Which of ``seats`` are in force, and as what."""
    query = select(Seat.id, Seat.role, Seat.site_id, Seat.person_id).where(
        among(Seat.id, "seats", str), Seat.revoked_at.is_(None), Seat.admitted_at.is_not(None)
    )
    rows = session.execute(query, {"seats": list(seats)})
    return {row.id: (row.role, row.site_id, row.person_id) for row in rows}
