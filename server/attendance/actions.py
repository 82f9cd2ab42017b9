"""Check-ins, ticks, and the counts that everyone hears."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import and_, bindparam, func, select
from sqlalchemy.orm import Session

from server.attendance.models import CheckIn as CheckInRow
from server.attendance.rules import changed_counts
from server.conferences.loading import conference_of
from server.conferences.models import RosterEntry
from server.conferences.roster import counted
from server.conferences.rules import ATTENDED, OPEN
from server.conferences.sites import sites_of
from server.db import bulk
from server.db.journal import Emit
from server.db.lists import among
from server.db.outcome import Actions, Effects, Hot, Outcome
from server.errors import N_, Conflict, DomainError, NotFound
from server.people.models import Seat
from server.permissions import Actor, Target
from server.protocol import (
    CheckedIn,
    CheckIn,
    CheckInUndone,
    CountAttendance,
    Evidence,
    RosterEntryRemoved,
    Tick,
    Untick,
)

_NOT_EXPECTED = N_("Người này không có trong danh sách của hội nghị.")


def _in_force(session: Session, conference_id: int, person_id: int) -> CheckInRow | None:
    query = select(CheckInRow).where(
        CheckInRow.conference_id == conference_id,
        CheckInRow.person_id == person_id,
        CheckInRow.undone_at.is_(None),
    )
    return session.scalar(query)


_EXPECTED = (
    select(RosterEntry.person_id, RosterEntry.site_id, CheckInRow.at)
    .outerjoin(
        CheckInRow,
        and_(
            CheckInRow.conference_id == RosterEntry.conference_id,
            CheckInRow.person_id == RosterEntry.person_id,
            CheckInRow.undone_at.is_(None),
        ),
    )
    .where(
        RosterEntry.conference_id == bindparam("conference"),
        among(RosterEntry.person_id, "persons"),
    )
)
_SCANNED = select(Seat.id).where(among(Seat.id, "holders", str), Seat.link_id.is_not(None))

Expected = dict[int, tuple[int, datetime | None]]
"""person → (site, when checked in; None where not)"""


def _expected(session: Session, conference_id: int, persons: Collection[int]) -> Expected:
    """Those ``persons`` who are on the roster."""
    rows = bulk.read(session, _EXPECTED, conference=conference_id, persons=list(persons))
    return {person: (site, at) for person, site, at in rows}


def _result(at: datetime) -> dict[str, str]:
    return {"checked_in_at": at.isoformat().replace("+00:00", "Z")}


def _check_in(
    session: Session,
    conference_id: int,
    acts: Sequence[tuple[int | None, Evidence, str]],
    now: datetime,
) -> list[Outcome | DomainError]:
    """``acts`` are (person, evidence, holder). Idempotent: who is checked in already gets the first
    time again, and nothing is told."""
    expected = _expected(session, conference_id, {person for person, _, _ in acts if person})
    outcomes: list[Outcome | DomainError] = []
    rows: list[dict[str, object]] = []
    for person, evidence, holder in acts:
        if person is None or person not in expected:
            outcomes.append(NotFound(_NOT_EXPECTED))
            continue
        site, before = expected[person]
        if before is not None:
            outcomes.append(Outcome(_result(before)))
            continue
        expected[person] = (site, now)
        who = {"conference_id": conference_id, "site_id": site, "person_id": person}
        rows.append({**who, "at": now, "evidence": evidence, "holder": holder})
        event = CheckedIn(person=person, site=site, checked_in_at=now, evidence=evidence)
        outcomes.append(Outcome(_result(now), [Emit(event, site_id=site, person_id=person)]))
    bulk.add(session, CheckInRow, rows)
    return outcomes


def check_in(
    session: Session, commands: Sequence[tuple[Actor, CheckIn]], now: datetime
) -> list[Outcome | DomainError]:
    """Result ``{"checked_in_at"}``. A seat that came of a personal link proves a scanned QR code;
    any other was opened by typing the person's code."""
    actors = [actor for actor, _ in commands]
    conference = conference_of(session, actors[0], OPEN)
    scanned = set(session.scalars(_SCANNED, {"holders": [actor.holder for actor in actors]}))
    acts = [(actor.person_id, _evidence(actor.holder in scanned), actor.holder) for actor in actors]
    return _check_in(session, conference.id, acts, now)


def _evidence(scanned: bool) -> Evidence:
    return "qr" if scanned else "code"


def target_of_person(session: Session, actor: Actor, command: Tick | Untick) -> Target:
    """A person at the site where this conference expects them. Raises: NotFound."""
    entry = None
    if actor.conference_id is not None:
        entry = session.get(RosterEntry, (actor.conference_id, command.person))
    if entry is None:
        raise NotFound(_NOT_EXPECTED)
    return Target(actor.conference_id, entry.site_id, command.person)


def tick(session: Session, actor: Actor, command: Tick, now: datetime) -> Outcome:
    """Result ``{"checked_in_at"}``."""
    conference = conference_of(session, actor, ATTENDED)
    [outcome] = _check_in(session, conference.id, [(command.person, "operator", actor.holder)], now)
    if isinstance(outcome, DomainError):
        raise outcome
    return outcome


def _undo(row: CheckInRow, by: str, now: datetime) -> Emit:
    row.undone_at = now
    row.undone_by = by
    event = CheckInUndone(person=row.person_id, site=row.site_id)
    return Emit(event, site_id=row.site_id, person_id=row.person_id)


def untick(session: Session, actor: Actor, command: Untick, now: datetime) -> Outcome:
    conference = conference_of(session, actor, ATTENDED)
    row = _in_force(session, conference.id, command.person)
    if row is None:
        raise Conflict(N_("Người này chưa được điểm danh."))
    return Outcome(emits=[_undo(row, actor.holder, now)])


def count_attendance(
    session: Session, actor: Actor, command: CountAttendance, now: datetime
) -> Outcome:
    """Tells of the sites whose count has changed since it was last told."""
    conference = conference_of(session, actor)
    query = (
        select(CheckInRow.site_id, func.count())
        .where(CheckInRow.conference_id == conference.id, CheckInRow.undone_at.is_(None))
        .group_by(CheckInRow.site_id)
    )
    present = {site_id: count for site_id, count in session.execute(query)}
    sites = {site.id: site for site in sites_of(session, conference.id)}
    changed = changed_counts({site.id: site.present for site in sites.values()}, present)
    emits: list[Emit] = []
    for site_id, count in changed.items():
        sites[site_id].present = count
        emits.append(counted(sites[site_id]))
    return Outcome(emits=emits)


def forget_removed(
    session: Session, actor: Actor, event: RosterEntryRemoved, now: datetime
) -> list[Emit]:
    """Who is taken off the roster is no longer present; the row stays, marked."""
    assert actor.conference_id is not None
    row = _in_force(session, actor.conference_id, event.person)
    return [] if row is None else [_undo(row, actor.holder, now)]


ACTIONS: Actions = {
    CheckIn: Hot(check_in),
    Tick: (target_of_person, tick),
    Untick: (target_of_person, untick),
    CountAttendance: (None, count_attendance),
}

EFFECTS: Effects = {RosterEntryRemoved: forget_removed}
