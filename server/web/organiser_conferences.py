"""The list of conferences, a new one, its overview, its own facts and its life."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

from aiohttp import web
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.activities.models import Activity
from server.conferences.models import AgendaItem, Appointment, Conference, RosterEntry, Site
from server.conferences.rules import (
    ARCHIVED,
    DRAFT,
    ENDED,
    LIVE,
    LOBBY,
    OPEN,
    PAUSED,
    SCHEDULED,
    STATE_NAMES,
    TRANSITIONS,
)
from server.errors import N_
from server.people.models import Link
from server.permissions import Actor, Role
from server.protocol import ConferenceState, CreateConference, MoveConference, UpdateConference
from server.web.organiser_access import (
    TIMEZONES,
    Organised,
    form_key,
    join_url,
    organised,
    organiser,
    page,
    qr,
)
from server.web.organiser_forms import Form
from server.web.site import DEFAULT_TIMEZONE, Account, now, render, see_other, site_of

MOVES = {
    SCHEDULED: (N_("Lên lịch"), "calendar", "quiet"),
    LOBBY: (N_("Mở phòng chờ"), "users", "quiet"),
    LIVE: (N_("Bắt đầu hội nghị"), "play", "quiet"),
    PAUSED: (N_("Tạm dừng"), "pause", "quiet"),
    ENDED: (N_("Kết thúc hội nghị"), "square", "danger"),
    ARCHIVED: (N_("Lưu trữ"), "archive", "danger"),
}
"""state to move to → words, icon and kind of its button; danger ones are asked twice"""
USUAL = {DRAFT: SCHEDULED, SCHEDULED: LOBBY, LOBBY: LIVE, PAUSED: LIVE}
"""the next step, whose button comes first and stands out"""


@dataclass(frozen=True, slots=True)
class Listed:
    """One card of the list."""

    conference: Conference
    sites: int
    expected: int


def _listed(session: Session, account_id: int) -> list[Listed]:
    """An organiser's conferences: those under way first, then by date, the latest first."""
    query = (
        select(Conference)
        .join(Appointment, Appointment.conference_id == Conference.id)
        .where(
            Appointment.account_id == account_id,
            Appointment.role == Role.ORGANISER,
            Appointment.dismissed_at.is_(None),
        )
        .order_by(Conference.starts_at.desc(), Conference.id.desc())
    )
    conferences = session.scalars(query).all()
    ids = [conference.id for conference in conferences]
    sites, expected = _counts(session, Site, ids), _counts(session, RosterEntry, ids)
    cards = [Listed(each, sites[each.id], expected[each.id]) for each in conferences]
    return sorted(cards, key=lambda card: card.conference.state not in OPEN)


def _counts(session: Session, table: Any, conference_ids: list[int]) -> Counter[int]:
    query = (
        select(table.conference_id, func.count())
        .where(table.conference_id.in_(conference_ids))
        .group_by(table.conference_id)
    )
    return Counter({key: count for key, count in session.execute(query)})


async def conference_list(request: web.Request) -> web.Response:
    """GET /conferences"""
    account = await organiser(request)
    cards = await site_of(request).database.read(_listed, account.id)
    return render(request, "organiser/list.html", cards=cards, state_names=STATE_NAMES)


def _local(moment: datetime, timezone: str) -> str:
    """``moment`` for a datetime-local field."""
    return f"{moment.astimezone(ZoneInfo(timezone)):%Y-%m-%dT%H:%M}"


def _new_form(request: web.Request, form: Form) -> web.Response:
    return render(
        request,
        "organiser/new.html",
        status=form.status,
        form=form,
        timezones=TIMEZONES,
        form_key=form_key,
    )


async def new_conference(request: web.Request) -> web.Response:
    """GET /conferences/new: a day's conference, a week from now."""
    await organiser(request)
    day = now().astimezone(ZoneInfo(DEFAULT_TIMEZONE)) + timedelta(days=7)
    times = {"starts_at": f"{day:%Y-%m-%d}T08:00", "ends_at": f"{day:%Y-%m-%d}T17:00"}
    return _new_form(request, Form({**times, "timezone": DEFAULT_TIMEZONE}))


