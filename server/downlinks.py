"""What rooms are told of the lines by which they receive: ``Reductions``. Pure.

A worker tells every two seconds how each receiver's line is (``messages.Downlinks``). A page hears
only whether its picture is smaller for the line's sake, and what the line carries; staff hear it of
every site. Both are told when it changes, in steps large enough to be read.
"""

from __future__ import annotations

from collections.abc import Mapping

from server.media import messages

STEP = 0.2
"""a line that carries so much more or less than was told is told anew"""


class Reductions:
    """Of one conference."""

    def __init__(self) -> None:
        self._told: dict[str, int | None] = {}
        """session → bit/s that were told; None: not reduced"""

    def take(self, downlinks: Mapping[str, messages.Downlink]) -> dict[str, int | None]:
        """Session → what its page is to be told: bit/s that the line carries, None: all is well."""
        news: dict[str, int | None] = {}
        told: dict[str, int | None] = {}
        for session, downlink in downlinks.items():
            carries_bps = reduced_bps(downlink)
            before_bps = self._told.get(session)
            if carries_bps is not None and before_bps is not None:
                if abs(carries_bps - before_bps) <= STEP * before_bps:
                    carries_bps = before_bps
            if carries_bps != before_bps:
                news[session] = carries_bps
            told[session] = carries_bps
        self._told = told
        return news

    def sites(
        self, downlinks: Mapping[str, messages.Downlink], grants: Mapping[str, messages.Grant]
    ) -> dict[str, int]:
        """Source of a site's room → what the narrowest of its reduced lines carries, bit/s."""
        found: dict[str, int] = {}
        for session, carries_bps in self._told.items():
            grant = grants.get(downlinks[session].holder)
            if carries_bps is not None and grant is not None and grant.own is not None:
                found[grant.own] = min(carries_bps, found.get(grant.own, carries_bps))
        return found


def reduced_bps(downlink: messages.Downlink) -> int | None:
    """What a line carries that makes a picture smaller, to two figures; None if it does not."""
    if not downlink.reduced or downlink.carries_bps is None:
        return None
    digits = len(str(downlink.carries_bps))
    return round(downlink.carries_bps, 2 - digits)
