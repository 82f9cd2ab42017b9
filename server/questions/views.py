"""Snapshot part: questions, each with what its reader may see; and the list for reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from server.conferences.models import Site
from server.db.lists import among
from server.db.once import Once
from server.people.models import Person, Unit
from server.permissions import Actor, Permission, Target, may
from server.questions.facts import question_asked
from server.questions.models import Question
from server.questions.rules import PUBLIC


def _with_askers(conference_id: int | None) -> Select[Question, str, str]:
    return (
        select(Question, Person.name, Unit.name)
        .outerjoin(Person, Person.id == Question.person_id)
        .outerjoin(Unit, Unit.id == Person.unit_id)
        .where(Question.conference_id == conference_id)
        .order_by(Question.asked_at, Question.id)
    )


def part(once: Once, actor: Actor, now: datetime) -> dict[str, Any]:
    """``questions``: id → what ``actor``'s events have told of it."""
    return {"questions": _questions(once(_all_asked, actor.conference_id), actor)}


def _all_asked(session: Session, conference_id: int | None) -> Sequence[Row[Question, str, str]]:
    return session.execute(_with_askers(conference_id)).all()


def own(session: Session, actors: Sequence[Actor], now: datetime) -> list[dict[str, Any]]:
    """``questions`` that each person asked; ``sent``: their ids. ``actors`` are of one conference."""
    persons = [actor.person_id for actor in actors if actor.person_id is not None]
    asked: dict[int | None, list[Row[Question, str, str]]] = {}
    if persons:
        query = _with_askers(actors[0].conference_id).where(among(Question.person_id, "persons"))
        for row in session.execute(query, {"persons": persons}):
            asked.setdefault(row[0].person_id, []).append(row)
    return [_own(actor, asked.get(actor.person_id, [])) for actor in actors]


def _own(actor: Actor, rows: Sequence[Row[Question, str, str]]) -> dict[str, Any]:
    if actor.person_id is None:
        return {"sent": {}}
    sent = {str(q.id): {"id": q.id} for q, *_who in rows if _is_own(actor, q)}
    return {"questions": _questions(rows, actor), "sent": sent}


def _questions(rows: Iterable[Row[Question, str, str]], actor: Actor) -> dict[str, Any]:
    seen = ((row[0].id, _seen(actor, row)) for row in rows)
    return {str(number): known for number, known in seen if known is not None}


def _is_own(actor: Actor, question: Question) -> bool:
    target = Target(question.conference_id, question.site_id, question.person_id)
    return question.person_id is not None and may(actor, Permission.SEE_RESPONSE, target)


def _seen(actor: Actor, row: Row[Question, str, str]) -> dict[str, Any] | None:
    question, asker, unit = row
    target = Target(question.conference_id, question.site_id, question.person_id)
    sees_all = may(actor, Permission.SEE_QUESTION, target)
    is_public = question.state in PUBLIC and may(actor, Permission.SEE_CONFERENCE, target)
    if not (sees_all or is_public):
        return None
    seen: dict[str, Any] = msgspec.to_builtins(question_asked(question))
    if sees_all and question.reason is not None:
        seen["reason"] = question.reason
    if question.answer is not None:
        seen["answer"] = question.answer
        seen["answered_by"] = question.answered_by or ""
    if asker is not None and may(actor, Permission.SEE_ASKER, target):
        seen["asker"] = asker
        seen["unit"] = unit or ""
    return seen


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """A question for reports, with all that staff may know."""

    question: Question
    site_name: str
    asker: str
    unit: str


def listed(session: Session, conference_id: int) -> Sequence[QuestionRow]:
    """All questions of a conference as they were asked."""
    query = select(Site.id, Site.name).where(Site.conference_id == conference_id)
    sites = {site_id: name for site_id, name in session.execute(query)}
    return [
        QuestionRow(question, sites[question.site_id], asker or "", unit or "")
        for question, asker, unit in _all_asked(session, conference_id)
    ]
