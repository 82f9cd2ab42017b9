"""Events of a conference itself: life, agenda, sites, roster, stage and floor."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from server.permissions import Permission as P
from server.protocol.base import Event
from server.protocol.effects import Merge, Reload, Remove
from server.protocol.values import ConferenceState, Connected, SiteKind, StaffRole


class ConferenceCreated(Event, frozen=True, kw_only=True):
    type = "conference.created"
    effect = Merge("conference")
    id: int
    slug: str
    title: str
    organiser: str
    timezone: str
    state: ConferenceState
    starts_at: datetime
    ends_at: datetime
    live_at: datetime | None
    ended_at: datetime | None
    recording: str | None
    stage: str | None
    presentation: str | None
    item: int | None


class ConferenceUpdated(Event, frozen=True, kw_only=True):
    type = "conference.updated"
    effect = Merge("conference")
    title: str
    organiser: str
    timezone: str
    starts_at: datetime
    ends_at: datetime


class ConferenceMoved(Event, frozen=True, kw_only=True):
    type = "conference.moved"
    effect = Merge("conference")
    state: ConferenceState
    live_at: datetime | None
    ended_at: datetime | None
    recording: str | None


class Appointed(Event, frozen=True, kw_only=True):
    type = "conference.appointed"
    audience = P.SEE_PEOPLE
    effect = Merge("appointments", "id")
    replay = False
    id: int
    name: str
    role: StaffRole


class Dismissed(Event, frozen=True, kw_only=True):
    type = "conference.dismissed"
    audience = P.SEE_PEOPLE
    effect = Remove("appointments", "id")
    replay = False
    id: int


class AgendaItemSet(Event, frozen=True, kw_only=True):
    type = "agenda.item_set"
    effect = Merge("agenda", "id")
    id: int
    position: int
    title: str
    kind: str
    speaker: str
    starts_at: datetime
    ends_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class AgendaItemRemoved(Event, frozen=True, kw_only=True):
    type = "agenda.item_removed"
    effect = Remove("agenda", "id")
    id: int


class AgendaItemStarted(Event, frozen=True, kw_only=True):
    type = "agenda.item_started"
    effect = Merge("agenda", "id")
    id: int
    started_at: datetime
    ended_at: datetime | None


class AgendaItemEnded(Event, frozen=True, kw_only=True):
    type = "agenda.item_ended"
    effect = Merge("agenda", "id")
    id: int
    ended_at: datetime


class AgendaMoved(Event, frozen=True, kw_only=True):
    """Which item is under way now."""

    type = "agenda.moved"
    effect = Merge("conference")
    item: int | None


class SiteAdded(Event, frozen=True, kw_only=True):
    type = "site.added"
    effect = Merge("sites", "id")
    id: int
    slug: str
    name: str
    kind: SiteKind
    position: int
    expected: int
    present: int
    muted: bool
    floor_since: datetime | None
    spoken_s: int
    operator: Connected | None = None
    display: Connected | None = None


class SiteUpdated(Event, frozen=True, kw_only=True):
    type = "site.updated"
    effect = Merge("sites", "id")
    id: int
    name: str
    kind: SiteKind


class SiteRemoved(Event, frozen=True, kw_only=True):
    type = "site.removed"
    effect = Remove("sites", "id")
    id: int


class SiteMuted(Event, frozen=True, kw_only=True):
    type = "site.muted"
    effect = Merge("sites", "id")
    id: int
    muted: bool


class SiteCounted(Event, frozen=True, kw_only=True):
    """How many are expected and present at a site; at most once a second. Who does not hear it
    has 0 for both."""

    type = "site.counted"
    audience = P.SEE_PROGRESS
    effect = Merge("sites", "id")
    id: int
    expected: int
    present: int


class SiteConnected(Event, frozen=True, kw_only=True):
    """The operator's page or the display of a room came, or left for longer than a reload or a new start
    of the server takes. It holds the one that did."""

    type = "site.connected"
    audience = P.SEE_LINES
    effect = Merge("sites", "id")
    replay = False
    id: int
    operator: Connected | None = None
    display: Connected | None = None


class RosterImported(Event, frozen=True, kw_only=True):
    type = "roster.imported"
    audience = P.SEE_ROSTER
    effect = Reload()
    replay = False
    site: int
    count: int


class RosterEntryRemoved(Event, frozen=True, kw_only=True):
    type = "roster.removed"
    audience = P.SEE_ROSTER
    effect = Remove("roster", "person")
    replay = False
    site: int
    person: int


class StageShown(Event, frozen=True, kw_only=True):
    type = "stage.shown"
    effect = Merge("conference")
    stage: str | None


class StagePresented(Event, frozen=True, kw_only=True):
    type = "stage.presented"
    effect = Merge("conference")
    presentation: str | None


class FloorGiven(Event, frozen=True, kw_only=True):
    type = "floor.given"
    effect = Merge("sites", "id")
    id: int
    floor_since: datetime


class FloorTaken(Event, frozen=True, kw_only=True):
    type = "floor.taken"
    effect = Merge("sites", "id")
    id: int
    floor_since: None
    spoken_s: int
    """how long the site has held the floor in all, in seconds"""


class FloorRequested(Event, frozen=True, kw_only=True):
    type = "floor.requested"
    effect = Merge("requests", "id")
    id: int
    site: int
    reason: str
    requested_at: datetime


class FloorRequestClosed(Event, frozen=True, kw_only=True):
    """A request was granted, withdrawn or declined."""

    type = "floor.request_closed"
    effect = Remove("requests", "id")
    id: int
    outcome: Literal["granted", "withdrawn", "declined"]
