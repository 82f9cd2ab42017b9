"""THE wire contract: every command (with its permission) and every event (with its ONE audience).

A command is decoded strictly from a message's body; who sends it comes from the connection.
An event carries only what all of its audience may see. Its *effect* says how a client's state
changes: the same generic reducer (``server/state.py``, ``static/js/state.js``) serves all of them,
so that live pages, replays and tests share one rule. Events only ever gain optional fields.

Times are ISO 8601 strings in UTC (``2023-06-03T01:30:00.123456Z``), made by msgspec from aware
datetimes. Ids are integers, unique within their kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from server.permissions import Permission as P

Id = Annotated[int, Meta(ge=1, lt=2**53)]
Line = Annotated[str, Meta(min_length=1, max_length=300)]
Optional_line = Annotated[str, Meta(max_length=300)]
Text = Annotated[str, Meta(min_length=1, max_length=2000)]
Moment = Annotated[datetime, Meta(tz=True)]
Slug = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
Source = Annotated[str, Meta(pattern=r"^site:[a-z0-9-]+(:screen)?$", max_length=80)]
ConferenceState = Literal["draft", "scheduled", "lobby", "live", "paused", "ended", "archived"]
SiteKind = Literal["main", "remote", "speaker", "online"]
StaffRole = Literal["organiser", "moderator", "speaker", "advisor", "observer"]
LinkRole = Literal["operator", "display", "trainee", "encoder", "viewer"]
Evidence = Literal["qr", "code", "operator", "quiz"]
QuestionState = Literal["asked", "approved", "set_aside", "on_stage", "answered"]
RunState = Literal["open", "closed", "finished"]
MAX_ITEMS = 50
MAX_OPTIONS = 8


# --- effects -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge the event's fields into the object ``state[into]``, or, where ``key`` names a field of
    the event, into the object ``state[into][str(event[key])]``, made where it is missing."""

    into: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete ``state[from_][str(event[key])]``."""

    from_: str
    key: str


@dataclass(frozen=True, slots=True)
class Reload:
    """More changed than is worth telling: the server sends a fresh snapshot after it."""


Effect = Merge | Remove | Reload

# --- commands ------------------------------------------------------------------------------------


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A wish of one actor. ``type`` is its name on the wire."""

    type: ClassVar[str]
    permission: ClassVar[P]


class AgendaEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One planned item. ``id`` is given for an item that exists already."""

    title: Line
    kind: Literal["talk", "break", "questions", "other"] = "talk"
    speaker: Optional_line = ""
    starts_at: Moment
    ends_at: Moment
    id: Id | None = None


class QuizItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A single-choice question; ``correct`` is the index of the right option."""

    text: Text
    options: Annotated[tuple[Line, ...], Meta(min_length=2, max_length=MAX_OPTIONS)]
    correct: Annotated[int, Meta(ge=0, lt=MAX_OPTIONS)]
    seconds: Annotated[int, Meta(ge=5, le=3600)] = 30


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


class CheckIn(Command, frozen=True, kw_only=True):
    """A trainee checks in, with the code of the room's display where they have one."""

    type = "attendance.check_in"
    permission = P.CHECK_IN


class Tick(Command, frozen=True, kw_only=True):
    """An operator checks in somebody of their roster who has no phone."""

    type = "attendance.tick"
    permission = P.TICK_ATTENDANCE
    person: Id


class Untick(Command, frozen=True, kw_only=True):
    """Undo a check-in that was a mistake; the row stays, marked."""

    type = "attendance.untick"
    permission = P.TICK_ATTENDANCE
    person: Id


class CountAttendance(Command, frozen=True, kw_only=True):
    """The server's own: announce counts that changed, at most once a second."""

    type = "attendance.count"
    permission = P.RUN_CONFERENCE


class AskQuestion(Command, frozen=True, kw_only=True):
    """Result ``{"question": id}``."""

    type = "question.ask"
    permission = P.ASK_QUESTION
    text: Text


class ApproveQuestion(Command, frozen=True, kw_only=True):
    """Approve a question, optionally for one appointed speaker or advisor to answer."""

    type = "question.approve"
    permission = P.MODERATE_QUESTIONS
    question: Id
    appointment: Id | None = None


class SetQuestionAside(Command, frozen=True, kw_only=True):
    type = "question.set_aside"
    permission = P.MODERATE_QUESTIONS
    question: Id
    reason: Optional_line = ""


class PutQuestionOnStage(Command, frozen=True, kw_only=True):
    """Show an approved question on every display; the live answer begins now."""

    type = "question.put_on_stage"
    permission = P.MODERATE_QUESTIONS
    question: Id


