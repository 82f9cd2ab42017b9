"""Events of the rooms: check-in, questions, activities, and displays that ask to be let in."""

from __future__ import annotations

from datetime import datetime

from server.permissions import Permission as P
from server.protocol.base import Event
from server.protocol.effects import Merge, Remove
from server.protocol.values import Evidence, QuestionState, RunState


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


class QuestionTakenDown(Event, frozen=True, kw_only=True):
    """It is public no longer; those who know of it all the same hear it anew."""

    type = "question.taken_down"
    effect = Remove("questions", "id")
    id: int


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


class ItemProlonged(Event, frozen=True, kw_only=True):
    """The item that is shown is open, again where it was closed, until another ``deadline_at``. As of
    an item that is opened, its counts are others' to hear."""

    type = "activity.item_prolonged"
    effect = Merge("runs", "run")
    run: int
    state: RunState
    deadline_at: datetime
    closed_at: datetime | None
    chart: dict[str, tuple[int, ...]] | None
    answered: int


class ItemCounted(Event, frozen=True, kw_only=True):
    """How many have answered so far; at most once a second. Who does not hear it has 0 until the
    item is closed."""

    type = "activity.counted"
    audience = P.SEE_PROGRESS
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
