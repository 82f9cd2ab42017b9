"""Check-ins, ticks, and the counts that everyone hears."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Row, and_, func, insert, select
from sqlalchemy.orm import Session

from server.attendance.models import CheckIn as CheckInRow
from server.attendance.rules import changed_counts
from server.conferences.loading import conference_of
from server.conferences.models import RosterEntry
from server.conferences.roster import counted
from server.conferences.rules import ATTENDED, OPEN
from server.conferences.sites import sites_of
from server.db.journal import Emit
from server.db.outcome import Actions, Effects, Outcome
from server.errors import N_, Conflict, NotFound
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


def _expected(session: Session, conference_id: int, person_id: int) -> Row[int, datetime]:
    """(site, when checked in; None where not) of somebody on the roster. Raises: NotFound."""
    query = (
        select(RosterEntry.site_id, CheckInRow.at)
        .outerjoin(
            CheckInRow,
            and_(
                CheckInRow.conference_id == RosterEntry.conference_id,
                CheckInRow.person_id == RosterEntry.person_id,
                CheckInRow.undone_at.is_(None),
            ),
        )
        .where(RosterEntry.conference_id == conference_id, RosterEntry.person_id == person_id)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        raise NotFound(_NOT_EXPECTED)
    return row


def _result(at: datetime) -> dict[str, str]:
    return {"checked_in_at": at.isoformat().replace("+00:00", "Z")}


def _check_in(
    session: Session, actor: Actor, person_id: int, evidence: Evidence, now: datetime
) -> Outcome:
    """Idempotent: who is checked in already gets the first time again, and nothing is told."""
    assert actor.conference_id is not None
    site_id, before = _expected(session, actor.conference_id, person_id)
    if before is not None:
        return Outcome(_result(before))
    session.execute(
        insert(CheckInRow).values(
            conference_id=actor.conference_id,
            site_id=site_id,
            person_id=person_id,
            at=now,
            evidence=evidence,
            holder=actor.holder,
        )
    )
    event = CheckedIn(person=person_id, site=site_id, checked_in_at=now, evidence=evidence)
    return Outcome(_result(now), [Emit(event, site_id=site_id, person_id=person_id)])


def check_in(session: Session, actor: Actor, command: CheckIn, now: datetime) -> Outcome:
    """Result ``{"checked_in_at"}``. A seat that came of a personal link proves a scanned QR code;
    any other was opened by typing the person's code."""
    conference_of(session, actor, OPEN)
    if actor.person_id is None:
        raise NotFound(_NOT_EXPECTED)
    link = session.scalar(select(Seat.link_id).where(Seat.id == actor.holder))
    return _check_in(session, actor, actor.person_id, "code" if link is None else "qr", now)


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
    conference_of(session, actor, ATTENDED)
    return _check_in(session, actor, command.person, "operator", now)


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
    CheckIn: (None, check_in),
    Tick: (target_of_person, tick),
    Untick: (target_of_person, untick),
    CountAttendance: (None, count_attendance),
}

EFFECTS: Effects = {RosterEntryRemoved: forget_removed}
