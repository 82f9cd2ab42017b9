"""Coming in: what every entrance shares, the home page, the language.

Opening an address spends nothing (messengers preview them); only its form does. The entrances
themselves: ``sign_in`` (accounts), ``entry_links`` (links), ``entry_codes`` (codes and PIN).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences import joining
from server.conferences.models import Appointment, Conference
from server.errors import DomainError, Invalid
from server.people.codes import normalise_code
from server.permissions import Permission, Role, reach
from server.web.site import LANG, Account, render, see_other, set_cookie, site_of, visitor_of


async def form_of(request: web.Request) -> dict[str, str]:
    """The text fields of the form."""
    posted = await request.post()
    return {name: value for name, value in posted.items() if isinstance(value, str)}


def local(path: str | None, fallback: str = "/") -> str:
    """``path`` where it is one of this server's, so that no form sends people elsewhere."""
    if not path or not path.startswith("/") or path.startswith(("//", "/\\")):
        return fallback
    return path if path.isprintable() else fallback


def seat_cookie(seat_id: str) -> str:
    """The name of the cookie that holds a seat's secret."""
    return f"seat_{seat_id}"


def view_cookie(recording: str) -> str:
    """The name of the cookie that holds a viewer's token for one recording."""
    return f"view_{recording}"


def take_seat(
    request: web.Request, seat_id: str, secret: str, to: str | None = None
) -> web.Response:
    """Hand over a seat: its cookie, and on to its page."""
    response = see_other(to or f"/s/{seat_id}/")
    set_cookie(request, response, seat_cookie(seat_id), secret)
    return response


def require_account(request: web.Request) -> Account:
    """The signed-in account; otherwise to the sign-in page. Raises: HTTPSeeOther."""
    account = visitor_of(request).account
    if account is None:
        next_page = request.path if request.method == "GET" else "/"
        raise web.HTTPSeeOther(f"/sign-in?next={next_page}")
    return account


@dataclass(frozen=True, slots=True)
class Appointed:
    """A conference on the home page of an account, with the roles it has there."""

    slug: str
    title: str
    state: str
    starts_at: Any
    timezone: str
    roles: tuple[str, ...]
    reports: bool
    """True where one of the roles may see the reports"""


def _appointed(session: Session, account_id: int) -> list[Appointed]:
    query = (
        select(Conference, Appointment.role)
        .join(Appointment, Appointment.conference_id == Conference.id)
        .where(Appointment.account_id == account_id, Appointment.dismissed_at.is_(None))
        .order_by(Conference.starts_at.desc(), Appointment.id)
    )
    roles: dict[int, list[str]] = {}
    found: dict[int, Conference] = {}
    for conference, role in session.execute(query):
        found[conference.id] = conference
        roles.setdefault(conference.id, []).append(role)
    return [
        Appointed(
            c.slug,
            c.title,
            c.state,
            c.starts_at,
            c.timezone,
            tuple(roles[c.id]),
            any(reach(Role(role), Permission.SEE_REPORTS) for role in roles[c.id]),
        )
        for c in found.values()
    ]


async def home(request: web.Request) -> web.Response:
    """What one can do without a link: enter a code, sign in, go to one's conferences."""
    return await _home(request)


async def _home(request: web.Request, **context: Any) -> web.Response:
    account = visitor_of(request).account
    appointed: list[Appointed] = []
    if account is not None:
        appointed = await site_of(request).database.read(_appointed, account.id)
    return render(request, "entry/home.html", conferences=appointed, **context)


async def find_conference(request: web.Request) -> web.Response:
    """The conference's code from the home page: on to its entry."""
    code = normalise_code((await form_of(request)).get("code", ""))
    try:
        await site_of(request).database.read(joining.find_by_join_code, code)
    except DomainError as error:
        return await _home(request, error=error, again="/", code=code)
    return see_other(f"/c/{code}")


async def language(request: web.Request) -> web.Response:
    """Remember the language that was pressed."""
    form = await form_of(request)
    if form.get("lang") not in site_of(request).languages:
        raise Invalid()
    response = see_other(local(form.get("next")))
    set_cookie(request, response, LANG, form["lang"])
    return response


routes = [
    web.get("/", home),
    web.post("/", find_conference),
    web.post("/language", language),
]
