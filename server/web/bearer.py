"""Bearer tokens (RFC 6750) of encoders, players and viewers."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences.models import Conference
from server.errors import N_, Forbidden, NotFound, Unauthenticated
from server.people.links import actor_of_bearer
from server.permissions import Actor, Permission, Reach, reach
from server.web.site import now, site_of

_MISSING = N_("Cần mã truy cập: Authorization: Bearer ….")
_OTHER = N_("Mã truy cập này không dùng được cho việc này.")


def token_of(request: web.Request) -> str | None:
    """The token of the ``Authorization`` header; None without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _actor(session: Session, token: str, slug: str) -> Actor:
    actor = actor_of_bearer(session, token, now())
    conference_id = session.scalar(select(Conference.id).where(Conference.slug == slug))
    if conference_id is None:
        raise NotFound()
    if conference_id != actor.conference_id:
        raise Forbidden(_OTHER)
    return actor


async def require_bearer(request: web.Request, permission: Permission) -> Actor:
    """Who holds the request's token, for the conference of its address.

    Raises: Unauthenticated (no or wrong token), NotFound (no such conference), Forbidden (a
    token of another conference, or not for this).
    """
    token = token_of(request)
    if token is None:
        raise Unauthenticated(_MISSING)
    slug = request.match_info["conference"]
    actor = await site_of(request).database.read(_actor, token, slug)
    if reach(actor.role, permission) is Reach.NONE:
        raise Forbidden(_OTHER)
    return actor
