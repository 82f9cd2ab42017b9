"""Load what a command names, within the actor's conference alone."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy.orm import Session

from server.conferences.models import Conference, Site
from server.conferences.rules import require_state
from server.errors import N_, Invalid, NotFound
from server.permissions import Actor


def conference_of(
    session: Session, actor: Actor, allowed: Collection[str] | None = None
) -> Conference:
    """The actor's conference. Raises: NotFound; Conflict where its state is not ``allowed``."""
    conference = None
    if actor.conference_id is not None:
        conference = session.get(Conference, actor.conference_id)
    if conference is None:
        raise NotFound(N_("Không tìm thấy hội nghị này."))
    if allowed is not None:
        require_state(conference.state, allowed)
    return conference


def site_of(session: Session, actor: Actor, site_id: int | None) -> Site:
    """A site of the actor's conference. Raises: NotFound."""
    site = None if site_id is None else session.get(Site, site_id)
    if site is None or site.conference_id != actor.conference_id:
        raise NotFound(N_("Không tìm thấy điểm cầu này."))
    return site


def one_line(text: str) -> str:
    """``text`` without white space around it. Raises: Invalid where nothing is left."""
    stripped = text.strip()
    if not stripped:
        raise Invalid(N_("Hãy nhập nội dung, không để trống."))
    return stripped
