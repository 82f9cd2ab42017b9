"""What an action decided: a result for its caller and events for everyone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from server.db.journal import Emit


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one action. ``result`` is JSON-ready and becomes the acknowledgement.

    ``conference_id`` is given by an action that makes the conference whose journal its events
    belong to; everywhere else it is the actor's.
    """

    result: dict[str, Any] = field(default_factory=dict)
    emits: list[Emit] = field(default_factory=list)
    conference_id: int | None = None
