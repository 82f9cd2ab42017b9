"""Which layer each slot of one subscriber gets: its wishes, its sizes, its line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from server.media import layers
from server.media.allocation import Demand, Priority, allocate
from server.media.track import Layer, Track

RESUME_S = 1.0
"""so long a layer that is paused at its publisher is waited for before another is taken"""


@dataclass(frozen=True, slots=True)
class Slot:
    """What one slot should show."""

    track: Track
    priority: Priority
    shown_px: int
    """its height, 0 if nobody sees it"""
    current: Layer | None
    """of this track, what it gets now"""


def demand(slot: Slot, now_s: float) -> tuple[Demand, list[tuple[Layer, layers.Offer]]]:
    """What the slot is worth, and the layers that the demand's rates are of."""
    offered = slot.track.offers(now_s)
    offers = [offer for _, offer in offered]
    place = next((i for i, (layer, _) in enumerate(offered) if layer is slot.current), -1)
    count = layers.ladder(offers, slot.shown_px, place)
    rates = layers.rates_bps(offers, count)
    return Demand(slot.priority, rates, min(place, count - 1)), offered


def select(slots: Mapping[str, Slot], budget_bps: int, now_s: float) -> dict[str, Layer | None]:
    """Mid → the layer to forward, None for nothing. Layers that are meant are marked as wanted."""
    found = {mid: demand(slot, now_s) for mid, slot in slots.items()}
    chosen = allocate({mid: each[0] for mid, each in found.items()}, budget_bps)
    return {
        mid: _play(slots[mid], found[mid][1], place, now_s) if place >= 0 else None
        for mid, place in chosen.items()
    }


def _play(slot: Slot, offered: list[tuple[Layer, layers.Offer]], place: int, now_s: float) -> Layer:
    """The chosen layer, or the best there is until it comes."""
    meant = offered[place][0]
    began_s = meant.wanted_since_s(now_s)
    current = next((i for i, (layer, _) in enumerate(offered) if layer is slot.current), -1)
    waiting = not offered[place][1].alive and now_s - began_s < RESUME_S
    if waiting and current >= 0 and offered[current][1].alive:
        return offered[current][0]
    return offered[layers.playable([offer for _, offer in offered], place, current)][0]
