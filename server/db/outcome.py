"""What an action decided: a result for its caller and events for everyone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from server.db.journal import Emit
from server.errors import DomainError
from server.permissions import Actor, Target
from server.protocol import Command, Event


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """Result of one action. ``result`` is JSON-ready and becomes the acknowledgement.

    ``conference_id`` is given by an action that makes the conference whose journal its events
    belong to, and by work that has no actor; everywhere else it is the actor's.
    ``rights_changed`` says that seats of it were revoked or admitted: those connected are looked
    at again at once.
    """

    result: dict[str, Any] = {}
    emits: list[Emit] = []
    conference_id: int | None = None
    rights_changed: bool = False


TargetFn = Callable[[Session, Actor, Any], Target]
"""What a command of one kind is about, for the permission table."""

ActionFn = Callable[[Session, Actor, Any, datetime], Outcome]
"""Decides a command and writes what follows. Raises: DomainError, before anything is written."""

EffectFn = Callable[[Session, Actor, Any, datetime], list[Emit]]
"""What an event of one room does in another, in the same transaction: (session, actor, event,
now) → further events of ``actor.conference_id``. Never raises a DomainError."""

HotFn = Callable[[Session, Sequence[tuple[Actor, Any]], datetime], Sequence[Outcome | DomainError]]
"""Decides commands of one kind and one conference together, in order, and writes by one statement.
Gives an outcome or a refusal for each. Raises: DomainError where it refuses them all."""


@dataclass(frozen=True, slots=True)
class Hot:
    """The table's entry of a command that hundreds send at once, each about themselves alone."""

    decide: HotFn


Actions = dict[type[Command], tuple[TargetFn | None, ActionFn] | Hot]
Effects = dict[type[Event], EffectFn]
