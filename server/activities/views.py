"""Snapshot part: quizzes, keys, the run on the screens, one's own responses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.activities.facts import item_opened
from server.activities.models import Activity, Item, Opening, Response, Run
from server.activities.rules import OPEN
from server.activities.running import items_of, unfinished
from server.db.lists import among
from server.db.once import Once
from server.permissions import Actor, Permission, Target, may


def part(once: Once, actor: Actor, now: datetime) -> dict[str, Any]:
    """``activities``, ``keys``, ``runs``."""
    assert actor.conference_id is not None
    everyone = Target(actor.conference_id)
    state: dict[str, Any] = {"activities": {}, "keys": {}, "runs": {}}
    if may(actor, Permission.SEE_ACTIVITY, everyone):
        state["activities"] = once(_activities, actor.conference_id)
    if may(actor, Permission.SEE_KEY, everyone):
        state["keys"] = once(_keys, actor.conference_id)
    if may(actor, Permission.SEE_CONFERENCE, everyone):
        counted = may(actor, Permission.SEE_PROGRESS, everyone)
        state["runs"] = once(_runs, actor.conference_id, counted)
    return state


def own(session: Session, actors: Sequence[Actor], now: datetime) -> list[dict[str, Any]]:
    """``responses`` of each person; ``actors`` are of one conference."""
    persons = [
        actor.person_id if may(actor, Permission.SEE_RESPONSE, _themselves(actor)) else None
        for actor in actors
    ]
    responses = _responses(session, actors[0].conference_id, [p for p in persons if p is not None])
    return [{"responses": responses.get(person, {})} for person in persons]


def _themselves(actor: Actor) -> Target:
    return Target(actor.conference_id, actor.site_id, actor.person_id)


def _activities(session: Session, conference_id: int) -> dict[str, Any]:
    query = (
        select(Activity.id, Activity.title, func.count(Item.id))
        .join(Item, Item.activity_id == Activity.id)
        .where(Activity.conference_id == conference_id)
        .group_by(Activity.id, Activity.title)
        .order_by(Activity.id)
    )
    return {
        str(activity_id): {"id": activity_id, "title": title, "items": items}
        for activity_id, title, items in session.execute(query)
    }


def _keys(session: Session, conference_id: int) -> dict[str, Any]:
    query = (
        select(Item.id, Item.correct)
        .join(Opening, Opening.item_id == Item.id)
        .join(Run, Run.id == Opening.run_id)
        .where(Run.conference_id == conference_id)
        .distinct()
    )
    return {str(item): {"item": item, "key": correct} for item, correct in session.execute(query)}


def _runs(session: Session, conference_id: int, counted: bool) -> dict[str, Any]:
    run = unfinished(session, conference_id)
    if run is None:
        return {}
    item = session.get_one(Item, run.item_id)
    activity = session.get_one(Activity, run.activity_id)
    opening = session.get_one(Opening, (run.id, item.id))
    chart = None
    if opening.chart is not None:
        chart = {site: tuple(counts) for site, counts in opening.chart.items()}
    items = len(items_of(session, activity.id))
    shown = item_opened(run, activity, item, items, chart, counted)
    return {str(run.id): msgspec.to_builtins(shown)}


def choices(session: Session, conference_id: int) -> dict[str, Any] | None:
    """How many have chosen each option of the item that is open; None where none is."""
    run = unfinished(session, conference_id)
    if run is None or run.state != OPEN:
        return None
    query = select(Response.option, func.count()).group_by(Response.option)
    query = query.where(Response.run_id == run.id, Response.item_id == run.item_id)
    votes = [0] * len(session.get_one(Item, run.item_id).options)
    for option, count in session.execute(query):
        votes[option] = count
    return {"run": run.id, "item": run.item_id, "votes": votes}


def _responses(
    session: Session, conference_id: int | None, persons: Sequence[int]
) -> dict[int | None, dict[str, Any]]:
    """Of each person the last choice for each item, whichever run it was in."""
    query = (
        select(Response)
        .join(Run, Run.id == Response.run_id)
        .where(Run.conference_id == conference_id, among(Response.person_id, "persons"))
        .order_by(Response.answered_at, Response.run_id)
    )
    responses: dict[int | None, dict[str, Any]] = {}
    for row in session.scalars(query, {"persons": list(persons)}) if persons else ():
        responses.setdefault(row.person_id, {})[str(row.item_id)] = msgspec.to_builtins(
            {
                "item": row.item_id,
                "run": row.run_id,
                "option": row.option,
                "answered_at": row.answered_at,
            }
        )
    return responses
