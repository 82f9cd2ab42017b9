"""A question as the events that tell of it."""

from __future__ import annotations

from typing import cast

from server.protocol import QuestionAnswered, QuestionAsked, QuestionPutOnStage, QuestionState
from server.questions.models import Question


def question_asked(question: Question) -> QuestionAsked:
    """All that those who see every question know of it, but for reason and answer."""
    return QuestionAsked(
        id=question.id,
        site=question.site_id,
        text=question.text,
        state=cast(QuestionState, question.state),
        asked_at=question.asked_at,
        approved_at=question.approved_at,
        on_stage_at=question.on_stage_at,
        answered_at=question.answered_at,
        appointment=question.appointment_id,
    )


def question_put_on_stage(question: Question) -> QuestionPutOnStage:
    """The same, on its way to everyone."""
    assert question.on_stage_at is not None
    return QuestionPutOnStage(
        id=question.id,
        site=question.site_id,
        text=question.text,
        state=cast(QuestionState, question.state),
        asked_at=question.asked_at,
        approved_at=question.approved_at,
        on_stage_at=question.on_stage_at,
        answered_at=question.answered_at,
        appointment=question.appointment_id,
    )


def question_answered(question: Question) -> QuestionAnswered:
    """The same with its written answer."""
    assert question.answered_at is not None
    return QuestionAnswered(
        id=question.id,
        site=question.site_id,
        text=question.text,
        state=cast(QuestionState, question.state),
        asked_at=question.asked_at,
        approved_at=question.approved_at,
        on_stage_at=question.on_stage_at,
        answered_at=question.answered_at,
        appointment=question.appointment_id,
        answer=question.answer or "",
        answered_by=question.answered_by or "",
    )
