"""Snapshot part: the conference, its sites, agenda, raised hands, people, and who ``me`` is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences.agenda import items_of
from server.conferences.facts import (
    agenda_item_set,
    conference_created,
    floor_requested,
    site_added,
)
from server.conferences.floor import waiting
from server.conferences.models import Appointment, Conference, Site
from server.conferences.roster import listed
from server.conferences.sites import sites_of
from server.db.lists import among
from server.db.once import Once
from server.people.models import Account, Person, Unit
from server.permissions import Actor, Permission, Target, may


def part(once: Once, actor: Actor, now: datetime) -> dict[str, Any]:
    """``conference``, ``sites``, ``agenda``, ``requests``, ``appointments``, ``roster``."""
    assert actor.conference_id is not None
    conference = once(_conference, actor.conference_id)
    everyone = Target(conference.id)
    state: dict[str, Any] = {
        "conference": {},
        "sites": {},
        "agenda": {},
        "requests": {},
        "appointments": {},
        "roster": {},
    }
    if may(actor, Permission.SEE_CONFERENCE, everyone):
        state["conference"] = conference_created(conference)
        counted = may(actor, Permission.SEE_PROGRESS, everyone)
        sites = once(sites_of, conference.id)
        state["sites"] = {
            str(site.id): site_added(site, counted, _sees_lines(actor, site)) for site in sites
        }
        state["agenda"] = {
            str(item.id): agenda_item_set(item) for item in once(items_of, conference.id)
        }
        state["requests"] = {
            str(request.id): floor_requested(request) for request in once(waiting, conference.id)
        }
    if may(actor, Permission.SEE_PEOPLE, everyone):
        state["appointments"] = once(_appointments, conference.id)
    if may(actor, Permission.SEE_ROSTER, Target(conference.id, actor.site_id)):
        rows = once(listed, conference.id, actor.site_id)
        state["roster"] = {str(row.person): asdict(row) for row in rows}
    built: dict[str, Any] = msgspec.to_builtins(state)
    return built


def _conference(session: Session, conference_id: int) -> Conference:
    return session.get_one(Conference, conference_id)


def _sees_lines(actor: Actor, site: Site) -> bool:
    return may(actor, Permission.SEE_LINES, Target(site.conference_id, site.id))


def own(session: Session, actors: Sequence[Actor], now: datetime) -> list[dict[str, Any]]:
    """``me`` of each; ``actors`` are of one conference."""
    units = _units(session, [a.person_id for a in actors if a.person_id is not None])
    appointed = _appointed(session, actors)
    return [
        {"me": _me(a, units.get(a.person_id), appointed.get((a.account_id, a.role.value)))}
        for a in actors
    ]


def _units(session: Session, persons: Sequence[int]) -> dict[int | None, str]:
    """person → where they work"""
    if not persons:
        return {}
    query = select(Person.id, Unit.name).join(Unit, Unit.id == Person.unit_id)
    rows = session.execute(query.where(among(Person.id, "persons")), {"persons": list(persons)})
    return {row.id: row.name for row in rows}


def _appointments(session: Session, conference_id: int) -> dict[str, Any]:
    query = (
        select(Appointment.id, Account.name, Appointment.role)
        .join(Account, Account.id == Appointment.account_id)
        .where(Appointment.conference_id == conference_id, Appointment.dismissed_at.is_(None))
        .order_by(Appointment.id)
    )
    return {
        str(row.id): {"id": row.id, "name": row.name, "role": row.role}
        for row in session.execute(query)
    }


def _appointed(session: Session, actors: Sequence[Actor]) -> dict[tuple[int | None, str], int]:
    """(account, role) → the appointment that it is by"""
    accounts = [actor.account_id for actor in actors if actor.account_id is not None]
    if not accounts:
        return {}
    query = select(Appointment.account_id, Appointment.role, Appointment.id).where(
        Appointment.conference_id == actors[0].conference_id,
        Appointment.dismissed_at.is_(None),
        among(Appointment.account_id, "accounts"),
    )
    rows = session.execute(query, {"accounts": accounts})
    return {(row.account_id, row.role): row.id for row in rows}


def _me(actor: Actor, unit: str | None, appointment: int | None) -> dict[str, Any]:
    """{seat, role, site, person, name, unit, appointment}; no event changes it."""
    return {
        "seat": actor.holder,
        "role": actor.role.value,
        "site": actor.site_id,
        "person": actor.person_id,
        "name": actor.name,
        "unit": unit or "",
        "appointment": appointment,
    }
