"""What rooms are told of the lines by which they receive: ``Reductions``. Pure.

A worker tells every two seconds how each receiver's line is (``messages.Downlinks``). A page hears
only whether its picture is smaller for the line's sake, what the line carries and which slots go
without one; staff hear it of every site. Both are told when it changes, in steps large enough to be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from server.media import messages

STEP = 0.2
"""a line that carries so much more or less than was told is told anew"""


@dataclass(frozen=True)
class Reduction:
    """What a page is told of its line."""

    carries_bps: int | None = None
    """while it makes a picture smaller; None: all is well"""
    withheld: tuple[str, ...] = ()
    """slots whose picture there is, and for which the line has no room at all"""


class Reductions:
    """Of one conference."""

    def __init__(self) -> None:
        self._told: dict[str, Reduction] = {}
        """by session"""

    def take(self, downlinks: Mapping[str, messages.Downlink]) -> dict[str, Reduction]:
        """Session → what its page is to be told anew."""
        told: dict[str, Reduction] = {}
        for session, downlink in downlinks.items():
            carries_bps = reduced_bps(downlink)
            before_bps = self._told.get(session, Reduction()).carries_bps
            if carries_bps is not None and before_bps is not None:
                if abs(carries_bps - before_bps) <= STEP * before_bps:
                    carries_bps = before_bps
            told[session] = Reduction(carries_bps, withheld(downlink) if carries_bps else ())
        before, self._told = self._told, told
        return {s: now for s, now in told.items() if now != before.get(s, Reduction())}

    def forget(self, session: str) -> None:
        """Its page was told nothing yet."""
        self._told.pop(session, None)

    def sites(
        self, downlinks: Mapping[str, messages.Downlink], grants: Mapping[str, messages.Grant]
    ) -> dict[str, int]:
        """Source of a site's room → what the narrowest of its reduced lines carries, bit/s."""
        found: dict[str, int] = {}
        for session, told in self._told.items():
            carries_bps = told.carries_bps
            grant = grants.get(downlinks[session].holder)
            if carries_bps is not None and grant is not None and grant.own is not None:
                found[grant.own] = min(carries_bps, found.get(grant.own, carries_bps))
        return found


def reduced_bps(downlink: messages.Downlink) -> int | None:
    """What a line carries that makes a picture smaller, to two figures; None if it does not.

    Over a silent one (a machine that sleeps) nothing arrives: what it carried before says nothing.
    """
    if not downlink.reduced or downlink.carries_bps is None or downlink.reason == "silence":
        return None
    digits = len(str(downlink.carries_bps))
    return round(downlink.carries_bps, 2 - digits)


def withheld(downlink: messages.Downlink) -> tuple[str, ...]:
    """Slots in sight whose source sends a picture, of which the line carries not even the smallest."""
    slots = downlink.slots.items()
    return tuple(
        sorted(mid for mid, slot in slots if not slot.bitrate_bps and slot.reason == "line")
    )
