"""How an event changes a client's state, as data for the generic reducers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge the event's fields into the object ``state[into]``, or, where ``key`` names a field of
    the event, into the object ``state[into][str(event[key])]``, made where it is missing."""

    into: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete ``state[from_][str(event[key])]``."""

    from_: str
    key: str


@dataclass(frozen=True, slots=True)
class Reload:
    """More changed than is worth telling: the server sends a fresh snapshot after it."""


Effect = Merge | Remove | Reload
