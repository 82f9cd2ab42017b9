"""Coming in: home, sign-in, password, language, links, trainees' codes, rooms' PIN.

Opening an address spends nothing (messengers preview them); only its form does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences import joining
from server.conferences.models import Appointment, Conference
from server.conferences.models import Site as Room
from server.errors import N_, DomainError, Invalid, NotFound
from server.people import accounts, links
from server.people.codes import normalise_code
from server.people.models import Account as AccountRow
from server.people.models import Seat
from server.people.seats import find_seat
from server.permissions import Role
from server.web.site import (
    LANG,
    SIGN_IN,
    Account,
    now,
    render,
    see_other,
    set_cookie,
    site_of,
    visitor_of,
)


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


# --- home, language ---


@dataclass(frozen=True, slots=True)
class Appointed:
    """A conference on the home page of an account, with the roles it has there."""

    slug: str
    title: str
    state: str
    starts_at: Any
    timezone: str
    roles: tuple[str, ...]


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
        Appointed(c.slug, c.title, c.state, c.starts_at, c.timezone, tuple(roles[c.id]))
        for c in found.values()
    ]


async def home(request: web.Request) -> web.Response:
    """What one can do without a link: enter a code, sign in, go to one's conferences."""
    account = visitor_of(request).account
    appointed: list[Appointed] = []
    if account is not None:
        appointed = await site_of(request).database.read(_appointed, account.id)
    return render(request, "entry/home.html", conferences=appointed)


async def find_conference(request: web.Request) -> web.Response:
    """The conference's code from the home page: on to its entry."""
    code = normalise_code((await form_of(request)).get("code", ""))
    try:
        await site_of(request).database.read(_known, code)
    except DomainError as error:
        return render(request, "entry/home.html", conferences=[], error=error, code=code)
    return see_other(f"/c/{code}")


async def language(request: web.Request) -> web.Response:
    """Remember the language that was pressed."""
    form = await form_of(request)
    if form.get("lang") not in site_of(request).languages:
        raise Invalid()
    response = see_other(local(form.get("next")))
    set_cookie(request, response, LANG, form["lang"])
    return response


# --- accounts ---


async def sign_in_page(request: web.Request) -> web.Response:
    """The form, or straight on for who is signed in."""
    next_page = local(request.query.get("next"), "")
    if visitor_of(request).account is not None:
        return see_other(next_page or "/")
    return render(request, "entry/sign_in.html", next=next_page, username="")


async def sign_in(request: web.Request) -> web.Response:
    """Check the password, set the cookie; a password to be changed comes first."""
    form = await form_of(request)
    username, next_page = form.get("username", ""), local(form.get("next"), "")

    def check(session: Session) -> tuple[str, bool, bool]:
        token = accounts.verify_password(session, username, form.get("password", ""), now())
        account = accounts.account_of_sign_in(session, token, now())
        return token, account.must_change, account.is_organiser

    try:
        token, must_change, is_organiser = await site_of(request).inbox.transact(check)
    except DomainError as error:
        return render(request, "entry/sign_in.html", error=error, next=next_page, username=username)
    home_page = "/conferences" if is_organiser else "/"
    response = see_other("/password" if must_change else next_page or home_page)
    set_cookie(request, response, SIGN_IN, token)
    return response


async def sign_out(request: web.Request) -> web.Response:
    """End this browser's sign-in."""
    token = request.cookies.get(SIGN_IN)
    if token:
        await site_of(request).inbox.transact(lambda s: accounts.sign_out(s, token, now()))
    response = see_other("/")
    response.del_cookie(SIGN_IN, path="/")
    return response


async def password_page(request: web.Request) -> web.Response:
    """The form for a new password."""
    require_account(request)
    return render(request, "entry/password.html")


async def password(request: web.Request) -> web.Response:
    """Change it; every other sign-in of the account ends."""
    account = require_account(request)
    form = await form_of(request)
    keep = request.cookies.get(SIGN_IN)

    def change(session: Session) -> None:
        if form.get("new", "") != form.get("again", ""):
            raise Invalid(N_("Hai lần nhập mật khẩu mới không giống nhau."))
        old, new = form.get("old", ""), form.get("new", "")
        accounts.change_password(session, account.id, old, new, now(), keep=keep)

    try:
        await site_of(request).inbox.transact(change)
    except DomainError as error:
        return render(request, "entry/password.html", error=error)
    return see_other("/conferences" if account.is_organiser else "/")


# --- links ---


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


def _invitation(session: Session, token: str) -> Invitation:
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
    )


async def link_page(request: web.Request) -> web.Response:
    """What this link is: role, site, conference. Nothing is spent."""
    invitation = await site_of(request).database.read(_invitation, request.match_info["token"])
    return render(request, "entry/link.html", invitation=invitation, time_zone=invitation.timezone)


async def link(request: web.Request) -> web.Response:
    """Redeem the link: a seat, a viewer's access to the recording, or a device's instructions."""
    token, site, visitor = request.match_info["token"], site_of(request), visitor_of(request)
    invitation = await site.database.read(_invitation, token)
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
        return render(
            request,
            "entry/link.html",
            error=error,
            invitation=invitation,
            time_zone=invitation.timezone,
        )
    organises = invitation.role == Role.ORGANISER and sign_in_token is not None
    to = f"/conferences/{invitation.slug}" if organises else None
    response = take_seat(request, seat_id, secret, to)
    if sign_in_token is not None:
        set_cookie(request, response, SIGN_IN, sign_in_token)
    return response


