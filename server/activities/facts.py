"""A run as the event that tells all of it."""

from __future__ import annotations

from typing import cast

from server.activities.models import Activity, Item, Run
from server.activities.rules import Chart
from server.protocol import ItemOpened, RunState


def item_opened(
    run: Run,
    activity: Activity,
    item: Item,
    items: int,
    chart: Chart | None,
    counted: bool = True,
) -> ItemOpened:
    """The item that a run shows now; ``chart`` once it is closed, how many have answered until
    then where they are ``counted``."""
    return ItemOpened(
        run=run.id,
        activity=activity.id,
        title=activity.title,
        state=cast(RunState, run.state),
        item=item.id,
        position=item.position,
        items=items,
        text=item.text,
        options=tuple(item.options),
        opened_at=run.opened_at,
        deadline_at=run.deadline_at,
        closed_at=run.closed_at,
        chart=chart,
        correct=item.correct if run.revealed else None,
        answered=run.announced if counted or chart is not None else 0,
    )
