"""The tables that join the rooms: command → action, event → what it brings about elsewhere."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from server.db.outcome import Actions, EffectFn
from server.protocol import (
    AdmitDisplay,
    Appoint,
    Command,
    Dismiss,
    Event,
    ImportRoster,
    RemoveFromRoster,
    RemoveSite,
    RevokeLink,
    RevokeSeat,
)

ROOMS = ("conferences", "people", "attendance", "questions", "activities", "recordings")

ACTIONS: Actions = {}
EFFECTS: dict[type[Event], list[EffectFn]] = {}
for _room in ROOMS:
    if find_spec(f"server.{_room}.actions") is not None:
        _actions = import_module(f"server.{_room}.actions")
        ACTIONS |= _actions.ACTIONS
        for _event, _effect in getattr(_actions, "EFFECTS", {}).items():
            EFFECTS.setdefault(_event, []).append(_effect)

RIGHTS: frozenset[type[Command]] = frozenset(
    {
        AdmitDisplay,
        Appoint,
        Dismiss,
        ImportRoster,
        RemoveFromRoster,
        RemoveSite,
        RevokeLink,
        RevokeSeat,
    }
)
"""Commands after which connected seats may have other rights than before."""
