"""Every command of this room and what decides it."""

from __future__ import annotations

from server.conferences import agenda, floor, joining, life, roster, sites
from server.db.outcome import Actions

ACTIONS: Actions = {
    **life.ACTIONS,
    **agenda.ACTIONS,
    **sites.ACTIONS,
    **roster.ACTIONS,
    **joining.ACTIONS,
    **floor.ACTIONS,
}
