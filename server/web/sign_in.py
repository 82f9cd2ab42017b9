"""Accounts coming in: sign-in, sign-out, a new password, the seat of an appointment."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences import joining
from server.conferences.models import Conference
from server.errors import N_, DomainError, Invalid, NotFound
from server.people import accounts, passwords
from server.permissions import Role
from server.web.entry import form_of, local, require_account, take_seat
from server.web.site import SIGN_IN, now, render, see_other, set_cookie, site_of, visitor_of


async def sign_in_page(request: web.Request) -> web.Response:
    """The form, or straight on for who is signed in."""
    next_page = local(request.query.get("next"), "")
    if visitor_of(request).account is not None:
        return see_other(next_page or "/")
    return render(request, "entry/sign_in.html", next=next_page, username="")


async def sign_in(request: web.Request) -> web.Response:
    """Check the password, set the cookie; a password to be changed comes first."""
    form, site = await form_of(request), site_of(request)
    username, next_page = form.get("username", ""), local(form.get("next"), "")

    def check(session: Session) -> tuple[str, bool, bool]:
        token = accounts.sign_in_by_password(session, username, tried, now())
        account = accounts.account_of_sign_in(session, token, now())
        return token, account.must_change, account.is_organiser

    try:
        against = await site.database.read(accounts.hash_for, username, now())
        tried = await site.hashing(passwords.compare, against, form.get("password", ""))
        token, must_change, is_organiser = await site.inbox.transact(check)
    except DomainError as error:
        again = f"/sign-in?next={quote(next_page)}" if next_page else "/sign-in"
        return render(
            request,
            "entry/sign_in.html",
            error=error,
            again=again,
            next=next_page,
            username=username,
        )
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
    account, site = require_account(request), site_of(request)
    form = await form_of(request)
    keep = request.cookies.get(SIGN_IN)
    old, new = form.get("old", ""), form.get("new", "")

    def change(session: Session) -> None:
        accounts.change_password(session, account.id, tried, now(), keep=keep)

    try:
        if new != form.get("again", ""):
            raise Invalid(N_("Hai lần nhập mật khẩu mới không giống nhau."))
        against = await site.database.read(accounts.hash_for, account.username, now())
        tried = await site.hashing(passwords.replace, against, old, new)
        await site.inbox.transact(change)
    except DomainError as error:
        return render(request, "entry/password.html", error=error)
    return see_other("/conferences" if account.is_organiser else "/")


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
    web.get("/sign-in", sign_in_page),
    web.post("/sign-in", sign_in),
    web.post("/sign-out", sign_out),
    web.get("/password", password_page),
    web.post("/password", password),
    web.post("/conferences/{slug}/enter", enter),
]