def _facts(form: Form, known: str = DEFAULT_TIMEZONE) -> dict[str, Any]:
    """The fields that making and changing a conference share."""
    timezone = form.choice("timezone", {*TIMEZONES, known})
    zone = timezone if "timezone" not in form.errors else known
    facts = {
        "title": form.line("title"),
        "organiser": form.line("organiser", required=False),
        "starts_at": form.moment("starts_at", zone),
        "ends_at": form.moment("ends_at", zone),
        "timezone": zone,
    }
    if form.ok and not facts["starts_at"] < facts["ends_at"]:  # type: ignore[operator]
        form.wrong("ends_at", N_("Giờ kết thúc phải sau giờ bắt đầu."))
    return facts


async def create_conference(request: web.Request) -> web.Response:
    """POST /conferences/new"""
    account: Account = await organiser(request)
    form = await Form.read(request)
    actor = Actor(f"account:{account.id}", Role.ORGANISER, account_id=account.id, name=account.name)
    made = await form.send(request, actor, CreateConference(**_facts(form)))
    if made is None:
        return _new_form(request, form)
    return see_other(f"/conferences/{made['conference']}?done=created")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the preparation is."""

    agenda: int
    sites: int
    roster: int
    roles: Counter[str]
    quizzes: int
    links: int


def progress(session: Session, conference_id: int) -> Progress:
    """Count what is there."""

    def count(table: Any) -> int:
        query = select(func.count()).select_from(table)
        return session.scalar(query.where(table.conference_id == conference_id)) or 0

    roles = session.execute(
        select(Appointment.role, func.count())
        .where(Appointment.conference_id == conference_id, Appointment.dismissed_at.is_(None))
        .group_by(Appointment.role)
    )
    links = select(func.count()).where(
        Link.conference_id == conference_id,
        Link.revoked_at.is_(None),
    )
    return Progress(
        count(AgendaItem),
        count(Site),
        count(RosterEntry),
        Counter({role: number for role, number in roles}),
        count(Activity),
        session.scalar(links) or 0,
    )


def _moves(state: str) -> list[tuple[str, str, str, str]]:
    order = list(TRANSITIONS)
    usual = USUAL.get(state)
    found = []
    for to in sorted(TRANSITIONS[state], key=lambda to: (to != usual, order.index(to))):
        text, icon_name, kind = MOVES[to]
        found.append((to, text, icon_name, "" if usual == to else kind))
    return found


async def _overview(request: web.Request, found: Organised, form: Form) -> web.Response:
    done = await site_of(request).database.read(progress, found.id)
    address = join_url(request, found.conference)
    return page(
        request,
        found,
        "overview",
        form=form,
        progress=done,
        moves=_moves(found.conference.state),
        join_url=address,
        join_qr=qr(address),
    )


async def overview(request: web.Request) -> web.Response:
    """GET /conferences/{slug}"""
    return await _overview(request, await organised(request), Form())


async def move(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/move with ``to``."""
    found = await organised(request)
    form = await Form.read(request)
    to = cast(ConferenceState, form.choice("to", TRANSITIONS))
    if await form.send(request, found.actor, MoveConference(to=to)) is None:
        return await _overview(request, found, form)
    return see_other(f"{found.home}?done=moved")


def _edit_form(request: web.Request, found: Organised, form: Form) -> web.Response:
    known = found.conference.timezone
    return page(request, found, "edit", form=form, timezones={known: known} | TIMEZONES)


async def edit(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/edit"""
    found = await organised(request)
    kept = found.conference
    values = {
        "title": kept.title,
        "organiser": kept.organiser,
        "starts_at": _local(kept.starts_at, kept.timezone),
        "ends_at": _local(kept.ends_at, kept.timezone),
        "timezone": kept.timezone,
    }
    return _edit_form(request, found, Form(values))


async def save(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/edit"""
    found = await organised(request)
    form = await Form.read(request)
    command = UpdateConference(**_facts(form, found.conference.timezone))
    if await form.send(request, found.actor, command) is None:
        return _edit_form(request, found, form)
    return see_other(f"{found.home}?done=saved")


routes: list[web.RouteDef] = [
    web.get("/conferences", conference_list),
    web.get("/conferences/new", new_conference),
    web.post("/conferences/new", create_conference),
    web.get("/conferences/{slug}", overview),
    web.post("/conferences/{slug}/move", move),
    web.get("/conferences/{slug}/edit", edit),
    web.post("/conferences/{slug}/edit", save),
]
