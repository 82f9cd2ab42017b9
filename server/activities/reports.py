"""Quiz results: charts of every item that was opened, and each person's score."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from server.activities.models import Activity, Item, Opening, Response, Run
from server.people.models import Person


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One item of one run; ``chart`` is site id → how many chose each option."""

    run: int
    title: str
    item: int
    position: int
    text: str
    options: tuple[str, ...]
    correct: int
    opened_at: datetime
    closed_at: datetime | None
    chart: dict[int, tuple[int, ...]]

    @property
    def totals(self) -> tuple[int, ...]:
        """How many chose each option, over all sites."""
        rows = [*self.chart.values(), (0,) * len(self.options)]
        return tuple(sum(column) for column in zip(*rows, strict=True))


def results(session: Session, conference_id: int) -> list[ItemResult]:
    """Every item that was opened, as they were opened."""
    query = (
        select(Opening, Item, Activity.title)
        .join(Run, Run.id == Opening.run_id)
        .join(Item, Item.id == Opening.item_id)
        .join(Activity, Activity.id == Run.activity_id)
        .where(Run.conference_id == conference_id)
        .order_by(Opening.opened_at, Opening.run_id, Item.position)
    )
    return [
        ItemResult(
            run=opening.run_id,
            title=title,
            item=item.id,
            position=item.position,
            text=item.text,
            options=tuple(item.options),
            correct=item.correct,
            opened_at=opening.opened_at,
            closed_at=opening.closed_at,
            chart={int(site): tuple(row) for site, row in (opening.chart or {}).items()},
        )
        for opening, item, title in session.execute(query)
    ]


@dataclass(frozen=True, slots=True)
class Score:
    """How many items of a run a person answered, and how many of them rightly."""

    run: int
    person: int
    code: str
    name: str
    site: int
    answered: int
    right: int


def scores(session: Session, conference_id: int) -> list[Score]:
    """Scores by run, in the Vietnamese order of names."""
    right = func.sum(case((Response.option == Item.correct, 1), else_=0))
    query = (
        select(
            Response.run_id,
            Person.id,
            Person.code,
            Person.name,
            func.min(Response.site_id),
            func.count(),
            right,
        )
        .join(Run, Run.id == Response.run_id)
        .join(Item, Item.id == Response.item_id)
        .join(Person, Person.id == Response.person_id)
        .where(Run.conference_id == conference_id)
        .group_by(Response.run_id, Person.id, Person.code, Person.name, Person.sort_name)
        .order_by(Response.run_id, Person.sort_name, Person.id)
    )
    return [Score(*row) for row in session.execute(query)]