class FinishQuestion(Command, frozen=True, kw_only=True):
    """The live answer is over; its time in the recording is kept."""

    type = "question.finish"
    permission = P.ANSWER_QUESTION
    question: Id


class AnswerQuestion(Command, frozen=True, kw_only=True):
    """Answer an approved question in writing."""

    type = "question.answer"
    permission = P.ANSWER_QUESTION
    question: Id
    text: Annotated[str, Meta(min_length=1, max_length=8000)]


class CreateActivity(Command, frozen=True, kw_only=True):
    """Prepare a quiz. Result ``{"activity": id}``."""

    type = "activity.create"
    permission = P.MANAGE_ACTIVITY
    title: Line
    items: Annotated[tuple[QuizItem, ...], Meta(min_length=1, max_length=MAX_ITEMS)]


class RemoveActivity(Command, frozen=True, kw_only=True):
    """Remove a quiz that was never run."""

    type = "activity.remove"
    permission = P.MANAGE_ACTIVITY
    activity: Id


class LaunchActivity(Command, frozen=True, kw_only=True):
    """Begin a run and open its first item. Result ``{"run": id}``."""

    type = "activity.launch"
    permission = P.RUN_ACTIVITY
    activity: Id


class NextItem(Command, frozen=True, kw_only=True):
    """Close the open item, if any, and open the next; after the last the run is finished."""

    type = "activity.next"
    permission = P.RUN_ACTIVITY
    run: Id


class CloseItem(Command, frozen=True, kw_only=True):
    """Close the open item now; its chart is shown."""

    type = "activity.close"
    permission = P.RUN_ACTIVITY
    run: Id


class RevealKey(Command, frozen=True, kw_only=True):
    """Show the right answer of the closed item."""

    type = "activity.reveal"
    permission = P.RUN_ACTIVITY
    run: Id


class FinishRun(Command, frozen=True, kw_only=True):
    """End a run and take it off the screens."""

    type = "activity.finish"
    permission = P.RUN_ACTIVITY
    run: Id


class Answer(Command, frozen=True, kw_only=True):
    """A trainee's choice; may be changed until the item closes. Result ``{"option": n}``."""

    type = "activity.answer"
    permission = P.RESPOND
    run: Id
    item: Id
    option: Annotated[int, Meta(ge=0, lt=MAX_OPTIONS)]


class ExpireItems(Command, frozen=True, kw_only=True):
    """The server's own: close items whose deadline has passed, announce how many answered."""

    type = "activity.expire"
    permission = P.RUN_ACTIVITY


INTERNAL: frozenset[type[Command]] = frozenset({CountAttendance, ExpireItems})
"""Commands that only the server itself gives; refused from any client."""


# --- events --------------------------------------------------------------------------------------


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened, heard by one audience. Fields are what the wire's ``data`` holds."""

    type: ClassVar[str]
    audience: ClassVar[P] = P.SEE_CONFERENCE
    effect: ClassVar[Effect]
    replay: ClassVar[bool] = True
    """whether those who watch the replay may see it"""


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
    """How many are expected and present at a site; at most once a second."""

    type = "site.counted"
    effect = Merge("sites", "id")
    id: int
    expected: int
    present: int


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


class CheckedIn(Event, frozen=True, kw_only=True):
    type = "attendance.checked_in"
    audience = P.SEE_ATTENDANCE
    effect = Merge("attendance", "person")
    replay = False
    person: int
    site: int
    checked_in_at: datetime
    evidence: Evidence


class CheckInUndone(Event, frozen=True, kw_only=True):
    type = "attendance.undone"
    audience = P.SEE_ATTENDANCE
    effect = Remove("attendance", "person")
    replay = False
    person: int
    site: int


class QuestionAsked(Event, frozen=True, kw_only=True):
    type = "question.asked"
    audience = P.SEE_QUESTION
    effect = Merge("questions", "id")
    replay = False
    id: int
    site: int
    text: str
    state: QuestionState
    asked_at: datetime
    approved_at: datetime | None
    on_stage_at: datetime | None
    answered_at: datetime | None
    appointment: int | None


class QuestionSent(Event, frozen=True, kw_only=True):
    """Tells the asker's own phone which questions are theirs."""

    type = "question.sent"
    audience = P.SEE_RESPONSE
    effect = Merge("sent", "id")
    replay = False
    id: int


