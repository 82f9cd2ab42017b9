"""The tables that join the rooms: command → action, event → what it brings about elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from sqlalchemy.orm import Session

from server.db.journal import Emit
from server.db.outcome import Outcome
from server.permissions import Actor, Target
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

TargetOf = Callable[[Session, Actor, Any], Target]
Action = Callable[[Session, Actor, Any, datetime], Outcome]
ActionTable = dict[type[Command], tuple[TargetOf | None, Action]]
Effect = Callable[[Session, int, Any, datetime], Sequence[Emit]]
"""(session, conference id, event, now) → events of another room, in the same transaction"""

ROOMS = ("conferences", "people", "attendance", "questions", "activities", "recordings")

ACTIONS: ActionTable = {}
for _room in ROOMS:
    if find_spec(f"server.{_room}.actions") is not None:
        ACTIONS.update(getattr(import_module(f"server.{_room}.actions"), "ACTIONS", {}))

EFFECTS: dict[type[Event], tuple[Effect, ...]] = {}

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
