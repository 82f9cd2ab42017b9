"""The tables that join the rooms: command → action, event → what it brings about elsewhere."""

from __future__ import annotations

from server.activities import actions as activities
from server.attendance import actions as attendance
from server.conferences import actions as conferences
from server.db.outcome import Actions, EffectFn
from server.people import actions as people
from server.protocol import (
    AdmitDisplay,
    Appoint,
    Command,
    Dismiss,
    Event,
    ImportRoster,
    RemoveFromRoster,
    RemoveSite,
    ResetPhone,
    RevokeLink,
    RevokeSeat,
)
from server.questions import actions as questions
from server.recordings import actions as recordings

ACTIONS: Actions = {
    **conferences.ACTIONS,
    **people.ACTIONS,
    **attendance.ACTIONS,
    **questions.ACTIONS,
    **activities.ACTIONS,
}

EFFECTS: dict[type[Event], list[EffectFn]] = {}
for _table in (attendance.EFFECTS, questions.EFFECTS, activities.EFFECTS, recordings.EFFECTS):
    for _event, _effect in _table.items():
        EFFECTS.setdefault(_event, []).append(_effect)

RIGHTS: frozenset[type[Command]] = frozenset(
    {
        AdmitDisplay,
        Appoint,
        Dismiss,
        ImportRoster,
        RemoveFromRoster,
        RemoveSite,
        ResetPhone,
        RevokeLink,
        RevokeSeat,
    }
)
"""Commands after which connected seats may have other rights than before."""
