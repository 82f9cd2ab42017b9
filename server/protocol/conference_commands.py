"""Commands about a conference itself: life, agenda, sites, roster, links, seats, stage and floor."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from server.permissions import Permission as P
from server.protocol.base import Command
from server.protocol.values import (
    ConferenceState,
    Id,
    Line,
    LinkRole,
    Moment,
    Optional_line,
    RoomRole,
    SiteKind,
    Slug,
    Source,
    StaffRole,
)


class AgendaEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One planned item. ``id`` is given for an item that exists already."""

    title: Line
    kind: Literal["talk", "break", "questions", "other"] = "talk"
    speaker: Optional_line = ""
    starts_at: Moment
    ends_at: Moment
    id: Id | None = None


class RosterRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One trainee of a roster. An empty ``code`` lets the server draw one."""

    name: Line
    site: Slug
    code: Annotated[str, Meta(max_length=40)] = ""
    unit: Optional_line = ""
    post: Optional_line = ""
    group: Optional_line = ""


class CreateConference(Command, frozen=True, kw_only=True):
    """Make a draft; its maker becomes its organiser. Result ``{"conference": slug, "id": id}``."""

    type = "conference.create"
    permission = P.MANAGE_CONFERENCE
    title: Line
    organiser: Optional_line = ""
    starts_at: Moment
    ends_at: Moment
    timezone: Annotated[str, Meta(max_length=60)] = "Asia/Ho_Chi_Minh"
    slug: Slug | None = None


class UpdateConference(Command, frozen=True, kw_only=True):
    type = "conference.update"
    permission = P.MANAGE_CONFERENCE
    title: Line
    organiser: Optional_line = ""
    starts_at: Moment
    ends_at: Moment
    timezone: Annotated[str, Meta(max_length=60)] = "Asia/Ho_Chi_Minh"


class MoveConference(Command, frozen=True, kw_only=True):
    """Move along the life cycle (conferences/rules.py has the table)."""

    type = "conference.move"
    permission = P.RUN_CONFERENCE
    to: ConferenceState


class Appoint(Command, frozen=True, kw_only=True):
    """Appoint an account, by its sign-in name, to this conference."""

    type = "conference.appoint"
    permission = P.MANAGE_CONFERENCE
    username: Line
    role: StaffRole


class Dismiss(Command, frozen=True, kw_only=True):
    type = "conference.dismiss"
    permission = P.MANAGE_CONFERENCE
    appointment: Id


class SetAgenda(Command, frozen=True, kw_only=True):
    """Replace the whole agenda; items that carry an id keep it and their actual times."""

    type = "agenda.set"
    permission = P.MANAGE_CONFERENCE
    items: Annotated[tuple[AgendaEntry, ...], Meta(max_length=200)]


class StartItem(Command, frozen=True, kw_only=True):
    """Begin an agenda item now; the one under way ends now. None only ends it."""

    type = "agenda.start"
    permission = P.RUN_CONFERENCE
    item: Id | None


class AddSite(Command, frozen=True, kw_only=True):
    type = "site.add"
    permission = P.MANAGE_CONFERENCE
    name: Line
    kind: SiteKind = "remote"
    slug: Slug | None = None


class UpdateSite(Command, frozen=True, kw_only=True):
    type = "site.update"
    permission = P.MANAGE_CONFERENCE
    site: Id
    name: Line
    kind: SiteKind


class RemoveSite(Command, frozen=True, kw_only=True):
    type = "site.remove"
    permission = P.MANAGE_CONFERENCE
    site: Id


class MuteSite(Command, frozen=True, kw_only=True):
    """The server stops (or resumes) forwarding a site's sound, whatever its floor."""

    type = "site.mute"
    permission = P.DIRECT
    site: Id
    muted: bool


class RoomPage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One kind of page of a room: since ``at`` it is connected, or is not any more."""

    site: Id
    role: RoomRole
    here: bool
    at: Moment


class NoteConnected(Command, frozen=True, kw_only=True):
    """The server's own: which rooms' pages came and left."""

    type = "site.note_connected"
    permission = P.RUN_CONFERENCE
    pages: tuple[RoomPage, ...]


class ImportRoster(Command, frozen=True, kw_only=True):
    """Add or update trainees; rows with a known code update that person. Sites must exist."""

    type = "roster.import"
    permission = P.MANAGE_CONFERENCE
    rows: Annotated[tuple[RosterRow, ...], Meta(min_length=1, max_length=60_000)]


class RemoveFromRoster(Command, frozen=True, kw_only=True):
    type = "roster.remove"
    permission = P.MANAGE_CONFERENCE
    person: Id


class CreateLink(Command, frozen=True, kw_only=True):
    """A link for a role; result ``{"token", "link"}``, shown once. ``site`` where it has one."""

    type = "link.create"
    permission = P.MANAGE_CONFERENCE
    role: LinkRole
    site: Id | None = None


class RevokeLink(Command, frozen=True, kw_only=True):
    """Revoke a link and every seat that came of it."""

    type = "link.revoke"
    permission = P.MANAGE_CONFERENCE
    link: Id


class RevokeSeat(Command, frozen=True, kw_only=True):
    type = "seat.revoke"
    permission = P.MANAGE_CONFERENCE
    seat: Annotated[str, Meta(max_length=40)]


class AdmitDisplay(Command, frozen=True, kw_only=True):
    """Let in (or turn away) a display that asked to join by PIN."""

    type = "seat.admit"
    permission = P.ADMIT_DISPLAY
    seat: Annotated[str, Meta(max_length=40)]
    admit: bool = True


class ResetPhone(Command, frozen=True, kw_only=True):
    """Free a trainee of the phone that their code is bound to, so that another can take its place."""

    type = "phone.reset"
    permission = P.RESET_PHONE
    person: Id


class ShowOnStage(Command, frozen=True, kw_only=True):
    """Put a source on stage, or nothing."""

    type = "stage.show"
    permission = P.DIRECT
    source: Source | None


class Present(Command, frozen=True, kw_only=True):
    """Put a presentation beside the stage, or nothing."""

    type = "stage.present"
    permission = P.DIRECT
    source: Source | None


class GiveFloor(Command, frozen=True, kw_only=True):
    """Give a site the floor; ``alone`` takes it from all others. Its open request is granted."""

    type = "floor.give"
    permission = P.DIRECT
    site: Id
    alone: bool = True
    stage: bool = True
    """also put its camera on stage"""


class TakeFloor(Command, frozen=True, kw_only=True):
    type = "floor.take"
    permission = P.DIRECT
    site: Id


class RequestFloor(Command, frozen=True, kw_only=True):
    type = "floor.request"
    permission = P.REQUEST_FLOOR
    reason: Optional_line = ""


class WithdrawRequest(Command, frozen=True, kw_only=True):
    type = "floor.withdraw"
    permission = P.REQUEST_FLOOR


class DeclineRequest(Command, frozen=True, kw_only=True):
    type = "floor.decline"
    permission = P.DIRECT
    request: Id
