"""Quizzes as they are prepared."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from server.activities.models import Activity, Item, Run
from server.conferences.loading import conference_of, one_line
from server.conferences.rules import CHANGEABLE
from server.db.journal import Emit
from server.db.outcome import Actions, Outcome
from server.errors import N_, Conflict, Invalid, NotFound
from server.permissions import Actor
from server.protocol import ActivityCreated, ActivityRemoved, CreateActivity, RemoveActivity


def activity_of(session: Session, actor: Actor, activity_id: int) -> Activity:
    """A quiz of the actor's conference. Raises: NotFound."""
    activity = session.get(Activity, activity_id)
    if activity is None or activity.conference_id != actor.conference_id:
        raise NotFound(N_("Không tìm thấy bài trắc nghiệm này."))
    return activity


def create_activity(
    session: Session, actor: Actor, command: CreateActivity, now: datetime
) -> Outcome:
    conference = conference_of(session, actor, CHANGEABLE)
    title = one_line(command.title)
    for number, item in enumerate(command.items, 1):
        if item.correct >= len(item.options):
            raise Invalid(
                N_("Câu %(number)d: đáp án đúng không có trong các lựa chọn."), number=number
            )
        if not item.text.strip() or not all(option.strip() for option in item.options):
            raise Invalid(
                N_("Câu %(number)d: nội dung và lựa chọn không được để trống."), number=number
            )
    activity = Activity(conference_id=conference.id, title=title, created_at=now)
    session.add(activity)
    session.flush()
    for position, item in enumerate(command.items, 1):
        session.add(
            Item(
                activity_id=activity.id,
                position=position,
                text=item.text.strip(),
                options=[option.strip() for option in item.options],
                correct=item.correct,
                seconds=item.seconds,
            )
        )
    session.flush()
    event = ActivityCreated(id=activity.id, title=title, items=len(command.items))
    return Outcome({"activity": activity.id}, [Emit(event)])


def remove_activity(
    session: Session, actor: Actor, command: RemoveActivity, now: datetime
) -> Outcome:
    conference_of(session, actor, CHANGEABLE)
    activity = activity_of(session, actor, command.activity)
    if session.scalar(select(Run.id).where(Run.activity_id == activity.id).limit(1)) is not None:
        raise Conflict(N_("Bài trắc nghiệm đã được dùng nên không xóa được."))
    session.execute(delete(Item).where(Item.activity_id == activity.id))
    session.delete(activity)
    session.flush()
    return Outcome(emits=[Emit(ActivityRemoved(id=command.activity))])


ACTIONS: Actions = {
    CreateActivity: (None, create_activity),
    RemoveActivity: (None, remove_activity),
}
