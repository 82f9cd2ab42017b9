"""What a media worker should do for one conference, derived from the database.

Grants follow from the one table of permissions: whoever may publish, publishes the camera and
the screen of its own site; whoever may receive, receives all. Trainees hold no grant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences.models import Conference, Site
from server.media.messages import Desired, Grant, Recording
from server.people.links import bearer_name
from server.people.models import Link, Seat
from server.permissions import Permission, Reach, Role, reach
from server.recorder.timeline import Timeline
from server.recordings import models as recordings

log = structlog.get_logger(__name__)

MEDIA_STATES = frozenset({"scheduled", "lobby", "live", "paused"})
"""States of a conference in which its seats may publish and receive."""
RECORDED_STATES = frozenset({"live", "paused"})
PUBLISHING_KINDS = frozenset({"main", "remote", "speaker"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Derived:
    """A conference's wanted state without its revision; equal ones need not be sent again."""

    slug: str
    sites: Mapping[str, int]
    grants: Mapping[str, Grant]
    stage: str | None
    presentation: str | None
    floor: tuple[str, ...]
    wall: tuple[str, ...]
    recording: Recording | None

    def document(self, revision: int) -> Desired:
        """The message to the worker."""
        return Desired(
            self.slug,
            revision,
            dict(self.grants),
            self.stage,
            self.presentation,
            self.floor,
            self.wall,
            self.recording,
        )


def open_conferences(session: Session) -> list[int]:
    """Ids of the conferences that take media now."""
    return list(session.scalars(select(Conference.id).where(Conference.state.in_(MEDIA_STATES))))


def takes_media(session: Session, slug: str) -> bool:
    """Is this an open conference?"""
    return session.scalar(select(Conference.state).where(Conference.slug == slug)) in MEDIA_STATES


def unfinished(session: Session, since: datetime, recordings_dir: Path) -> list[Derived]:
    """Conferences that have ended since, and whose recordings have not: who was to end them died."""
    query = (
        select(Conference, recordings.Recording)
        .join(recordings.Recording, recordings.Recording.id == Conference.recording)
        .where(
            recordings.Recording.ended_at > since,
            Conference.state.not_in(MEDIA_STATES),
        )
    )
    return [
        over(conference.slug, _described(row, conference.title, recordings_dir), row.ended_at)
        for conference, row in session.execute(query)
        if row.ended_at is not None and _goes_on(recordings_dir / row.id)
    ]


def _goes_on(folder: Path) -> bool:
    """Is there a recording that does not say that it has ended?"""
    path = folder / "timeline.json"
    try:
        return path.exists() and not Timeline.load(path, 0).ended
    except (OSError, ValueError, KeyError):
        log.exception("recording cannot be read", path=str(path))
        return False


def over(slug: str, recording: Recording, at: datetime) -> Derived:
    """Nobody may do anything any more, and the recording ends at that moment."""
    ended = msgspec.structs.replace(recording, end_us=_us(at))
    return Derived(slug, {}, {}, None, None, (), (), ended)


def derive(
    session: Session, conference_id: int, now: datetime, recordings_dir: Path
) -> Derived | None:
    """The wanted state of a conference; None where it takes no media (or is unknown)."""
    conference = session.get(Conference, conference_id)
    if conference is None or conference.state not in MEDIA_STATES:
        return None
    query = select(Site).where(Site.conference_id == conference_id).order_by(Site.position, Site.id)
    sites = list(session.scalars(query))
    slugs = {site.id: site.slug for site in sites}
    holding = sorted(
        (site.floor_since, site.position, site.slug)
        for site in sites
        if site.floor_since is not None and not site.muted
    )
    # In a break nobody is on stage and nobody is heard: microphones are forgotten open.
    on_air = conference.state != "paused"
    return Derived(
        slug=conference.slug,
        sites={site.slug: site.id for site in sites},
        grants=dict(_grants(_holders(session, conference_id, now), slugs)),
        stage=conference.stage if on_air else None,
        presentation=conference.presentation if on_air else None,
        floor=tuple(f"site:{slug}" for _since, _position, slug in holding if on_air),
        wall=tuple(f"site:{site.slug}" for site in sites if site.kind in PUBLISHING_KINDS),
        recording=_recording(session, conference, recordings_dir),
    )


Holder = tuple[str, Role, int | None]


def _holders(session: Session, conference_id: int, now: datetime) -> Iterable[Holder]:
    """Public id, role and site of every live seat and bearer token."""
    roles = [role for role in Role if _may_media(role)]
    seats = select(Seat.id, Seat.role, Seat.site_id).where(
        Seat.conference_id == conference_id,
        Seat.revoked_at.is_(None),
        Seat.admitted_at.is_not(None),
        Seat.role.in_(roles),
    )
    for seat_id, role, site_id in session.execute(seats):
        yield seat_id, Role(role), site_id
    tokens = select(Link.id, Link.role, Link.site_id).where(
        Link.conference_id == conference_id,
        Link.role.in_([Role.ENCODER, Role.VIEWER]),
        Link.revoked_at.is_(None),
        Link.expires_at > now,
    )
    for link_id, role, site_id in session.execute(tokens):
        yield bearer_name(link_id), Role(role), site_id


def _may_media(role: Role) -> bool:
    return any(reach(role, p) > Reach.NONE for p in (Permission.PUBLISH, Permission.RECEIVE))


def _grants(holders: Iterable[Holder], slugs: Mapping[int, str]) -> Iterable[tuple[str, Grant]]:
    for holder, role, site_id in holders:
        own = f"site:{slugs[site_id]}" if site_id is not None and site_id in slugs else None
        may_publish = own is not None and reach(role, Permission.PUBLISH) > Reach.NONE
        yield holder, Grant(
            publish=(own, f"{own}:screen") if may_publish and own else (),
            receive=reach(role, Permission.RECEIVE) > Reach.NONE,
            own=own,
            direct=reach(role, Permission.DIRECT) > Reach.NONE,
        )


def _recording(session: Session, conference: Conference, folder: Path) -> Recording | None:
    if conference.state not in RECORDED_STATES or conference.recording is None:
        return None
    row = session.get(recordings.Recording, conference.recording)
    return None if row is None else _described(row, conference.title, folder)


def _described(row: recordings.Recording, title: str, folder: Path) -> Recording:
    return Recording(row.id, str(folder / row.id), _us(row.zero_at), title)


def _us(at: datetime) -> int:
    return (at - _EPOCH) // _EPOCH.resolution
