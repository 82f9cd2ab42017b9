"""What a media worker should do for one conference, derived from the database.

Grants follow from the one table of permissions: whoever may publish, publishes the camera and
the screen of its own site; whoever may receive, receives all. Trainees hold no grant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences.models import Conference, Site
from server.media.messages import Desired, Grant, Recording
from server.people.models import Link, Seat
from server.permissions import Permission, Reach, Role, reach
from server.recordings import models as recordings

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
        yield link_holder(link_id), Role(role), site_id


def link_holder(link_id: int) -> str:
    """The holder name of a bearer token (encoder, viewer)."""
    return f"link:{link_id}"


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
        )


def _recording(session: Session, conference: Conference, folder: Path) -> Recording | None:
    if conference.state not in RECORDED_STATES or conference.recording is None:
        return None
    row = session.get(recordings.Recording, conference.recording)
    if row is None:
        return None
    zero_us = (row.zero_at - _EPOCH) // (_EPOCH.resolution)
    return Recording(row.id, str(folder / row.id), zero_us, conference.title)
