"""Everyone that a browser may be in a conference: its seats, its account, its viewer's token.

One browser holds several (a room's PC the display and the operator); a page opens where any of
them may open it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences.models import Appointment
from server.errors import DomainError
from server.people.links import actor_of_bearer
from server.people.seats import actors_of_seats
from server.permissions import Actor, Permission, Role, Target, may
from server.web.bearer import token_of
from server.web.entry import seat_cookie, view_cookie
from server.web.site import now, visitor_of


@dataclass(frozen=True, slots=True)
class Keys:
    """What a request shows of itself: cookies, the signed-in account, a bearer's token."""

    cookies: Mapping[str, str]
    account_id: int | None = None
    account_name: str = ""
    bearer: str | None = field(default=None, repr=False)


def keys_of(request: web.Request) -> Keys:
    """The keys of a request."""
    account = visitor_of(request).account
    return Keys(
        dict(request.cookies),
        account.id if account else None,
        account.name if account else "",
        token_of(request),
    )


def actors(
    session: Session, keys: Keys, conference_id: int, recording: str | None = None
) -> Iterator[Actor]:
    """Whom these keys make: tokens and seats (of any conference), appointments (of this one)."""
    viewer = keys.cookies.get(view_cookie(recording)) if recording else None
    for token in filter(None, (keys.bearer, viewer)):
        yield from _known(partial(actor_of_bearer, session, token, now()))
    yield from seated(session, keys.cookies)
    if keys.account_id is not None:
        query = select(Appointment.role).where(
            Appointment.account_id == keys.account_id,
            Appointment.conference_id == conference_id,
            Appointment.dismissed_at.is_(None),
        )
        for role in session.scalars(query):
            yield Actor(
                f"account:{keys.account_id}",
                Role(role),
                conference_id,
                account_id=keys.account_id,
                name=keys.account_name,
            )


def seated(session: Session, cookies: Mapping[str, str]) -> list[Actor]:
    """Whom a browser's seats make: by one query, however many cookies somebody thinks up."""
    prefix = seat_cookie("")
    asked = [(n.removeprefix(prefix), s) for n, s in cookies.items() if n.startswith(prefix)]
    found = actors_of_seats(session, asked) if asked else []
    return [actor for actor in found if isinstance(actor, Actor)]


def _known(find: Callable[[], Actor]) -> list[Actor]:
    try:
        return [find()]
    except DomainError:
        return []


def one_who_may(
    permission: Permission,
    session: Session,
    keys: Keys,
    conference_id: int,
    recording: str | None = None,
) -> Actor | None:
    """The first of the browser's actors with ``permission`` over its own part of the conference."""
    for actor in actors(session, keys, conference_id, recording):
        own = Target(conference_id, actor.site_id, actor.person_id)
        if may(actor, permission, own):
            return actor
    return None
