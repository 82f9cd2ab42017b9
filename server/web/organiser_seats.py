"""Who is in by which door: the seats of staff and rooms, each of which can be revoked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences.models import Site
from server.errors import N_
from server.people.models import Account, Seat
from server.permissions import Role
from server.protocol import RevokeSeat
from server.web.organiser_access import Organised, organised, page
from server.web.organiser_forms import Form
from server.web.organiser_links import ROLES as LINK_ROLES
from server.web.organiser_people import ROLES as STAFF_ROLES
from server.web.site import see_other, site_of

ROLES = STAFF_ROLES | LINK_ROLES
LINK, ACCOUNT, PIN = N_("Đường dẫn"), N_("Tài khoản"), N_("Mã hội nghị và PIN")


@dataclass(frozen=True, slots=True)
class SeatRow:
    """One seat of the list."""

    id: str
    role: str
    who: str
    """the site, or the account's name"""
    came_by: str
    created_at: datetime
    waits: bool
    """a display that has not been let in yet"""


def _rows(session: Session, conference_id: int) -> list[SeatRow]:
    query = (
        select(Seat, Site.name, Account.name)
        .outerjoin(Site, Site.id == Seat.site_id)
        .outerjoin(Account, Account.id == Seat.account_id)
        .where(
            Seat.conference_id == conference_id,
            Seat.revoked_at.is_(None),
            Seat.role != Role.TRAINEE.value,
        )
        .order_by(Site.position, Seat.created_at)
    )
    return [
        SeatRow(
            seat.id,
            seat.role,
            site or account or "",
            LINK if seat.link_id else ACCOUNT if seat.account_id else PIN,
            seat.created_at,
            seat.admitted_at is None,
        )
        for seat, site, account in session.execute(query)
    ]


async def _show(request: web.Request, found: Organised, form: Form) -> web.Response:
    rows = await site_of(request).database.read(_rows, found.id)
    return page(request, found, "links", template="seats", form=form, seats=rows, roles=ROLES)


async def seats(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/seats"""
    return await _show(request, await organised(request), Form())


async def revoke(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/seats/revoke: its pages are cut at once."""
    found = await organised(request)
    form = await Form.read(request)
    if await form.send(request, found.actor, RevokeSeat(seat=form.line("seat"))) is None:
        return await _show(request, found, form)
    return see_other(f"{found.home}/seats?done=seat_revoked")


routes: list[web.RouteDef] = [
    web.get("/conferences/{slug}/seats", seats),
    web.post("/conferences/{slug}/seats/revoke", revoke),
]