def view_cookie(recording: str) -> str:
    """The name of the cookie that holds a viewer's token for one recording."""
    return f"view_{recording}"


def _view(request: web.Request, invitation: Invitation, token: str) -> web.Response:
    if invitation.recording is None:
        raise NotFound(N_("Hội nghị này chưa có bản ghi."))
    response = see_other(f"/replay/{invitation.recording}")
    set_cookie(request, response, view_cookie(invitation.recording), token)
    return response


# --- trainees and rooms ---


def _known(session: Session, join_code: str) -> dict[str, Any]:
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
        "rooms": [(row.id, row.name) for row in rooms],
    }


async def trainee_page(request: web.Request) -> web.Response:
    """Where the QR code leads: type your own code. Who has a seat already goes on to it."""
    join_code = request.match_info["join_code"]
    found = await site_of(request).database.read(_known, join_code)
    seat_id = await site_of(request).database.read(_own_phone, join_code, dict(request.cookies))
    if seat_id is not None:
        return see_other(f"/s/{seat_id}/")
    return render(
        request, "entry/trainee.html", conference=found, time_zone=found["timezone"], value=""
    )


def _own_phone(session: Session, join_code: str, cookies: dict[str, str]) -> str | None:
    conference = joining.find_by_join_code(session, join_code)
    for name, secret in cookies.items():
        if not name.startswith("seat_"):
            continue
        try:
            seat: Seat = find_seat(session, name.removeprefix("seat_"), secret)
        except DomainError:
            continue
        if seat.role == Role.TRAINEE and seat.conference_id == conference.id:
            return seat.id
    return None


async def trainee(request: web.Request) -> web.Response:
    """Their own code: a seat, bound to this phone."""
    form, site, visitor = await form_of(request), site_of(request), visitor_of(request)
    join_code = request.match_info["join_code"]
    found = await site.database.read(_known, join_code)

    def join(session: Session) -> tuple[str, str]:
        code = form.get("code", "")
        seat, secret = joining.join_by_code(session, join_code, code, visitor.device, now())
        return seat.id, secret

    return await _joined(request, join, "entry/trainee.html", found, value=form.get("code", ""))


async def room_page(request: web.Request) -> web.Response:
    """A room without its link: conference code first, then site and PIN."""
    code = request.query.get("code")
    if not code:
        return render(request, "entry/room.html", conference=None)
    try:
        found = await site_of(request).database.read(_known, code)
    except DomainError as error:
        return render(request, "entry/room.html", conference=None, error=error)
    return render(request, "entry/room.html", conference=found, time_zone=found["timezone"])


async def room(request: web.Request) -> web.Response:
    """Site, role and PIN: an operator comes in, a display waits to be let in."""
    form, visitor = await form_of(request), visitor_of(request)
    found = await site_of(request).database.read(_known, form.get("conference", ""))
    try:
        room_id, role = int(form.get("site", "")), Role(form.get("role", ""))
    except ValueError:
        raise Invalid() from None

    def join(session: Session) -> Any:
        pin, code = form.get("pin", ""), form.get("conference", "")
        return joining.join_by_pin(session, code, pin, room_id, role, visitor.device, now())

    return await _joined(request, join, "entry/room.html", found)


async def _joined(
    request: web.Request,
    join: Callable[[Session], Any],
    template: str,
    found: dict[str, Any],
    **context: Any,
) -> web.Response:
    try:
        result = await site_of(request).inbox.transact(join)
    except DomainError as error:
        return render(
            request, template, error=error, conference=found, time_zone=found["timezone"], **context
        )
    if not isinstance(result, tuple):  # an Outcome, whose events were published
        result = (result.result["seat"], result.result["secret"])
    return take_seat(request, *result)


async def enter(request: web.Request) -> web.Response:
    """An account takes the seat of its appointment."""
    account, site = require_account(request), site_of(request)
    slug, form = request.match_info["slug"], await form_of(request)
    try:
        role = Role(form.get("role", ""))
    except ValueError:
        raise Invalid() from None

    def join(session: Session) -> tuple[str, str]:
        conference_id = session.scalar(select(Conference.id).where(Conference.slug == slug))
        if conference_id is None:
            raise NotFound()
        seat, secret = joining.join_by_appointment(session, conference_id, account.id, role, now())
        return seat.id, secret

    return take_seat(request, *await site.inbox.transact(join))


routes = [
    web.get("/", home),
    web.post("/", find_conference),
    web.post("/language", language),
    web.get("/sign-in", sign_in_page),
    web.post("/sign-in", sign_in),
    web.post("/sign-out", sign_out),
    web.get("/password", password_page),
    web.post("/password", password),
    web.get("/join", room_page),
    web.post("/join", room),
    web.get("/join/{token}", link_page),
    web.post("/join/{token}", link),
    web.get("/c/{join_code}", trainee_page),
    web.post("/c/{join_code}", trainee),
    web.post("/conferences/{slug}/enter", enter),
]
