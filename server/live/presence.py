"""How many seats of each room are connected, and which of its pages plays the sound. Counts and
names of pages only: who it is stays with the roster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from server.live.connections import Connection
from server.permissions import Role

COUNTED = (Role.OPERATOR, Role.DISPLAY, Role.TRAINEE)
LOUD = (Role.DISPLAY, Role.OPERATOR)
"""roles whose pages play a room's sound, the first that is there"""
Presence = dict[str, dict[str, int | str | None]]
"""site id (``"0"`` for none) → {operator, display, trainee, sound}"""


def count(connections: Iterable[Connection], before: Presence) -> Presence:
    """A seat counts once, however many pages it has; the sound is one *page's*.

    Of the pages that can play, a display goes before an operator; among equals the one that was
    asked for last, then the one that played ``before``, then the first of ``connections``.
    """
    pages = list(connections)
    presence: Presence = {}
    for actor in {each.actor.holder: each.actor for each in pages}.values():
        if actor.role in COUNTED:
            room = presence.setdefault(
                str(actor.site_id or 0), {**{role: 0 for role in COUNTED}, "sound": None}
            )
            room[actor.role] = int(room[actor.role] or 0) + 1
    for site, page in _sounding(pages, before).items():
        presence[site]["sound"] = page
    return presence


def _sounding(
    pages: Iterable[Connection], before: Mapping[str, Mapping[str, object]]
) -> dict[str, str]:
    best: dict[str, tuple[int, int, bool]] = {}
    sounding: dict[str, str] = {}
    for each in pages:
        if each.page is None or not each.listens or each.actor.role not in LOUD:
            continue
        site = str(each.actor.site_id or 0)
        played = before.get(site, {}).get("sound") == each.page
        rank = (-LOUD.index(each.actor.role), each.asked, played)
        if site not in best or rank > best[site]:
            best[site], sounding[site] = rank, each.page
    return sounding
