"""Questions asked, approved, set aside, put on stage, answered."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.conferences.loading import conference_of, one_line, site_of
from server.conferences.models import Appointment, RosterEntry
from server.conferences.rules import OPEN
from server.db.journal import Emit
from server.db.outcome import Actions, Effects, Outcome
from server.errors import N_, Conflict, NotFound
from server.people.models import Person, Unit
from server.permissions import Actor, Role
from server.protocol import (
    AnswerQuestion,
    ApproveQuestion,
    AskerNamed,
    AskQuestion,
    ConferenceMoved,
    Event,
    FinishQuestion,
    PutQuestionOnStage,
    QuestionApproved,
    QuestionFinished,
    QuestionSent,
    QuestionSetAside,
    QuestionState,
    QuestionTakenDown,
    SetQuestionAside,
    TakeQuestionDown,
)
from server.questions import rules
from server.questions.facts import question_answered, question_asked, question_put_on_stage
from server.questions.models import Question

_ANSWERERS = ("speaker", "advisor")


def _load(session: Session, actor: Actor, question_id: int) -> Question:
    conference_of(session, actor, OPEN)
    question = session.get(Question, question_id)
    if question is None or question.conference_id != actor.conference_id:
        raise NotFound(N_("Không tìm thấy câu hỏi này."))
    return question


def _emit(question: Question, event: Event) -> Emit:
    return Emit(event, site_id=question.site_id, person_id=question.person_id)


def _state(question: Question) -> QuestionState:
    return cast(QuestionState, question.state)


def ask_question(session: Session, actor: Actor, command: AskQuestion, now: datetime) -> Outcome:
    """A trainee's question names its asker; a room's names nobody. Result ``{"question": id}``."""
    conference = conference_of(session, actor, OPEN)
    text = one_line(command.text)
    site_id, person_id = actor.site_id, None
    if actor.role is Role.TRAINEE:
        person_id = actor.person_id
        entry = session.get(RosterEntry, (conference.id, person_id)) if person_id else None
        if entry is None:
            raise NotFound(N_("Bạn không có trong danh sách của hội nghị này."))
        site_id = entry.site_id
        _check_waiting(session, conference.id, entry.person_id)
    site = site_of(session, actor, site_id)
    question = Question(
        conference_id=conference.id,
        site_id=site.id,
        person_id=person_id,
        text=text,
        state=rules.ASKED,
        asked_at=now,
    )
    session.add(question)
    session.flush()
    emits = [_emit(question, question_asked(question))]
    if person_id is not None:
        name, unit = _asker(session, person_id)
        emits.append(_emit(question, AskerNamed(id=question.id, asker=name, unit=unit)))
        emits.append(_emit(question, QuestionSent(id=question.id)))
    return Outcome({"question": question.id}, emits)


def _check_waiting(session: Session, conference_id: int, person_id: int) -> None:
    query = select(func.count()).where(
        Question.conference_id == conference_id,
        Question.person_id == person_id,
        Question.state == rules.ASKED,
    )
    if (session.scalar(query) or 0) >= rules.MAX_WAITING:
        raise Conflict(
            N_("Bạn đã có %(count)d câu hỏi đang chờ duyệt. Hãy đợi trả lời rồi hỏi tiếp."),
            count=rules.MAX_WAITING,
        )


def _asker(session: Session, person_id: int) -> tuple[str, str]:
    query = (
        select(Person.name, Unit.name)
        .outerjoin(Unit, Unit.id == Person.unit_id)
        .where(Person.id == person_id)
    )
    name, unit = session.execute(query).one()
    return name, unit or ""


def approve_question(
    session: Session, actor: Actor, command: ApproveQuestion, now: datetime
) -> Outcome:
    """Approving again gives the question to somebody else, or to nobody in particular."""
    question = _load(session, actor, command.question)
    after = rules.step(question.state, rules.APPROVE)
    if command.appointment is not None:
        appointment = session.get(Appointment, command.appointment)
        if (
            appointment is None
            or appointment.conference_id != question.conference_id
            or appointment.dismissed_at is not None
            or appointment.role not in _ANSWERERS
        ):
            raise NotFound(N_("Người được giao trả lời không còn trong hội nghị."))
    question.state = after
    question.approved_at = question.approved_at or now
    question.appointment_id = command.appointment
    event = QuestionApproved(
        id=question.id,
        state=_state(question),
        approved_at=question.approved_at,
        appointment=question.appointment_id,
    )
    return Outcome(emits=[_emit(question, event)])


def set_aside(session: Session, actor: Actor, command: SetQuestionAside, now: datetime) -> Outcome:
    question = _load(session, actor, command.question)
    question.state = rules.step(question.state, rules.PUT_ASIDE)
    question.reason = command.reason.strip()
    event = QuestionSetAside(id=question.id, state=_state(question), reason=question.reason)
    return Outcome(emits=[_emit(question, event)])


def _finish(question: Question, now: datetime) -> Emit:
    question.state = rules.step(question.state, rules.FINISH)
    question.answered_at = now
    event = QuestionFinished(id=question.id, state=_state(question), answered_at=now)
    return _emit(question, event)


def _finish_on_stage(session: Session, conference_id: int, now: datetime) -> list[Emit]:
    query = select(Question).where(
        Question.conference_id == conference_id, Question.state == rules.ON_STAGE
    )
    return [_finish(question, now) for question in session.scalars(query).all()]


def put_on_stage(
    session: Session, actor: Actor, command: PutQuestionOnStage, now: datetime
) -> Outcome:
    """One question at most is on stage: the one before is finished."""
    question = _load(session, actor, command.question)
    after = rules.step(question.state, rules.PUT_ON_STAGE)
    emits = _finish_on_stage(session, question.conference_id, now)
    question.state = after
    question.on_stage_at = now
    return Outcome(emits=[*emits, _emit(question, question_put_on_stage(question))])


def take_down(session: Session, actor: Actor, command: TakeQuestionDown, now: datetime) -> Outcome:
    """As if it had never been on stage: gone for everyone, and there again for whom it was before."""
    question = _load(session, actor, command.question)
    question.state = rules.step(question.state, rules.TAKE_DOWN)
    question.on_stage_at = question.reason = None
    emits = [_emit(question, QuestionTakenDown(id=question.id))]
    emits.append(_emit(question, question_asked(question)))
    if question.person_id is not None:
        name, unit = _asker(session, question.person_id)
        emits.append(_emit(question, AskerNamed(id=question.id, asker=name, unit=unit)))
    return Outcome(emits=emits)


def finish_question(
    session: Session, actor: Actor, command: FinishQuestion, now: datetime
) -> Outcome:
    return Outcome(emits=[_finish(_load(session, actor, command.question), now)])


def answer_question(
    session: Session, actor: Actor, command: AnswerQuestion, now: datetime
) -> Outcome:
    question = _load(session, actor, command.question)
    after = rules.step(question.state, rules.ANSWER)
    answer = one_line(command.text)
    question.state = after
    question.answered_at = now
    question.answer = answer
    question.answered_by = actor.name
    return Outcome(emits=[_emit(question, question_answered(question))])


def finish_with_conference(
    session: Session, actor: Actor, event: ConferenceMoved, now: datetime
) -> list[Emit]:
    """A conference that is no longer open has nothing on stage."""
    if event.state in OPEN or actor.conference_id is None:
        return []
    return _finish_on_stage(session, actor.conference_id, now)


ACTIONS: Actions = {
    AskQuestion: (None, ask_question),
    ApproveQuestion: (None, approve_question),
    SetQuestionAside: (None, set_aside),
    PutQuestionOnStage: (None, put_on_stage),
    TakeQuestionDown: (None, take_down),
    FinishQuestion: (None, finish_question),
    AnswerQuestion: (None, answer_question),
}

EFFECTS: Effects = {ConferenceMoved: finish_with_conference}