class AskerNamed(Event, frozen=True, kw_only=True):
    """Who asked, for those who may know."""

    type = "question.asker_named"
    audience = P.SEE_ASKER
    effect = Merge("questions", "id")
    replay = False
    id: int
    asker: str
    unit: str


class QuestionApproved(Event, frozen=True, kw_only=True):
    type = "question.approved"
    audience = P.SEE_QUESTION
    effect = Merge("questions", "id")
    replay = False
    id: int
    state: QuestionState
    approved_at: datetime
    appointment: int | None


class QuestionSetAside(Event, frozen=True, kw_only=True):
    type = "question.set_aside"
    audience = P.SEE_QUESTION
    effect = Merge("questions", "id")
    replay = False
    id: int
    state: QuestionState
    reason: str


class QuestionPutOnStage(Event, frozen=True, kw_only=True):
    """From here on the question is public: the event holds all that everyone sees of it."""

    type = "question.put_on_stage"
    effect = Merge("questions", "id")
    id: int
    site: int
    text: str
    state: QuestionState
    asked_at: datetime
    approved_at: datetime | None
    on_stage_at: datetime
    answered_at: datetime | None
    appointment: int | None


class QuestionFinished(Event, frozen=True, kw_only=True):
    """The live answer ended."""

    type = "question.finished"
    effect = Merge("questions", "id")
    id: int
    state: QuestionState
    answered_at: datetime


class QuestionAnswered(Event, frozen=True, kw_only=True):
    """Answered in writing: public with its answer, the event holds all of it."""

    type = "question.answered"
    effect = Merge("questions", "id")
    id: int
    site: int
    text: str
    state: QuestionState
    asked_at: datetime
    approved_at: datetime | None
    on_stage_at: datetime | None
    answered_at: datetime
    appointment: int | None
    answer: str
    answered_by: str


class ActivityCreated(Event, frozen=True, kw_only=True):
    type = "activity.created"
    audience = P.SEE_ACTIVITY
    effect = Merge("activities", "id")
    replay = False
    id: int
    title: str
    items: int


class ActivityRemoved(Event, frozen=True, kw_only=True):
    type = "activity.removed"
    audience = P.SEE_ACTIVITY
    effect = Remove("activities", "id")
    replay = False
    id: int


class ItemOpened(Event, frozen=True, kw_only=True):
    """One item of a run is open for answers until ``deadline_at`` by the server's clock."""

    type = "activity.item_opened"
    effect = Merge("runs", "run")
    run: int
    activity: int
    title: str
    state: RunState
    item: int
    position: int
    items: int
    text: str
    options: tuple[str, ...]
    opened_at: datetime
    deadline_at: datetime
    closed_at: datetime | None
    chart: dict[str, tuple[int, ...]] | None
    """site id → how many chose each option; None while open"""
    correct: int | None
    answered: int


class ItemCounted(Event, frozen=True, kw_only=True):
    """How many have answered so far; at most once a second."""

    type = "activity.counted"
    effect = Merge("runs", "run")
    run: int
    answered: int


class ItemClosed(Event, frozen=True, kw_only=True):
    type = "activity.item_closed"
    effect = Merge("runs", "run")
    run: int
    state: RunState
    closed_at: datetime
    answered: int
    chart: dict[str, tuple[int, ...]]


class KeyRevealed(Event, frozen=True, kw_only=True):
    type = "activity.key_revealed"
    effect = Merge("runs", "run")
    run: int
    correct: int


class KeyKnown(Event, frozen=True, kw_only=True):
    """The right answer of an opened item, for those who may know before the reveal."""

    type = "activity.key_known"
    audience = P.SEE_KEY
    effect = Merge("keys", "item")
    replay = False
    item: int
    key: int


class RunFinished(Event, frozen=True, kw_only=True):
    type = "activity.run_finished"
    effect = Remove("runs", "run")
    run: int


class Answered(Event, frozen=True, kw_only=True):
    """One trainee's own choice, echoed to that trainee alone."""

    type = "activity.answered"
    audience = P.SEE_RESPONSE
    effect = Merge("responses", "item")
    replay = False
    item: int
    run: int
    option: int
    answered_at: datetime


class DisplayAsked(Event, frozen=True, kw_only=True):
    """A display asks to be let in by the room's operator or the desk."""

    type = "seat.asked"
    audience = P.ADMIT_DISPLAY
    effect = Merge("admissions", "seat")
    replay = False
    seat: str
    site: int
    asked_at: datetime


class DisplayAdmitted(Event, frozen=True, kw_only=True):
    type = "seat.admitted"
    audience = P.ADMIT_DISPLAY
    effect = Remove("admissions", "seat")
    replay = False
    seat: str
    site: int
    admitted: bool


