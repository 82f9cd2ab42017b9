"""Commands of the rooms: check-in, questions, activities; and those that only the server gives."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from server.permissions import Permission as P
from server.protocol.base import Command
from server.protocol.conference_commands import NoteConnected
from server.protocol.values import MAX_ITEMS, MAX_OPTIONS, Id, Line, Optional_line, Text


class QuizItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A single-choice question; ``correct`` is the index of the right option."""

    text: Text
    options: Annotated[tuple[Line, ...], Meta(min_length=2, max_length=MAX_OPTIONS)]
    correct: Annotated[int, Meta(ge=0, lt=MAX_OPTIONS)]
    seconds: Annotated[int, Meta(ge=5, le=3600)] = 30


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


class TakeQuestionDown(Command, frozen=True, kw_only=True):
    """Take a question off every display again: it was put there by mistake. It is approved as
    before, and the recording knows nothing of it."""

    type = "question.take_down"
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


class ProlongItem(Command, frozen=True, kw_only=True):
    """More time for the item that is shown: counted from its deadline while it is open, from now
    where it was closed, until its right answer is shown."""

    type = "activity.prolong"
    permission = P.RUN_ACTIVITY
    run: Id
    seconds: Annotated[int, Meta(ge=5, le=3600)] = 30


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


INTERNAL: frozenset[type[Command]] = frozenset({CountAttendance, ExpireItems, NoteConnected})
"""Commands that only the server itself gives; refused from any client."""
