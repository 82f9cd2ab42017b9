"""Since when rooms' operators and displays are connected, or gone: looked at once a second.

What changed is noted in the conference's journal, so that it outlives the process and can be shown
afterwards. Whoever is back within ``GRACE`` was never away: a page that was loaded again, a line
that broke, a server that was killed and has begun anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import get_args

from server.live.presence import Presence
from server.protocol import RoomPage, RoomRole

GRACE = timedelta(seconds=20)
"""Pages whose server was away try again after 15 s at most (static/js/connection.js)."""

Place = tuple[int, int, RoomRole]
"""(conference, site, role)"""


@dataclass(slots=True)
class _Stay:
    since: datetime
    seen: datetime
    """when it was there last"""
    noted: bool = False


class Rooms:
    """Those who are there, or have left not long ago."""

    def __init__(self, noted: Iterable[Place], now: datetime) -> None:
        """``noted``: who was there when the process before this one ended. They have the same grace,
        from ``now`` on; who does not come back is gone since then, since nobody saw it go."""
        self._stays = {place: _Stay(now, now, noted=True) for place in noted}

    def see(self, presences: Mapping[int, Presence], now: datetime) -> None:
        """Who is there."""
        for place in _places(presences):
            self._stays.setdefault(place, _Stay(now, now)).seen = now

    def due(self, now: datetime) -> dict[int, Sequence[RoomPage]]:
        """By conference, what is to be noted now, until ``noted`` says that it is."""
        changed: dict[int, list[RoomPage]] = {}
        for (conference_id, site, role), stay in self._stays.items():
            if not stay.noted:
                page = RoomPage(site=site, role=role, here=True, at=stay.since)
            elif now - stay.seen > GRACE:
                page = RoomPage(site=site, role=role, here=False, at=stay.seen)
            else:
                continue
            changed.setdefault(conference_id, []).append(page)
        return {**changed}

    def noted(self, conference_id: int, pages: Iterable[RoomPage]) -> None:
        """They are in the journal."""
        for page in pages:
            place = (conference_id, page.site, page.role)
            if page.here:
                self._stays[place].noted = True
            else:
                del self._stays[place]


def _places(presences: Mapping[int, Presence]) -> Iterator[Place]:
    for conference_id, presence in presences.items():
        for site, room in presence.items():
            for role in get_args(RoomRole):
                if site != "0" and room[role]:
                    yield conference_id, int(site), role
