"""How many seats of each room are connected, and which of its pages plays the sound. Counts and
public ids of seats only: who it is stays with the roster."""

from __future__ import annotations

from collections.abc import Iterable

from server.live.connections import Connection
from server.permissions import Role

COUNTED = (Role.OPERATOR, Role.DISPLAY, Role.TRAINEE)
LOUD = (Role.DISPLAY, Role.OPERATOR)
"""roles whose pages play a room's sound, the first that is there"""
Presence = dict[str, dict[str, int | str | None]]
"""site id (``"0"`` for none) → {operator, display, trainee, sound}"""


def count(connections: Iterable[Connection]) -> Presence:
    """A seat counts once, however many sockets it has. ``connections`` come in the order in which
    they connected: of two operators the first is heard, and when it leaves, the next."""
    seats = {each.actor.holder: each.actor for each in connections}
    presence: Presence = {}
    sounding: dict[str, int] = {}
    for actor in seats.values():
        if actor.role not in COUNTED:
            continue
        site = str(actor.site_id or 0)
        room = presence.setdefault(site, {**{role: 0 for role in COUNTED}, "sound": None})
        room[actor.role] = int(room[actor.role] or 0) + 1
        if actor.role in LOUD and LOUD.index(actor.role) < sounding.get(site, len(LOUD)):
            sounding[site] = LOUD.index(actor.role)
            room["sound"] = actor.holder
    return presence
