"""Coming in by the conference's code: trainees with their own code, rooms with the PIN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences import joining
from server.conferences.models import Site as Room
from server.errors import DomainError, Invalid, Unavailable
from server.permissions import Role
from server.web import doors
from server.web.actors import Keys, keys_of, seated
from server.web.entry import form_of, take_seat
from server.web.organiser_forms import whole
from server.web.site import now, render, see_other, site_of, visitor_of


def _known(session: Session, join_code: str, keys: Keys) -> dict[str, Any]:
    """What both entrances show of the conference. Raises: NotFound."""
    conference = joining.find_by_join_code(session, join_code)
    rooms = session.execute(
        select(Room.id, Room.name)
        .where(Room.conference_id == conference.id, Room.kind != "online")
        .order_by(Room.position, Room.id)
    )
    return {
        "join_code": conference.join_code,
        "title": conference.title,
        "organiser": conference.organiser,
        "starts_at": conference.starts_at,
        "timezone": conference.timezone,
        "door": doors.by_code(session, conference, keys),
        "recording": conference.recording,
        "rooms": [(row.id, row.name) for row in rooms],
    }


def _page(
    request: web.Request,
    template: str,
    found: dict[str, Any],
    again: str | None = None,
    **context: Any,
) -> web.Response:
    return render(
        request,
        template,
        again=again,
        conference=found,
        door=found["door"],
        time_zone=found["timezone"],
        **context,
    )


async def trainee_page(request: web.Request) -> web.Response:
    """Where the QR code leads: type your own code. Who has a seat already goes on to it."""
    join_code = request.match_info["join_code"]
    found = await site_of(request).database.read(_known, join_code, keys_of(request))
    seat_id = await site_of(request).database.read(_own_phone, join_code, dict(request.cookies))
    if seat_id is not None:
        return see_other(f"/s/{seat_id}/")
    return _page(request, "entry/trainee.html", found, value="")


def _own_phone(session: Session, join_code: str, cookies: dict[str, str]) -> str | None:
    conference = joining.find_by_join_code(session, join_code)
    for actor in seated(session, cookies):
        if actor.role == Role.TRAINEE and actor.conference_id == conference.id:
            return actor.holder
    return None


async def trainee(request: web.Request) -> web.Response:
    """Their own code: a seat, bound to this phone; after the end to the recording."""
    form, site, visitor = await form_of(request), site_of(request), visitor_of(request)
    join_code = request.match_info["join_code"]
    found = await site.database.read(_known, join_code, keys_of(request))

    def join(session: Session) -> tuple[str, str]:
        code = form.get("code", "")
        seat, secret = joining.join_by_code(session, join_code, code, visitor.device, now())
        return seat.id, secret

    to = f"/replay/{found['recording']}" if found["door"].is_over else None
    return await _joined(
        request,
        join,
        "entry/trainee.html",
        found,
        again=request.path,
        to=to,
        value=form.get("code", ""),
    )


async def room_page(request: web.Request) -> web.Response:
    """A room without its link: conference code first, then site and PIN."""
    code = request.query.get("code")
    if not code:
        return render(request, "entry/room.html", conference=None)
    try:
        found = await site_of(request).database.read(_known, code, keys_of(request))
    except DomainError as error:
        return render(request, "entry/room.html", conference=None, error=error)
    return _page(request, "entry/room.html", found)


async def room(request: web.Request) -> web.Response:
    """Site, role and PIN: an operator comes in, a display waits to be let in."""
    form, visitor = await form_of(request), visitor_of(request)
    found = await site_of(request).database.read(
        _known, form.get("conference", ""), keys_of(request)
    )
    room_id = whole(form.get("site", ""))
    try:
        role = Role(form.get("role", ""))
    except ValueError:
        raise Invalid() from None
    if room_id is None:
        raise Invalid()

    def join(session: Session) -> Any:
        pin, code = form.get("pin", ""), form.get("conference", "")
        return joining.join_by_pin(session, code, pin, room_id, role, visitor.device, now())

    again = f"/join?code={found['join_code']}"
    return await _joined(
        request, join, "entry/room.html", found, again=again, room=room_id, role=role.value
    )


async def _joined(
    request: web.Request,
    join: Callable[[Session], Any],
    template: str,
    found: dict[str, Any],
    to: str | None = None,
    **context: Any,
) -> web.Response:
    try:
        result = await site_of(request).inbox.transact(join)
    except DomainError as error:
        later = isinstance(error, Unavailable)  # nothing is wrong with what was typed
        return _page(request, template, found, error=error, later=later, **context)
    if not isinstance(result, tuple):  # an Outcome, whose events were published
        result = (result.result["seat"], result.result["secret"])
    seat_id, secret = result
    return take_seat(request, seat_id, secret, to)


routes = [
    web.get("/join", room_page),
    web.post("/join", room),
    web.get("/c/{join_code}", trainee_page),
    web.post("/c/{join_code}", trainee),
]
