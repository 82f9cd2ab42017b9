"""Every command of this room and what decides it."""

from __future__ import annotations

from server.activities import preparing, running
from server.db.outcome import Actions, Effects
from server.protocol import ConferenceMoved

ACTIONS: Actions = {**preparing.ACTIONS, **running.ACTIONS}

EFFECTS: Effects = {ConferenceMoved: running.finish_with_conference}
