"""Who is appointed to a conference; an account for somebody new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences.life import only_organiser
from server.conferences.models import Appointment
from server.errors import N_, Conflict, DomainError, Forbidden, Invalid
from server.people.accounts import create_account
from server.people.models import Account
from server.people.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH, hash_password
from server.protocol import Appoint, Dismiss, StaffRole
from server.web.organiser_access import Organised, organised, page, signed_in
from server.web.organiser_forms import Form
from server.web.site import now, see_other, site_of

ROLES = {
    "organiser": N_("Ban tổ chức"),
    "moderator": N_("Người điều phối"),
    "speaker": N_("Báo cáo viên"),
    "advisor": N_("Tổ tham mưu"),
    "observer": N_("Giám sát"),
}


@dataclass(frozen=True, slots=True)
class Appointee:
    """Somebody with a role."""

    id: int
    role: str
    name: str
    username: str
    stays: bool
    """the only organiser, whose appointment cannot be ended"""


def _appointees(session: Session, conference_id: int) -> list[Appointee]:
    query = (
        select(Appointment.id, Appointment.role, Account.name, Account.username)
        .join(Account, Account.id == Appointment.account_id)
        .where(Appointment.conference_id == conference_id, Appointment.dismissed_at.is_(None))
        .order_by(Appointment.id)
    )
    needed = only_organiser(session, conference_id)
    return [Appointee(*row, stays=row.id == needed) for row in session.execute(query)]


async def _show(request: web.Request, found: Organised, form: Form) -> web.Response:
    rows = await site_of(request).database.read(_appointees, found.id)
    return page(
        request,
        found,
        "people",
        form=form,
        roles=ROLES,
        appointees=sorted(rows, key=lambda row: list(ROLES).index(row.role)),
        may_create=signed_in(request).is_organiser,
        least=MIN_PASSWORD_LENGTH,
    )


async def people(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/people"""
    return await _show(request, await organised(request), Form())


async def appoint(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/people"""
    found = await organised(request)
    form = await Form.read(request)
    role = cast(StaffRole, form.choice("role", ROLES))
    command = Appoint(username=form.line("username"), role=role)
    if await form.send(request, found.actor, command) is None:
        return await _show(request, found, form)
    return see_other(f"{found.home}/people?done=appointed")


async def create(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/people/new: an account with a first password, and its role."""
    found = await organised(request)
    if not signed_in(request).is_organiser:
        raise Forbidden()
    form = await Form.read(request)
    name, username = form.line("new_name"), form.line("new_username", most=60)
    role = cast(StaffRole, form.choice("new_role", ROLES))
    password = form.values.pop("new_password", "")
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        form.wrong(
            "new_password",
            N_("Mật khẩu cần có ít nhất %(length)d ký tự."),
            length=MIN_PASSWORD_LENGTH,
        )

    def work(session: Session) -> None:
        create_account(session, username, hashed, now(), name=name, must_change=True)

    if form.ok:
        site = site_of(request)
        try:
            hashed = await site.hashing(hash_password, password)
            await site.inbox.transact(work)
        except (Conflict, Invalid) as error:
            form.wrong("new_username", error.message, **error.values)
        except DomainError as error:
            form.refuse(error)
    if await form.send(request, found.actor, Appoint(username=username, role=role)) is None:
        return await _show(request, found, form)
    return see_other(f"{found.home}/people?done=appointed")


async def dismiss(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/people/dismiss"""
    found = await organised(request)
    form = await Form.read(request)
    command = Dismiss(appointment=form.id("appointment"))
    if await form.send(request, found.actor, command) is None:
        return await _show(request, found, form)
    return see_other(f"{found.home}/people?done=dismissed")


routes: list[web.RouteDef] = [
    web.get("/conferences/{slug}/people", people),
    web.post("/conferences/{slug}/people", appoint),
    web.post("/conferences/{slug}/people/new", create),
    web.post("/conferences/{slug}/people/dismiss", dismiss),
]