# --- media: requests that touch no table, answered by the media worker ---------------------------


class MediaRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Negotiation of a peer connection; same acknowledgement as a command, no journal. Results also
    hold ``ice_servers``, W3C's ``RTCIceServer`` objects: TURN with credentials made at that moment.
    """

    type: ClassVar[str]
    permission: ClassVar[P]


Sdp = Annotated[str, Meta(min_length=1, max_length=200_000)]
Session = Annotated[str, Meta(min_length=1, max_length=80)]


class PublishMedia(MediaRequest, frozen=True, kw_only=True):
    """Publish this seat's site; ``sdp`` is an offer. Result ``{"session", "sdp"}`` (the answer)."""

    type = "media.publish"
    permission = P.PUBLISH
    source: Literal["camera", "screen"]
    sdp: Sdp


class ReceiveMedia(MediaRequest, frozen=True, kw_only=True):
    """Receive by slots; result ``{"session", "sdp"}`` (the server's offer). Mids are ``stage``,
    ``presentation``, ``wall0`` …, ``audio0`` … ``audio2``."""

    type = "media.receive"
    permission = P.RECEIVE
    wall: Annotated[int, Meta(ge=0, le=64)] = 0
    audio: bool = True


class AcceptMedia(MediaRequest, frozen=True, kw_only=True):
    """The page's answer to the offer of ``media.receive`` or of a restart of it."""

    type = "media.accept"
    permission = P.RECEIVE
    session: Session
    sdp: Sdp


class RestartMedia(MediaRequest, frozen=True, kw_only=True):
    """ICE restart: of a published session ``sdp`` is the new offer, the result holds the answer;
    for a received one ``sdp`` is empty and the result holds the server's new offer."""

    type = "media.restart"
    permission = P.SEE_CONFERENCE
    session: Session
    sdp: Annotated[str, Meta(max_length=200_000)] = ""


class CloseMedia(MediaRequest, frozen=True, kw_only=True):
    type = "media.close"
    permission = P.SEE_CONFERENCE
    session: Session


Mid = Annotated[str, Meta(min_length=1, max_length=16)]
Pixels = Annotated[int, Meta(ge=0, le=10_000)]


class ViewMedia(MediaRequest, frozen=True, kw_only=True):
    """How high (in device pixels) a receiving page shows its slots, by mid; 0: not to be seen. What
    is not named gets what is usual. Result ``{}``."""

    type = "media.view"
    permission = P.RECEIVE
    session: Session
    heights: Annotated[dict[Mid, Pixels], Meta(max_length=80)]


class ListenMedia(MediaRequest, frozen=True, kw_only=True):
    """Whether this page can play its room's sound now (``presence`` says whether it shall; until
    then ``listens`` of the handshake holds); ``here``: somebody asks for it to be this page, among
    those of its role. Result ``{}``."""

    type = "media.listen"
    permission = P.RECEIVE
    listens: bool
    here: bool = False


# --- live: fleeting facts that touch no table, last one wins --------------------------------------

LIVE = {
    "clock": "server time at connecting: {at}",
    "presence": "who is here: {site id: {operator: n, display: n, trainee: n, sound: page that plays"
    " the room's sound or null}}, key 0 for no site",
    "publications": "what is being published: {source: {video, audio, alive, picture}}",
    "slots": "what this page's receiving session shows: {session, slots: {mid: source or null}}",
    "speaking": "which sources are heard now: [source]",
    "lines": "uplinks, staff and own site only: {source: {bitrate_bps, loss, width, height}}",
    "downlink": "a session of this page gets smaller pictures than it shows, for its line carries no"
    " more: {session, carries_bps: bit/s, or null once all is well}",
    "downlinks": "such lines, staff only: {source of the site: bit/s}",
    "recording": "how the recording stands: {state, duration_ms}",
    "layers": "which simulcast layers of a publication of this seat are to be sent: {session, rids}",
    "media_closed": "a media session of this seat ended: {session, source, reason}",
    "media_ready": "the media worker is there again after an outage: {}",
}
"""Types of the Socket.IO event ``live`` (a list of {type, data}); clients keep state.live[type]."""


def _leaves(base: type[Any]) -> dict[str, type[Any]]:
    return {cls.type: cls for cls in base.__subclasses__()}


COMMANDS: dict[str, type[Command]] = _leaves(Command)
EVENTS: dict[str, type[Event]] = _leaves(Event)
MEDIA_REQUESTS: dict[str, type[MediaRequest]] = _leaves(MediaRequest)
