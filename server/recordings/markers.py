"""Markers of a recording: agenda items, answers and quiz items on its time line.

They are read from the journal, which is what a replay plays: this room needs no other room's
tables. Media time zero is the first moment of live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.db.journal import JournalEntry, of_types
from server.protocol import (
    AgendaItemEnded,
    AgendaItemSet,
    AgendaItemStarted,
    ItemClosed,
    ItemOpened,
    QuestionAnswered,
    QuestionFinished,
    QuestionPutOnStage,
    QuestionTakenDown,
)
from server.recordings.models import Recording

Kind = Literal["agenda", "question", "quiz"]

_TYPES = tuple(
    event.type
    for event in (
        AgendaItemSet,
        AgendaItemStarted,
        AgendaItemEnded,
        QuestionPutOnStage,
        QuestionTakenDown,
        QuestionFinished,
        QuestionAnswered,
        ItemOpened,
        ItemClosed,
    )
)


@dataclass(slots=True)
class Marker:
    """A stretch of the time line, in milliseconds of media time; ``end_ms`` is None while it lasts.

    ``id`` is that of the agenda item, question or quiz item. A question that was answered only in
    writing (``written``) has the moment of its answer.
    """

    at_ms: int
    end_ms: int | None
    kind: Kind
    title: str
    id: int
    written: bool = False


def markers(session: Session, recording: Recording) -> list[Marker]:
    """All markers in the order of their beginnings. An agenda item that was resumed has one
    for each stretch."""
    query = (
        select(JournalEntry.at, JournalEntry.type, JournalEntry.data)
        .where(of_types(recording.conference_id, _TYPES))
        .order_by(JournalEntry.seq)
    )
    entries = [(at, type_, data) for at, type_, data in session.execute(query)]
    return fold(entries, recording.zero_at)


def fold(
    entries: Sequence[tuple[datetime, str, dict[str, Any]]], zero_at: datetime
) -> list[Marker]:
    """Markers from (time, type, data) of journal entries in order. What began before
    ``zero_at`` begins at 0."""
    titles: dict[int, str] = {}
    made: list[Marker] = []
    under_way: dict[tuple[Kind, int], Marker] = {}

    def ms(at: datetime) -> int:
        return max(0, round((at - zero_at).total_seconds() * 1000))

    def begin(kind: Kind, id_: int, owner: int, title: str, at: datetime) -> None:
        marker = Marker(ms(at), None, kind, title, id_)
        under_way[(kind, owner)] = marker
        made.append(marker)

    def end(kind: Kind, owner: int, at: datetime) -> None:
        marker = under_way.pop((kind, owner), None)
        if marker is not None:
            marker.end_ms = ms(at)

    for at, type_, data in entries:
        if type_ == AgendaItemSet.type:
            titles[data["id"]] = data["title"]
        elif type_ == AgendaItemStarted.type:
            begin("agenda", data["id"], data["id"], "", at)
        elif type_ == AgendaItemEnded.type:
            end("agenda", data["id"], at)
        elif type_ == QuestionPutOnStage.type:
            begin("question", data["id"], data["id"], data["text"], at)
        elif type_ == QuestionTakenDown.type:
            made.remove(under_way.pop(("question", data["id"])))
        elif type_ == QuestionFinished.type:
            end("question", data["id"], at)
        elif type_ == QuestionAnswered.type:
            if not any(m.kind == "question" and m.id == data["id"] for m in made):
                begin("question", data["id"], data["id"], data["text"], at)
                made[-1].written = True
            end("question", data["id"], at)
        elif type_ == ItemOpened.type:
            begin("quiz", data["item"], data["run"], data["text"], at)
        elif type_ == ItemClosed.type:
            end("quiz", data["run"], at)
    for marker in made:
        if marker.kind == "agenda":  # its title may have been mended since
            marker.title = titles.get(marker.id, "")
    # What was over before the recording began is no part of it.
    return sorted((m for m in made if m.end_ms != 0), key=lambda m: m.at_ms)
