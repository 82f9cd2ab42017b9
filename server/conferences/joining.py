"""Coming in: links, a trainee's own code, a room's PIN, an account's appointment."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences.loading import conference_of, site_of
from server.conferences.models import Appointment, Conference, RosterEntry, Site
from server.conferences.rules import ARCHIVED, CHANGEABLE, DRAFT, ENDED, OPEN, OVER, require_state
from server.db.journal import Emit
from server.db.outcome import Actions, Outcome
from server.errors import N_, Conflict, Forbidden, Invalid, NotFound
from server.people import tries
from server.people.codes import normalise_code
from server.people.links import create_link
from server.people.models import Person, Seat
from server.people.seats import open_phone, open_seat, revoke
from server.permissions import Actor, Role, Target
from server.protocol import CreateLink, DisplayAsked, ResetPhone

LINK_OUTLIVES_END = timedelta(days=1)
VIEWER_LASTS = timedelta(days=365)
SITE_ROLES = frozenset({Role.OPERATOR, Role.DISPLAY, Role.ENCODER})

_WRONG_CODE = N_(
    "Mã cá nhân không đúng, hoặc không có trong danh sách của hội nghị này. Hãy xem lại mã trên "
    "phiếu của bạn; còn %(left)d lần thử trước khi phải chờ."
)
_WRONG_CODE_WAIT = tries.Wait(
    N_(
        "Mã cá nhân không đúng, hoặc không có trong danh sách của hội nghị này. Hãy hỏi ban tổ "
        "chức, rồi thử lại sau %(seconds)d giây."
    ),
    N_(
        "Mã cá nhân không đúng, hoặc không có trong danh sách của hội nghị này. Hãy hỏi ban tổ "
        "chức, rồi thử lại sau %(minutes)d phút."
    ),
)
_NO_CONFERENCE = N_(
    "Không có hội nghị nào đã công bố với mã này. Hãy xem lại mã trên màn hình điểm cầu, "
    "hoặc hỏi ban tổ chức."
)
_WRONG_PIN = N_(
    "Mã PIN không đúng. Hãy nhập 6 chữ số mà ban tổ chức gửi cho các điểm cầu của hội nghị này; "
    "còn %(left)d lần thử trước khi phải chờ."
)
_WRONG_PIN_WAIT = tries.Wait(
    N_("Mã PIN không đúng. Hãy hỏi lại ban tổ chức, rồi thử lại sau %(seconds)d giây."),
    N_("Mã PIN không đúng. Hãy hỏi lại ban tổ chức, rồi thử lại sau %(minutes)d phút."),
)


def make_link(session: Session, actor: Actor, command: CreateLink, now: datetime) -> Outcome:
    """Result ``{"token", "link"}``; the token is shown this once."""
    role = Role(command.role)
    states = CHANGEABLE | {ENDED, ARCHIVED} if role is Role.VIEWER else CHANGEABLE
    conference = conference_of(session, actor, states)
    if role is Role.TRAINEE:
        raise Invalid(N_("Học viên vào bằng mã hội nghị và mã cá nhân, không cần đường dẫn."))
    if role in SITE_ROLES and command.site is None:
        raise Invalid(N_("Hãy chọn điểm cầu cho đường dẫn này."))
    site = None if command.site is None else site_of(session, actor, command.site)
    lasts = VIEWER_LASTS if role is Role.VIEWER else LINK_OUTLIVES_END
    link, token = create_link(
        session,
        role,
        conference.id,
        now,
        max(conference.ends_at, now) + lasts,
        site_id=None if site is None else site.id,
    )
    return Outcome({"token": token, "link": link.id})


def find_by_join_code(session: Session, join_code: str) -> Conference:
    """The conference of a join code; a draft is not known to anyone. Raises: NotFound."""
    query = select(Conference).where(Conference.join_code == normalise_code(join_code))
    conference = session.scalar(query)
    if conference is None or conference.state == DRAFT:
        raise NotFound(_NO_CONFERENCE)
    return conference


def join_by_code(
    session: Session, join_code: str, person_code: str, device: str, now: datetime
) -> tuple[Seat, str]:
    """A trainee's seat by the conference's code and their own; gives it with its secret.

    After the end it is for the recording, where there is one: also who never came may watch it.
    Raises: NotFound (wrong code), Conflict (not open; another phone is bound), SlowDown after
    wrong tries of this device, Invalid without a device.
    """
    conference = find_by_join_code(session, join_code)
    require_state(conference.state, OPEN | OVER if conference.recording else OPEN)
    subject = f"code:{conference.id}:{device[:100]}"
    tries.check(session, subject, tries.CODE, now)
    query = (
        select(RosterEntry.person_id, RosterEntry.site_id)
        .join(Person, Person.id == RosterEntry.person_id)
        .where(
            RosterEntry.conference_id == conference.id,
            Person.code == normalise_code(person_code),
        )
    )
    row = session.execute(query).one_or_none()
    if row is None:
        raise tries.refuse(
            session, subject, tries.CODE, now, NotFound(_WRONG_CODE), _WRONG_CODE_WAIT
        )
    seat = open_phone(
        session,
        conference.id,
        row.person_id,
        row.site_id,
        device,
        now,
        is_over=conference.state in OVER,
    )
    tries.forget(session, subject)
    return seat


def check_pin(session: Session, join_code: str, pin: str, now: datetime) -> Conference:
    """The open conference whose PIN this is.

    Raises: NotFound, Conflict (not open), Forbidden (wrong PIN), SlowDown.
    """
    conference = find_by_join_code(session, join_code)
    require_state(conference.state, OPEN)
    subject = f"pin:{conference.id}"
    tries.check(session, subject, tries.PIN, now)
    if normalise_code(pin) != conference.pin:
        raise tries.refuse(session, subject, tries.PIN, now, Forbidden(_WRONG_PIN), _WRONG_PIN_WAIT)
    return conference


def join_by_pin(
    session: Session,
    join_code: str,
    pin: str,
    site_id: int,
    role: Role,
    device: str,
    now: datetime,
) -> Outcome:
    """A room's seat (operator or display) by PIN; a display waits to be let in.

    Result ``{"seat", "secret", "admitted"}``. Raises: as ``check_pin``; Invalid for another role.
    """
    conference = check_pin(session, join_code, pin, now)
    if role not in (Role.OPERATOR, Role.DISPLAY):
        raise Invalid()
    site = session.get(Site, site_id)
    if site is None or site.conference_id != conference.id:
        raise NotFound(N_("Không tìm thấy điểm cầu này."))
    admitted = role is Role.OPERATOR
    seat, secret = open_seat(
        session,
        role,
        conference.id,
        now,
        site_id=site.id,
        device=device or None,
        admitted=admitted,
    )
    emits: list[Emit] = []
    if not admitted:
        event = DisplayAsked(seat=seat.id, site=site.id, asked_at=now)
        emits.append(Emit(event, site_id=site.id))
    result = {"seat": seat.id, "secret": secret, "admitted": admitted}
    return Outcome(result, emits, conference_id=conference.id)


def join_by_appointment(
    session: Session, conference_id: int, account_id: int, role: Role, now: datetime
) -> tuple[Seat, str]:
    """A seat for a signed-in account in a role it is appointed to. Raises: Forbidden."""
    query = select(Appointment.id).where(
        Appointment.conference_id == conference_id,
        Appointment.account_id == account_id,
        Appointment.role == role.value,
        Appointment.dismissed_at.is_(None),
    )
    if session.scalar(query) is None:
        raise Forbidden(N_("Tài khoản này không được phân công vai trò đó."))
    return open_seat(session, role, conference_id, now, account_id=account_id)


def target_of_phone(session: Session, actor: Actor, command: ResetPhone) -> Target:
    """A person at the site where this conference expects them. Raises: NotFound."""
    entry = None
    if actor.conference_id is not None:
        entry = session.get(RosterEntry, (actor.conference_id, command.person))
    if entry is None:
        raise NotFound(N_("Người này không có trong danh sách của hội nghị."))
    return Target(actor.conference_id, entry.site_id, command.person)


def reset_phone(session: Session, actor: Actor, command: ResetPhone, now: datetime) -> Outcome:
    """Result ``{"revoked": [seat id]}``: connections to cut. Nobody's state shows who has a phone,
    so there is nothing to tell."""
    revoked = revoke(
        session,
        now,
        conference_id=actor.conference_id,
        person_id=command.person,
        role=Role.TRAINEE.value,
    )
    if not revoked:
        raise Conflict(N_("Người này chưa dùng điện thoại nào: cứ nhập mã trên điện thoại mới."))
    return Outcome({"revoked": revoked})


ACTIONS: Actions = {
    CreateLink: (None, make_link),
    ResetPhone: (target_of_phone, reset_phone),
}
