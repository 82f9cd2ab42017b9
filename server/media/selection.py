"""Which layer each slot of one subscriber gets: its wishes, its sizes, its line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from server.media import layers
from server.media.allocation import Demand, Priority, allocate
from server.media.layer import Layer
from server.media.track import Track

RESUME_S = 1.0
"""so long a layer that is paused at its publisher is waited for before another is taken"""
Offered = list[tuple[Layer, layers.Offer]]


class Slot(NamedTuple):
    """What one slot should show."""

    track: Track
    priority: Priority
    shown_px: int
    """its height, 0 if nobody sees it"""
    current: Layer | None
    """of this track, what it gets now"""


class Choice(NamedTuple):
    """What one slot gets, and why."""

    layer: Layer | None
    """to be forwarded, None for nothing"""
    meant: layers.Offer | None
    """as far as the line carries"""
    worth: layers.Offer | None
    """for the size that is shown; None: nobody sees it"""

    @property
    def bitrate_bps(self) -> int:
        """What is spent on it."""
        return self.meant.bitrate_bps if self.meant is not None else 0

    @property
    def worth_bps(self) -> int:
        """What would be spent on it if the line carried everything."""
        return self.worth.bitrate_bps if self.worth is not None else 0

    @property
    def worth_px(self) -> int:
        """How high it would be then."""
        return self.worth.height_px if self.worth is not None else 0

    @property
    def reason(self) -> str:
        """Why it is no better: the ``size`` shown, the ``line``, or the ``publisher`` who does
        not send what is meant (yet)."""
        if self.meant is not self.worth:
            return "line"
        return "size" if self.meant is None or self.meant.alive else "publisher"


def demand(slot: Slot, now_s: float, *, untried: bool = False) -> tuple[Demand, Offered]:
    """What the slot is worth, and the layers that the demand's rates are of."""
    offered = slot.track.offers(now_s)
    offers = [offer for _, offer in offered]
    place = next((i for i, (layer, _) in enumerate(offered) if layer is slot.current), -1)
    count = layers.ladder(offers, slot.shown_px)
    rates = layers.rates_bps(offers, count)
    return Demand(slot.priority, rates, min(place, count - 1), untried), offered


def select(
    slots: Mapping[str, Slot], budget_bps: int, now_s: float, *, untried: bool = False
) -> dict[str, Choice]:
    """Mid → what it gets; ``untried``: the budget is a guess. Layers that are meant are marked as
    wanted."""
    found = {mid: demand(slot, now_s, untried=untried) for mid, slot in slots.items()}
    chosen = allocate({mid: each[0] for mid, each in found.items()}, budget_bps)
    return {mid: _choice(slots[mid], *found[mid], place, now_s) for mid, place in chosen.items()}


def _choice(slot: Slot, wish: Demand, offered: Offered, place: int, now_s: float) -> Choice:
    worth = offered[len(wish.rates_bps) - 1][1] if wish.rates_bps else None
    if place < 0:
        return Choice(None, None, worth)
    return Choice(_play(slot, offered, place, now_s), offered[place][1], worth)


def _play(slot: Slot, offered: Offered, place: int, now_s: float) -> Layer:
    """The chosen layer, or the best there is until it comes."""
    meant = offered[place][0]
    began_s = meant.wanted_since_s(now_s)
    current = next((i for i, (layer, _) in enumerate(offered) if layer is slot.current), -1)
    waiting = not offered[place][1].alive and now_s - began_s < RESUME_S
    if waiting and current >= 0 and offered[current][1].alive:
        return offered[current][0]
    return slot.track.nearest(place, current, now_s)
