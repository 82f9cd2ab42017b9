"""The agenda: planned items, and the one under way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences.facts import agenda_item_set
from server.conferences.loading import conference_of, one_line
from server.conferences.models import AgendaItem, Conference
from server.conferences.rules import CHANGEABLE, UNDER_WAY
from server.db import bulk
from server.db.journal import Emit
from server.db.outcome import Actions, Outcome
from server.errors import N_, Conflict, Invalid, NotFound
from server.permissions import Actor
from server.protocol import (
    AgendaEntry,
    AgendaItemEnded,
    AgendaItemRemoved,
    AgendaItemStarted,
    AgendaMoved,
    SetAgenda,
    StartItem,
)


def items_of(session: Session, conference_id: int) -> Sequence[AgendaItem]:
    """The items in their order."""
    query = select(AgendaItem).where(AgendaItem.conference_id == conference_id)
    return session.scalars(query.order_by(AgendaItem.position, AgendaItem.id)).all()


def end_item(session: Session, conference: Conference, now: datetime) -> list[Emit]:
    """End the item under way, if any."""
    if conference.item_id is None:
        return []
    item = session.get_one(AgendaItem, conference.item_id)
    bulk.change(session, item, ended_at=now)
    return [Emit(AgendaItemEnded(id=item.id, ended_at=now))]


def _check(entries: Sequence[AgendaEntry], known: dict[int, AgendaItem]) -> None:
    for row, entry in enumerate(entries, 1):
        one_line(entry.title)
        if not entry.starts_at < entry.ends_at:
            raise Invalid(N_("Mục %(row)d: giờ kết thúc phải sau giờ bắt đầu."), row=row)
        if entry.id is not None and entry.id not in known:
            raise NotFound(N_("Mục %(row)d không còn trong chương trình."), row=row)
    kept = [entry.id for entry in entries if entry.id is not None]
    if len(kept) != len(set(kept)):
        raise Invalid(N_("Có mục bị lặp trong chương trình."))


def _fill(item: AgendaItem, entry: AgendaEntry, position: int) -> None:
    item.position = position
    item.title = one_line(entry.title)
    item.kind = entry.kind
    item.speaker = entry.speaker.strip()
    item.starts_at = entry.starts_at
    item.ends_at = entry.ends_at


def set_agenda(session: Session, actor: Actor, command: SetAgenda, now: datetime) -> Outcome:
    """Result ``{"items": [id]}`` in their order."""
    conference = conference_of(session, actor, CHANGEABLE)
    known = {item.id: item for item in items_of(session, conference.id)}
    _check(command.items, known)
    gone = set(known) - {entry.id for entry in command.items}
    if conference.item_id in gone:
        raise Conflict(N_("Mục đang diễn ra không xóa được. Hãy kết thúc mục đó trước."))
    items: list[AgendaItem] = []
    for position, entry in enumerate(command.items, 1):
        item = known[entry.id] if entry.id else AgendaItem(conference_id=conference.id)
        _fill(item, entry, position)
        session.add(item)
        items.append(item)
    for item_id in gone:
        session.delete(known[item_id])
    session.flush()
    emits = [Emit(AgendaItemRemoved(id=item_id)) for item_id in sorted(gone)]
    emits += [Emit(agenda_item_set(item)) for item in items]
    return Outcome({"items": [item.id for item in items]}, emits)


def start_item(session: Session, actor: Actor, command: StartItem, now: datetime) -> Outcome:
    """Starting an item again goes on with it: its first start stays."""
    conference = conference_of(session, actor, UNDER_WAY)
    item = None
    if command.item is not None:
        item = session.get(AgendaItem, command.item)
        if item is None or item.conference_id != conference.id:
            raise NotFound(N_("Không tìm thấy mục này trong chương trình."))
    if conference.item_id == command.item:
        return Outcome()
    emits = end_item(session, conference, now)
    if item is not None:
        started_at = item.started_at or now
        bulk.change(session, item, started_at=started_at, ended_at=None)
        event = AgendaItemStarted(id=item.id, started_at=started_at, ended_at=None)
        emits.append(Emit(event))
    bulk.change(session, conference, item_id=command.item)
    emits.append(Emit(AgendaMoved(item=command.item)))
    return Outcome(emits=emits)


ACTIONS: Actions = {SetAgenda: (None, set_agenda), StartItem: (None, start_item)}
