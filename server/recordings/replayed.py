"""What a replay shows beside the picture: the journal's events that who watches may see."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.db.journal import JournalEntry, of_types
from server.protocol import EVENTS
from server.recordings.models import Recording

REPLAYED = tuple(sorted(name for name, event in EVENTS.items() if event.replay))


def told(session: Session, recording: Recording) -> list[dict[str, Any]]:
    """The conference's events that a replay may show, each with ``at_ms`` from time zero.

    Those from before time zero make the state that the recording begins with (``at_ms`` < 0).
    """
    query = (
        select(JournalEntry.seq, JournalEntry.at, JournalEntry.type, JournalEntry.data)
        .where(of_types(recording.conference_id, REPLAYED))
        .order_by(JournalEntry.seq)
    )
    return [
        {
            "seq": row.seq,
            "at_ms": (row.at - recording.zero_at) // timedelta(milliseconds=1),
            "type": row.type,
            "data": row.data,
        }
        for row in session.execute(query)
    ]
