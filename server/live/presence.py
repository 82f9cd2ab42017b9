"""How many seats of each room are connected. Counts only: who it is stays with the roster."""

from __future__ import annotations

from collections.abc import Iterable

from server.live.connections import Connection
from server.permissions import Role

COUNTED = (Role.OPERATOR, Role.DISPLAY, Role.TRAINEE)
Presence = dict[str, dict[str, int]]
"""site id (``"0"`` for none) → {operator, display, trainee}"""


def count(connections: Iterable[Connection]) -> Presence:
    """A seat counts once, however many sockets it has."""
    seats = {each.actor.holder: each.actor for each in connections}
    presence: Presence = {}
    for actor in seats.values():
        if actor.role in COUNTED:
            room = presence.setdefault(str(actor.site_id or 0), {role: 0 for role in COUNTED})
            room[actor.role] += 1
    return presence
