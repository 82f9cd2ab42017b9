"""Seat pages: the first content drawn on the server, and the state that the script goes on from."""

from __future__ import annotations

import io
from typing import Any

import segno
from aiohttp import web
from sqlalchemy.orm import Session

from server import snapshot
from server.conferences.models import Conference
from server.conferences.models import Site as Room
from server.errors import Unauthenticated
from server.people.seats import actor_of_seat, find_seat
from server.permissions import Actor, Role
from server.web.entry import seat_cookie
from server.web.site import base_url, now, render, see_other, site_of, visitor_of

TEMPLATES: dict[Role, str] = {
    Role.DISPLAY: "display/display.html",
    Role.OPERATOR: "operator/operator.html",
    Role.MODERATOR: "desk/desk.html",
    Role.ORGANISER: "desk/desk.html",
    Role.OBSERVER: "desk/desk.html",
    Role.SPEAKER: "panel/panel.html",
    Role.ADVISOR: "panel/panel.html",
    Role.TRAINEE: "trainee/trainee.html",
}


def secret_of(request: web.Request) -> tuple[str, str]:
    """Seat id of the address and the secret of its cookie. Raises: Unauthenticated."""
    seat_id = request.match_info["seat"]
    secret = request.cookies.get(seat_cookie(seat_id))
    if secret is None:
        raise Unauthenticated()
    return seat_id, secret


def _page(session: Session, seat_id: str, secret: str) -> dict[str, Any]:
    """Everything a seat page shows, in one read."""
    seat = find_seat(session, seat_id, secret)
    conference = session.get_one(Conference, seat.conference_id)
    shared = {
        "join_code": conference.join_code,
        "slug": conference.slug,
        "timezone": conference.timezone,
        "recording": conference.recording,
    }
    if seat.admitted_at is None:
        room = session.get(Room, seat.site_id) if seat.site_id else None
        return shared | {"waiting": True, "title": conference.title, "room": room and room.name}
    actor = actor_of_seat(session, seat_id, secret, now())
    state, seq = snapshot.build_with_seq(session, actor, now())
    return shared | {"waiting": False, "actor": actor, "state": state, "seq": seq}


async def page(request: web.Request) -> web.Response:
    """The page of a seat by its role; a display that waits is told so."""
    found = await site_of(request).database.read(_page, *secret_of(request))
    if found["waiting"]:
        return render(request, "entry/waiting.html", title=found["title"], room=found["room"])
    actor: Actor = found["actor"]
    if actor.role not in TEMPLATES:
        return see_other(f"/replay/{found['recording']}" if found["recording"] else "/")
    state, language = found["state"], visitor_of(request).language
    boot = {
        "seat": actor.holder,
        "role": actor.role.value,
        "seq": found["seq"],
        "state": state,
        "lang": language.code,
        "timezone": found["timezone"],
        "conference": found["slug"],
        "join_code": found["join_code"],
        "check_in_url": f"{base_url(request)}/c/{found['join_code']}",
    }
    response = render(
        request,
        TEMPLATES[actor.role],
        time_zone=found["timezone"],
        seat=actor.holder,
        role=actor.role.value,
        state=state,
        boot=boot,
        join_code=found["join_code"],
        check_in_url=boot["check_in_url"],
        conference_slug=found["slug"],
        recording=found["recording"],
    )
    # The whole state is in it: a third of the bytes. Nothing of the request is, so that its length
    # tells nobody anything (BREACH).
    response.enable_compression()
    return response


async def add_slash(request: web.Request) -> web.Response:
    """``/s/{seat}`` as people shorten it."""
    return see_other(f"/s/{request.match_info['seat']}/")


def _join_code(session: Session, seat_id: str, secret: str) -> str:
    actor = actor_of_seat(session, seat_id, secret, now())
    return session.get_one(Conference, actor.conference_id).join_code


async def qr(request: web.Request) -> web.Response:
    """The QR code of the trainees' entry, as a picture without inline styles."""
    join_code = await site_of(request).database.read(_join_code, *secret_of(request))
    drawn = io.BytesIO()
    segno.make(f"{base_url(request)}/c/{join_code}", error="m", micro=False).save(
        drawn, kind="svg", border=2, omitsize=True, xmldecl=False, svgclass=None, lineclass=None
    )
    headers = {"Cache-Control": "private, max-age=3600"}
    return web.Response(body=drawn.getvalue(), content_type="image/svg+xml", headers=headers)


routes = [
    web.get("/s/{seat}", add_slash),
    web.get("/s/{seat}/", page),
    web.get("/s/{seat}/qr.svg", qr),
]
