"""Sites (điểm cầu) of a conference."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import get_args

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from server.conferences.facts import connected, site_added
from server.conferences.loading import conference_of, one_line, site_of
from server.conferences.models import Conference, FloorRequest, RosterEntry, Site
from server.conferences.rules import CHANGEABLE, DRAFT, OPEN, SCHEDULED, free_slug
from server.db.journal import Emit, JournalEntry, of_types
from server.db.outcome import Actions, Outcome
from server.errors import N_, Conflict
from server.people.models import Link, Seat
from server.people.names import folded, slugify
from server.permissions import Actor
from server.protocol import (
    AddSite,
    CheckedIn,
    MuteSite,
    NoteConnected,
    QuestionAsked,
    RemoveSite,
    RoomRole,
    SiteAdded,
    SiteConnected,
    SiteMuted,
    SiteRemoved,
    SiteUpdated,
    UpdateSite,
)

_HISTORY = (CheckedIn.type, QuestionAsked.type)
"""Events of a site after which it stays, since rows of other rooms point at it."""


def sites_of(session: Session, conference_id: int) -> Sequence[Site]:
    """The sites in their order."""
    query = select(Site).where(Site.conference_id == conference_id)
    return session.scalars(query.order_by(Site.position, Site.id)).all()


def add_site(session: Session, actor: Actor, command: AddSite, now: datetime) -> Outcome:
    """Result ``{"site": id, "slug": slug}``."""
    conference = conference_of(session, actor, CHANGEABLE)
    name = one_line(command.name)
    others = sites_of(session, conference.id)
    _require_new_name(name, others)
    taken = {site.slug for site in others}
    if command.slug is not None and command.slug in taken:
        raise Conflict(N_("Đã có điểm cầu mang mã “%(slug)s”."), slug=command.slug)
    site = Site(
        conference_id=conference.id,
        slug=command.slug or free_slug(slugify(name) or "diem-cau", taken),
        name=name,
        kind=command.kind,
        position=max((other.position for other in others), default=0) + 1,
        expected=0,
        present=0,
        muted=False,
        spoken_s=0,
    )
    session.add(site)
    session.flush()
    event: SiteAdded = site_added(site)
    return Outcome({"site": site.id, "slug": site.slug}, [Emit(event, site_id=site.id)])


def _require_new_name(name: str, others: Sequence[Site]) -> None:
    for other in others:
        if folded(other.name) == folded(name):
            raise Conflict(N_("Đã có điểm cầu “%(name)s”."), name=other.name)


def update_site(session: Session, actor: Actor, command: UpdateSite, now: datetime) -> Outcome:
    conference = conference_of(session, actor, CHANGEABLE)
    site = site_of(session, actor, command.site)
    name = one_line(command.name)
    if folded(name) != folded(site.name):
        _require_new_name(name, sites_of(session, conference.id))
    if command.kind == "online" and _is_shown(conference, site):
        raise Conflict(N_("Điểm “%(name)s” đang được đưa lên hình."), name=site.name)
    site.name = name
    site.kind = command.kind
    event = SiteUpdated(id=site.id, name=site.name, kind=command.kind)
    return Outcome(emits=[Emit(event, site_id=site.id)])


def _is_shown(conference: Conference, site: Site) -> bool:
    sources = (f"site:{site.slug}", f"site:{site.slug}:screen")
    on_screen = conference.stage in sources or conference.presentation in sources
    return on_screen or site.floor_since is not None


def remove_site(session: Session, actor: Actor, command: RemoveSite, now: datetime) -> Outcome:
    """Remove a site that has neither people nor a history, with its links and seats.

    Result ``{"revoked": [seat id]}``.
    """
    conference = conference_of(session, actor, {DRAFT, SCHEDULED})
    site = site_of(session, actor, command.site)
    expected = select(RosterEntry.person_id).where(RosterEntry.site_id == site.id)
    if session.scalar(expected.limit(1)) is not None:
        raise Conflict(N_("Điểm “%(name)s” còn học viên trong danh sách."), name=site.name)
    history = select(JournalEntry.seq).where(
        of_types(conference.id, _HISTORY), JournalEntry.site_id == site.id
    )
    if session.scalar(history.limit(1)) is not None:
        raise Conflict(
            N_("Điểm “%(name)s” đã có điểm danh hoặc câu hỏi nên không xóa được."),
            name=site.name,
        )
    seats = list(session.scalars(select(Seat.id).where(Seat.site_id == site.id)))
    for table in (Seat, Link, FloorRequest):
        session.execute(delete(table).where(table.site_id == site.id))
    session.delete(site)
    session.flush()
    return Outcome({"revoked": seats}, [Emit(SiteRemoved(id=command.site))])


def mute_site(session: Session, actor: Actor, command: MuteSite, now: datetime) -> Outcome:
    conference_of(session, actor, OPEN)
    site = site_of(session, actor, command.site)
    if site.muted == command.muted:
        return Outcome()
    site.muted = command.muted
    return Outcome(emits=[Emit(SiteMuted(id=site.id, muted=site.muted), site_id=site.id)])


def note_connected(
    session: Session, actor: Actor, command: NoteConnected, now: datetime
) -> Outcome:
    """A site that is no more is let be."""
    conference = conference_of(session, actor, CHANGEABLE)
    sites = {site.id: site for site in sites_of(session, conference.id)}
    emits: list[Emit] = []
    for page in command.pages:
        site = sites.get(page.site)
        if site is None:
            continue
        if page.here:
            setattr(site, f"{page.role}_since", page.at)
        setattr(site, f"{page.role}_until", None if page.here else page.at)
        stay = {page.role: connected(site, page.role)}
        emits.append(Emit(SiteConnected(id=site.id, **stay), site_id=site.id))
    return Outcome(emits=emits)


def noted_as_connected(session: Session) -> list[tuple[int, int, RoomRole]]:
    """(conference, site, role) of the pages that are noted as being there, in all conferences that
    are not over."""
    going_on = select(Conference.id).where(Conference.state.in_(CHANGEABLE))
    sites = session.scalars(select(Site).where(Site.conference_id.in_(going_on)))
    return [
        (site.conference_id, site.id, role)
        for site in sites
        for role in get_args(RoomRole)
        if (stay := connected(site, role)) is not None and stay.until is None
    ]


ACTIONS: Actions = {
    AddSite: (None, add_site),
    UpdateSite: (None, update_site),
    RemoveSite: (None, remove_site),
    MuteSite: (None, mute_site),
    NoteConnected: (None, note_connected),
}
