"""A recording begins with the first moment of live and ends with its conference."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from server.db.journal import Emit
from server.db.outcome import Actions, Effects
from server.permissions import Actor
from server.protocol import ConferenceMoved
from server.recordings.models import Recording


def follow_conference(
    session: Session, actor: Actor, event: ConferenceMoved, now: datetime
) -> list[Emit]:
    """Make the row when the conference first gets a recording; note its end."""
    if event.recording is None or actor.conference_id is None:
        return []
    recording = session.get(Recording, event.recording)
    if recording is None:
        recording = Recording(
            id=event.recording,
            conference_id=actor.conference_id,
            zero_at=event.live_at or now,
        )
        session.add(recording)
    recording.ended_at = event.ended_at
    return []


ACTIONS: Actions = {}

EFFECTS: Effects = {ConferenceMoved: follow_conference}
