"""Seats and links taken back, displays let in."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from server.db.journal import Emit
from server.db.outcome import Actions, Outcome
from server.errors import N_, Conflict, NotFound
from server.people.models import Link, Seat
from server.people.seats import revoke
from server.permissions import Actor, Role, Target
from server.protocol import AdmitDisplay, DisplayAdmitted, RevokeLink, RevokeSeat


def _seat(session: Session, actor: Actor, seat_id: str) -> Seat:
    seat = session.get(Seat, seat_id)
    if seat is None or seat.conference_id != actor.conference_id:
        raise NotFound(N_("Không tìm thấy phiên này."))
    return seat


def is_waiting(seat: Seat) -> bool:
    """True for a display that came by PIN and is not yet let in or turned away."""
    return seat.role == Role.DISPLAY and seat.admitted_at is None and seat.revoked_at is None


def _told(seat: Seat, admitted: bool) -> Emit:
    assert seat.site_id is not None
    event = DisplayAdmitted(seat=seat.id, site=seat.site_id, admitted=admitted)
    return Emit(event, site_id=seat.site_id)


def revoke_link(session: Session, actor: Actor, command: RevokeLink, now: datetime) -> Outcome:
    """Result ``{"revoked": [seat id]}``: connections to cut."""
    link = session.get(Link, command.link)
    if link is None or link.conference_id != actor.conference_id:
        raise NotFound(N_("Không tìm thấy đường dẫn này."))
    link.revoked_at = link.revoked_at or now
    return Outcome({"revoked": revoke(session, now, link_id=link.id)})


def revoke_seat(session: Session, actor: Actor, command: RevokeSeat, now: datetime) -> Outcome:
    """Result ``{"revoked": [seat id]}``: connections to cut. A revoked phone frees its person."""
    seat = _seat(session, actor, command.seat)
    emits = [_told(seat, False)] if is_waiting(seat) else []
    return Outcome({"revoked": revoke(session, now, id=seat.id)}, emits)


def target_of_display(session: Session, actor: Actor, command: AdmitDisplay) -> Target:
    """The site whose screen it wants to be."""
    seat = _seat(session, actor, command.seat)
    return Target(seat.conference_id, seat.site_id)


def admit_display(session: Session, actor: Actor, command: AdmitDisplay, now: datetime) -> Outcome:
    """Let a waiting display in, or turn it away. Result ``{"revoked": [seat id]}``."""
    seat = _seat(session, actor, command.seat)
    if not is_waiting(seat):
        raise Conflict(N_("Màn hình này không còn chờ nữa."))
    if command.admit:
        seat.admitted_at = now
        return Outcome({"revoked": []}, [_told(seat, True)])
    return Outcome({"revoked": revoke(session, now, id=seat.id)}, [_told(seat, False)])


ACTIONS: Actions = {
    RevokeLink: (None, revoke_link),
    RevokeSeat: (None, revoke_seat),
    AdmitDisplay: (target_of_display, admit_display),
}
