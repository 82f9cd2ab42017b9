"""A conference itself: made, changed, moved along its life; who is appointed to it."""

from __future__ import annotations

from datetime import datetime
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from server.conferences import agenda, floor
from server.conferences.facts import conference_created
from server.conferences.loading import conference_of, one_line
from server.conferences.models import Appointment, Conference
from server.conferences.rules import (
    CHANGEABLE,
    DRAFT,
    ENDED,
    LIVE,
    clears_stage,
    free_slug,
    require_transition,
)
from server.db.journal import Emit
from server.db.outcome import Actions, Outcome
from server.errors import N_, Conflict, Forbidden, Invalid, NotFound
from server.people.accounts import find_account
from server.people.codes import JOIN_CODE_LENGTH, draw_code, draw_pin
from server.people.models import Account, Link
from server.people.names import slugify
from server.people.seats import revoke
from server.people.tokens import new_public_id
from server.permissions import Actor
from server.protocol import (
    AgendaMoved,
    Appoint,
    Appointed,
    ConferenceMoved,
    ConferenceUpdated,
    CreateConference,
    Dismiss,
    Dismissed,
    MoveConference,
    StaffRole,
    UpdateConference,
)


def _check(command: CreateConference | UpdateConference) -> None:
    one_line(command.title)
    if not command.starts_at < command.ends_at:
        raise Invalid(N_("Giờ kết thúc phải sau giờ bắt đầu."))
    try:
        ZoneInfo(command.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(N_("Không có múi giờ “%(name)s”."), name=command.timezone) from error


def _draw_slug(session: Session, command: CreateConference) -> str:
    if command.slug is not None:
        taken = select(Conference.id).where(Conference.slug == command.slug)
        if session.scalar(taken) is not None:
            raise Conflict(N_("Địa chỉ “%(slug)s” đã được dùng."), slug=command.slug)
        return command.slug
    wanted = slugify(command.title) or "hoi-nghi"
    stem = wanted[:50]
    taken_slugs = session.scalars(
        select(Conference.slug).where(Conference.slug.startswith(stem, autoescape=True))
    )
    return free_slug(wanted, set(taken_slugs))


def _draw_join_code(session: Session) -> str:
    while True:
        code = draw_code(JOIN_CODE_LENGTH)
        if session.scalar(select(Conference.id).where(Conference.join_code == code)) is None:
            return code


def create_conference(
    session: Session, actor: Actor, command: CreateConference, now: datetime
) -> Outcome:
    """The one command of an account outside any conference: it must be an organiser's."""
    account = None if actor.account_id is None else session.get(Account, actor.account_id)
    if account is None or not account.is_organiser or account.disabled_at is not None:
        raise Forbidden(N_("Tài khoản này không có quyền tạo hội nghị."))
    _check(command)
    conference = Conference(
        slug=_draw_slug(session, command),
        title=one_line(command.title),
        organiser=command.organiser.strip(),
        timezone=command.timezone,
        state=DRAFT,
        starts_at=command.starts_at,
        ends_at=command.ends_at,
        join_code=_draw_join_code(session),
        pin=draw_pin(),
        created_at=now,
    )
    session.add(conference)
    session.flush()
    appointment = Appointment(conference_id=conference.id, account_id=account.id, role="organiser")
    session.add(appointment)
    session.flush()
    emits = [
        Emit(conference_created(conference)),
        Emit(Appointed(id=appointment.id, name=account.name, role="organiser")),
    ]
    result = {"conference": conference.slug, "id": conference.id}
    return Outcome(result, emits, conference_id=conference.id)


def update_conference(
    session: Session, actor: Actor, command: UpdateConference, now: datetime
) -> Outcome:
    conference = conference_of(session, actor, CHANGEABLE)
    _check(command)
    conference.title = one_line(command.title)
    conference.organiser = command.organiser.strip()
    conference.starts_at = command.starts_at
    conference.ends_at = command.ends_at
    conference.timezone = command.timezone
    event = ConferenceUpdated(
        title=conference.title,
        organiser=conference.organiser,
        timezone=conference.timezone,
        starts_at=conference.starts_at,
        ends_at=conference.ends_at,
    )
    return Outcome(emits=[Emit(event)])


def move_conference(
    session: Session, actor: Actor, command: MoveConference, now: datetime
) -> Outcome:
    """Other rooms tidy up by the effects of ``conference.moved``: runs, questions, recording."""
    conference = conference_of(session, actor)
    before = conference.state
    require_transition(before, command.to)
    emits: list[Emit] = []
    if clears_stage(before, command.to):
        emits += floor.clear(session, conference, now)
    if command.to == LIVE and conference.live_at is None:
        conference.live_at = now
        conference.recording = new_public_id()
    if command.to == ENDED:
        emits += agenda.end_item(session, conference, now)
        if conference.item_id is not None:
            conference.item_id = None
            emits.append(Emit(AgendaMoved(item=None)))
        conference.ended_at = now
    conference.state = command.to
    event = ConferenceMoved(
        state=command.to,
        live_at=conference.live_at,
        ended_at=conference.ended_at,
        recording=conference.recording,
    )
    return Outcome(emits=[*emits, Emit(event)])


def appoint(session: Session, actor: Actor, command: Appoint, now: datetime) -> Outcome:
    """Result ``{"appointment": id}``. After the end too: somebody may have to read it all."""
    conference = conference_of(session, actor, CHANGEABLE | {ENDED})
    account = find_account(session, command.username)
    if account is None:
        raise NotFound(N_("Không có tài khoản “%(username)s”."), username=command.username.strip())
    query = select(Appointment).where(
        Appointment.conference_id == conference.id,
        Appointment.account_id == account.id,
        Appointment.role == command.role,
    )
    appointment = session.scalar(query)
    if appointment is not None and appointment.dismissed_at is None:
        raise Conflict(N_("%(name)s đã có vai trò này."), name=account.name)
    if appointment is None:
        appointment = Appointment(
            conference_id=conference.id, account_id=account.id, role=command.role
        )
        session.add(appointment)
    appointment.dismissed_at = None
    session.flush()
    event = Appointed(id=appointment.id, name=account.name, role=cast(StaffRole, appointment.role))
    return Outcome({"appointment": appointment.id}, [Emit(event)])


def dismiss(session: Session, actor: Actor, command: Dismiss, now: datetime) -> Outcome:
    """End an appointment, revoke its seats and the links to them. Result ``{"revoked": [seat id]}``."""
    conference = conference_of(session, actor)
    appointment = session.get(Appointment, command.appointment)
    if (
        appointment is None
        or appointment.conference_id != conference.id
        or appointment.dismissed_at is not None
    ):
        raise NotFound(N_("Không tìm thấy phân công này."))
    if appointment.id == only_organiser(session, conference.id):
        raise Conflict(N_("Hội nghị cần ít nhất một người trong ban tổ chức."))
    appointment.dismissed_at = now
    whose = {
        "conference_id": conference.id,
        "account_id": appointment.account_id,
        "role": appointment.role,
    }
    links = update(Link).filter_by(**whose, revoked_at=None).values(revoked_at=now)
    session.execute(links)
    revoked = revoke(session, now, **whose)
    return Outcome({"revoked": revoked}, [Emit(Dismissed(id=appointment.id))])


def only_organiser(session: Session, conference_id: int) -> int | None:
    """The appointment that cannot be ended, since no other organiser is left; None where there are
    several."""
    query = select(Appointment.id).where(
        Appointment.conference_id == conference_id,
        Appointment.role == "organiser",
        Appointment.dismissed_at.is_(None),
    )
    organisers = session.scalars(query).all()
    return organisers[0] if len(organisers) == 1 else None


ACTIONS: Actions = {
    CreateConference: (None, create_conference),
    UpdateConference: (None, update_conference),
    MoveConference: (None, move_conference),
    Appoint: (None, appoint),
    Dismiss: (None, dismiss),
}
