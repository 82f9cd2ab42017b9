"""Which simulcast layer a slot is worth: from what is shown and what is sent to what to forward. Pure.

``ladder`` says which layers are worth sending for the height of a slot; ``allocation`` climbs it as
far as the line carries; ``playable`` takes the layer that comes nearest while the chosen one does
not flow (yet).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

ENLARGED = 1.5
"""a picture may be enlarged so much before a higher layer is worth its bits"""
STICKY = 1.2
"""a slot has to change by so much before anything is chosen anew: windows are dragged by pixels"""
FULL_HEIGHT_PX = 720
RATES_BPS = ((200, 150_000), (400, 500_000), (800, 1_500_000))
"""what a layer up to so high (px) sends, until it has been measured"""
LARGEST_BPS = 2_500_000


class Offer(NamedTuple):
    """One layer as it is sent."""

    height_px: int
    bitrate_bps: int
    alive: bool = True
    """do packets of it come?"""


def nominal_bps(height_px: int) -> int:
    """What a layer of this height is expected to send."""
    return next((bps for limit, bps in RATES_BPS if height_px <= limit), LARGEST_BPS)


def nominal_height_px(place: int, count: int) -> int:
    """The height of layer ``place`` (ascending from 0) of ``count``, each half of the next."""
    return int(FULL_HEIGHT_PX / 2.0 ** (count - 1 - place))


def steady_px(before_px: int, told_px: int) -> int:
    """The height to choose a slot's layers by, from that until now (0: none) and what it is shown at."""
    return before_px if before_px < told_px * STICKY and told_px < before_px * STICKY else told_px


def ladder(offers: Sequence[Offer], shown_px: int) -> int:
    """How many of ``offers`` (ascending) are worth sending to a slot ``shown_px`` high.

    0: nothing is shown.
    """
    if shown_px <= 0:
        return 0
    enough = (place for place, each in enumerate(offers) if shown_px <= each.height_px * ENLARGED)
    return next(enough, len(offers) - 1) + 1


def rates_bps(offers: Sequence[Offer], count: int) -> tuple[int, ...]:
    """What the first ``count`` layers cost, ascending: a lower layer never counts as dearer."""
    rates: list[int] = []
    for offer in offers[:count]:
        rates.append(max(offer.bitrate_bps, rates[-1] if rates else 0))
    return tuple(rates)


def playable(offers: Sequence[Offer], chosen: int, current: int = -1) -> int:
    """The layer to forward where ``chosen`` is meant: itself if it flows, else the one that does
    and comes nearest, lower ones first; the ``current`` one where nothing flows, else ``chosen``.
    """
    for place in chain(range(chosen, -1, -1), range(chosen + 1, len(offers))):
        if offers[place].alive:
            return place
    return current if current >= 0 else chosen


class Meter:
    """The bit rate of one layer, from a count of octets that only grows."""

    WINDOW_S = 0.5

    def __init__(self) -> None:
        self.bitrate_bps = 0
        """0 until measured"""
        self._at_s: float | None = None
        self._octets = 0

    def measure(self, octets: int, now_s: float) -> None:
        """The count is ``octets`` now. Rises are believed quickly, falls slowly."""
        if self._at_s is None:
            self._at_s, self._octets = now_s, octets
            return
        elapsed_s = now_s - self._at_s
        if elapsed_s < self.WINDOW_S:
            return
        rate_bps = (octets - self._octets) * 8 / elapsed_s
        self._at_s, self._octets = now_s, octets
        weight = 0.5 if rate_bps > self.bitrate_bps else 0.15
        if not self.bitrate_bps:
            weight = 1.0
        self.bitrate_bps = round(self.bitrate_bps + (rate_bps - self.bitrate_bps) * weight)

    def pause(self) -> None:
        """Nothing comes for now: keep what is known, and do not count the pause."""
        self._at_s = None
