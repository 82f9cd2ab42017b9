"""Coming in by a link: what it opens, and its form, which redeems it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web
from sqlalchemy.orm import Session

from server.conferences.models import Conference
from server.conferences.models import Site as Room
from server.errors import N_, Conflict, DomainError, NotFound
from server.people import accounts, links
from server.people.models import Account as AccountRow
from server.permissions import Role
from server.web import doors
from server.web.doors import Door
from server.web.entry import take_seat, view_cookie
from server.web.site import SIGN_IN, now, render, see_other, set_cookie, site_of, visitor_of


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a link opens, for the page that asks."""

    role: str
    slug: str
    title: str
    organiser: str
    starts_at: Any
    timezone: str
    room: str | None
    recording: str | None
    door: Door
    reusable: bool
    spent: bool
    """used up, by another browser than the one that asks"""


def _invitation(session: Session, token: str, device: str) -> Invitation:
    link = links.find_link(session, token, now())
    conference = session.get_one(Conference, link.conference_id)
    room = session.get(Room, link.site_id) if link.site_id else None
    return Invitation(
        link.role,
        conference.slug,
        conference.title,
        conference.organiser,
        conference.starts_at,
        conference.timezone,
        room.name if room else None,
        conference.recording,
        doors.by_link(conference, link.role),
        link.reusable,
        link.role not in links.BEARERS and links.is_spent(session, link, device),
    )


_ROOM = frozenset({Role.OPERATOR, Role.DISPLAY, Role.TRAINEE})


async def link_page(request: web.Request) -> web.Response:
    """What this link is: role, site, conference. Nothing is spent."""
    token, device = request.match_info["token"], visitor_of(request).device
    invitation = await site_of(request).database.read(_invitation, token, device)
    return _page(request, invitation, Conflict(links.SPENT) if invitation.spent else None)


def _page(request: web.Request, invitation: Invitation, error: DomainError | None) -> web.Response:
    return render(
        request,
        "entry/link.html",
        error=error,
        again=request.path,
        invitation=invitation,
        time_zone=invitation.timezone,
    )


async def link(request: web.Request) -> web.Response:
    """Redeem the link: a seat, a viewer's access to the recording, or a device's instructions."""
    token, site, visitor = request.match_info["token"], site_of(request), visitor_of(request)
    invitation = await site.database.read(_invitation, token, visitor.device)
    if invitation.role == Role.VIEWER:
        return _view(request, invitation, token)

    def redeem(session: Session) -> tuple[str, str, str | None]:
        seat, secret = links.redeem(session, token, now(), visitor.device)
        account = session.get(AccountRow, seat.account_id) if seat.account_id else None
        sign_in_token = accounts.sign_in(session, account, now()) if account else None
        return seat.id, secret, sign_in_token

    try:
        seat_id, secret, sign_in_token = await site.inbox.transact(redeem)
    except DomainError as error:
        return _page(request, invitation, error)
    organises = invitation.role == Role.ORGANISER and sign_in_token is not None
    to = f"/conferences/{invitation.slug}" if organises else None
    if invitation.role in _ROOM and invitation.door.is_over:
        to = invitation.door.replay  # a room's page has nothing more to show
    response = take_seat(request, seat_id, secret, to)
    if sign_in_token is not None:
        set_cookie(request, response, SIGN_IN, sign_in_token)
    return response


def _view(request: web.Request, invitation: Invitation, token: str) -> web.Response:
    if invitation.recording is None:
        raise NotFound(N_("Hội nghị này chưa có bản ghi."))
    response = see_other(f"/replay/{invitation.recording}")
    set_cookie(request, response, view_cookie(invitation.recording), token)
    return response


routes = [
    web.get("/join/{token}", link_page),
    web.post("/join/{token}", link),
]
