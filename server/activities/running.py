"""Runs: items opened one after another, answered until the server's deadline, charted by site."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from server.activities import rules
from server.activities.facts import item_opened
from server.activities.models import Activity, Item, Opening, Response, Run
from server.activities.preparing import activity_of
from server.conferences.loading import conference_of
from server.conferences.models import RosterEntry
from server.conferences.rules import OPEN
from server.db import bulk
from server.db.journal import Emit
from server.db.lists import among
from server.db.outcome import Actions, Hot, Outcome
from server.errors import N_, Conflict, DomainError, Invalid, NotFound
from server.permissions import Actor
from server.protocol import (
    Answer,
    Answered,
    CloseItem,
    ConferenceMoved,
    ExpireItems,
    FinishRun,
    ItemClosed,
    ItemCounted,
    ItemProlonged,
    KeyKnown,
    KeyRevealed,
    LaunchActivity,
    NextItem,
    ProlongItem,
    RevealKey,
    RunFinished,
)

_NO_RUN = N_("Không tìm thấy lượt trắc nghiệm này.")
_NOT_EXPECTED = N_("Bạn không có trong danh sách của hội nghị này.")


def unfinished(session: Session, conference_id: int) -> Run | None:
    """The run on the screens, if any: a conference has one at most."""
    query = select(Run).where(Run.conference_id == conference_id, Run.finished_at.is_(None))
    return session.scalar(query)


def items_of(session: Session, activity_id: int) -> Sequence[Item]:
    """The items of a quiz in their order."""
    query = select(Item).where(Item.activity_id == activity_id).order_by(Item.position)
    return session.scalars(query).all()


def _run_of(session: Session, actor: Actor, run_id: int) -> Run:
    conference_of(session, actor, OPEN)
    run = session.get(Run, run_id)
    if run is None or run.conference_id != actor.conference_id:
        raise NotFound(_NO_RUN)
    return run


def _opened(session: Session, run: Run, item: Item, items: int) -> list[Emit]:
    """Note the opening and tell of it; the key goes to those who may know it."""
    session.add(Opening(run_id=run.id, item_id=item.id, opened_at=run.opened_at))
    activity = session.get_one(Activity, run.activity_id)
    return [
        Emit(item_opened(run, activity, item, items, None)),
        Emit(KeyKnown(item=item.id, key=item.correct)),
    ]


def launch_activity(
    session: Session, actor: Actor, command: LaunchActivity, now: datetime
) -> Outcome:
    conference = conference_of(session, actor, OPEN)
    activity = activity_of(session, actor, command.activity)
    if unfinished(session, conference.id) is not None:
        raise Conflict(N_("Một bài trắc nghiệm khác đang chạy. Hãy kết thúc bài đó trước."))
    items = items_of(session, activity.id)
    run = Run(
        conference_id=conference.id,
        activity_id=activity.id,
        state=rules.OPEN,
        item_id=items[0].id,
        opened_at=now,
        deadline_at=now + timedelta(seconds=items[0].seconds),
        revealed=False,
        announced=0,
    )
    session.add(run)
    session.flush()
    return Outcome({"run": run.id}, _opened(session, run, items[0], len(items)))


def _close(session: Session, run: Run, now: datetime) -> Emit:
    """Close the open item and chart it. Raises: Conflict where none is open."""
    run.state = rules.step(run.state, rules.CLOSE)
    item = session.get_one(Item, run.item_id)
    choices = session.execute(
        select(Response.site_id, Response.option, func.count())
        .where(Response.run_id == run.id, Response.item_id == item.id)
        .group_by(Response.site_id, Response.option)
        .order_by(Response.site_id, Response.option)
    )
    chart = rules.chart(choices, len(item.options))
    run.closed_at = now
    run.announced = rules.answered(chart)
    opening = session.get_one(Opening, (run.id, item.id))
    opening.closed_at = now
    opening.chart = {site: list(counts) for site, counts in chart.items()}
    event = ItemClosed(
        run=run.id, state="closed", closed_at=now, answered=run.announced, chart=chart
    )
    return Emit(event)


def _finish(session: Session, run: Run, now: datetime) -> list[Emit]:
    emits = [_close(session, run, now)] if run.state == rules.OPEN else []
    run.state = rules.step(run.state, rules.FINISH)
    run.finished_at = now
    return [*emits, Emit(RunFinished(run=run.id))]


def next_item(session: Session, actor: Actor, command: NextItem, now: datetime) -> Outcome:
    """Result ``{"item": id}``, None after the last."""
    run = _run_of(session, actor, command.run)
    rules.step(run.state, rules.NEXT)
    items = items_of(session, run.activity_id)
    places = [item.id for item in items]
    following = items[places.index(run.item_id) + 1 :]
    if not following:
        return Outcome({"item": None}, _finish(session, run, now))
    emits = [_close(session, run, now)] if run.state == rules.OPEN else []
    item = following[0]
    run.state = rules.OPEN
    run.item_id = item.id
    run.opened_at = now
    run.deadline_at = now + timedelta(seconds=item.seconds)
    run.closed_at = None
    run.revealed = False
    run.announced = 0
    return Outcome({"item": item.id}, [*emits, *_opened(session, run, item, len(items))])


def prolong_item(session: Session, actor: Actor, command: ProlongItem, now: datetime) -> Outcome:
    """All have the same time more, also those whose answers an outage brought too late."""
    run = _run_of(session, actor, command.run)
    after = rules.step(run.state, rules.PROLONG)
    if run.revealed:
        raise Conflict(N_("Đáp án của câu này đã hiện nên không mở lại được."))
    begins = max(now, run.deadline_at) if run.state == rules.OPEN else now
    run.state, run.closed_at = after, None
    run.deadline_at = begins + timedelta(seconds=command.seconds)
    opening = session.get_one(Opening, (run.id, run.item_id))
    opening.closed_at = opening.chart = None
    event = ItemProlonged(
        run=run.id,
        state="open",
        deadline_at=run.deadline_at,
        closed_at=None,
        chart=None,
        answered=0,
    )
    return Outcome(emits=[Emit(event), Emit(ItemCounted(run=run.id, answered=run.announced))])


def close_item(session: Session, actor: Actor, command: CloseItem, now: datetime) -> Outcome:
    run = _run_of(session, actor, command.run)
    return Outcome(emits=[_close(session, run, now)])


def reveal_key(session: Session, actor: Actor, command: RevealKey, now: datetime) -> Outcome:
    """Revealing twice tells nothing new."""
    run = _run_of(session, actor, command.run)
    rules.step(run.state, rules.REVEAL)
    if run.revealed:
        return Outcome()
    run.revealed = True
    item = session.get_one(Item, run.item_id)
    return Outcome(emits=[Emit(KeyRevealed(run=run.id, correct=item.correct))])


def finish_run(session: Session, actor: Actor, command: FinishRun, now: datetime) -> Outcome:
    run = _run_of(session, actor, command.run)
    rules.step(run.state, rules.FINISH)
    return Outcome(emits=_finish(session, run, now))


_EXPECTED = select(RosterEntry.person_id, RosterEntry.site_id).where(
    RosterEntry.conference_id == bindparam("conference"),
    among(RosterEntry.person_id, "persons"),
)
_NAMED = select(Run).where(among(Run.id, "runs"))

Shown = dict[int, tuple[Run, Item]]
"""run → it and the item that it shows"""


def answer(
    session: Session, commands: Sequence[tuple[Actor, Answer]], now: datetime
) -> list[Outcome | DomainError]:
    """One answer a person and item, changed in place until the deadline."""
    conference = conference_of(session, commands[0][0], OPEN)
    asked = {id(command): command for _, command in commands}
    alike = {*asked.values()}
    shown = _shown(session, conference.id, {command.run for command in alike})
    of_alike = {c: (_accepted(shown, c, now), {"option": c.option}) for c in alike}
    decided = {number: of_alike[command] for number, command in asked.items()}
    sites = _sites(session, conference.id, {actor.person_id for actor, _ in commands})
    outcomes: list[Outcome | DomainError] = []
    rows: dict[tuple[int, int, int], tuple[int, int]] = {}
    for actor, command in commands:
        person = actor.person_id
        event, result = decided[id(command)]
        if isinstance(event, DomainError):
            outcomes.append(event)
            continue
        site = None if person is None else sites[person]
        if person is None or site is None:
            outcomes.append(NotFound(_NOT_EXPECTED))
            continue
        rows[command.run, command.item, person] = command.option, site
        outcomes.append(Outcome(result, [Emit(event, site, person)]))
    if rows:
        runs, items, persons = zip(*rows, strict=True)
        options, places = zip(*rows.values(), strict=True)
        differ, same = bulk.shared({"run_id": runs, "item_id": items, "option": options})
        columns = {"person_id": persons, "site_id": places, **differ}
        bulk.put_columns(session, Response, columns, {"answered_at": now, **same})
    return outcomes


def _sites(
    session: Session, conference_id: int, persons: Collection[int | None]
) -> dict[int, int | None]:
    """person → the site where they are expected; None where they are not on the roster."""
    sites: dict[int, int | None] = bulk.facts(session, RosterEntry, conference_id)
    unknown = [each for each in persons if each is not None and each not in sites]
    if unknown:
        found = bulk.read(session, _EXPECTED, conference=conference_id, persons=unknown)
        sites.update(dict.fromkeys(unknown))
        sites.update((person, site) for person, site in found)
    return sites


def _shown(session: Session, conference_id: int, runs: Collection[int]) -> Shown:
    """Hundreds name the same run, which the session has; those who name any cost one statement."""
    if len(runs) == 1:
        found = [session.get(Run, run_id) for run_id in runs]
    else:
        found = list(session.scalars(_NAMED, {"runs": list(runs)}))
    return {
        run.id: (run, session.get_one(Item, run.item_id))
        for run in found
        if run is not None and run.conference_id == conference_id
    }


def _accepted(shown: Shown, command: Answer, now: datetime) -> Answered | DomainError:
    """What an answer brings about, whoever gives it: hundreds give the same."""
    if command.run not in shown:
        return NotFound(_NO_RUN)
    run, item = shown[command.run]
    try:
        rules.step(run.state, rules.RESPOND)
    except DomainError as error:
        return error
    if item.id != command.item or rules.is_over(now, run.deadline_at):
        return Conflict(rules.TOO_LATE)
    if command.option >= len(item.options):
        return Invalid(N_("Câu này không có lựa chọn đó."))
    return Answered(item=command.item, run=command.run, option=command.option, answered_at=now)


def expire_items(session: Session, actor: Actor, command: ExpireItems, now: datetime) -> Outcome:
    """Close the item whose deadline has passed, or tell how many have answered since."""
    conference = conference_of(session, actor)
    run = unfinished(session, conference.id)
    if run is None or run.state != rules.OPEN:
        return Outcome()
    if rules.is_over(now, run.deadline_at):
        return Outcome(emits=[_close(session, run, now)])
    query = select(func.count()).where(Response.run_id == run.id, Response.item_id == run.item_id)
    count = session.scalar(query) or 0
    if count == run.announced:
        return Outcome()
    run.announced = count
    return Outcome(emits=[Emit(ItemCounted(run=run.id, answered=count))])


def finish_with_conference(
    session: Session, actor: Actor, event: ConferenceMoved, now: datetime
) -> list[Emit]:
    """A conference that is no longer open runs no quiz."""
    if event.state in OPEN or actor.conference_id is None:
        return []
    run = unfinished(session, actor.conference_id)
    return [] if run is None else _finish(session, run, now)


ACTIONS: Actions = {
    LaunchActivity: (None, launch_activity),
    NextItem: (None, next_item),
    ProlongItem: (None, prolong_item),
    CloseItem: (None, close_item),
    RevealKey: (None, reveal_key),
    FinishRun: (None, finish_run),
    Answer: Hot(answer),
    ExpireItems: (None, expire_items),
}
