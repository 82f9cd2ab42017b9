"""Rows as the events that tell of them: what makes an event also makes the snapshot."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from server.conferences.models import AgendaItem, Conference, FloorRequest, Site
from server.protocol import (
    AgendaItemSet,
    ConferenceCreated,
    ConferenceState,
    Connected,
    FloorRequested,
    RoomRole,
    SiteAdded,
    SiteKind,
)


def conference_created(conference: Conference) -> ConferenceCreated:
    """All that everyone in a conference knows of it."""
    return ConferenceCreated(
        id=conference.id,
        slug=conference.slug,
        title=conference.title,
        organiser=conference.organiser,
        timezone=conference.timezone,
        state=cast(ConferenceState, conference.state),
        starts_at=conference.starts_at,
        ends_at=conference.ends_at,
        live_at=conference.live_at,
        ended_at=conference.ended_at,
        recording=conference.recording,
        stage=conference.stage,
        presentation=conference.presentation,
        item=conference.item_id,
    )


def connected(site: Site, role: RoomRole) -> Connected | None:
    """Since when a room's page of that role is there, or was; None where it never came."""
    since: datetime | None = getattr(site, f"{role}_since")
    return None if since is None else Connected(since, getattr(site, f"{role}_until"))


def site_added(site: Site, counted: bool = True, seen: bool = True) -> SiteAdded:
    """All of a site: how many are expected and present where they are ``counted``, and since when its
    pages are connected where that may be ``seen``."""
    return SiteAdded(
        id=site.id,
        slug=site.slug,
        name=site.name,
        kind=cast(SiteKind, site.kind),
        position=site.position,
        expected=site.expected if counted else 0,
        present=site.present if counted else 0,
        muted=site.muted,
        floor_since=site.floor_since,
        spoken_s=site.spoken_s,
        operator=connected(site, "operator") if seen else None,
        display=connected(site, "display") if seen else None,
    )


def agenda_item_set(item: AgendaItem) -> AgendaItemSet:
    """All of an agenda item."""
    return AgendaItemSet(
        id=item.id,
        position=item.position,
        title=item.title,
        kind=item.kind,
        speaker=item.speaker,
        starts_at=item.starts_at,
        ends_at=item.ends_at,
        started_at=item.started_at,
        ended_at=item.ended_at,
    )


def floor_requested(request: FloorRequest) -> FloorRequested:
    """All of a raised hand that waits."""
    return FloorRequested(
        id=request.id,
        site=request.site_id,
        reason=request.reason,
        requested_at=request.requested_at,
    )
