"""Those receivers of one layer for whom its packets only change their numbers: a burst goes to all of
them at once, and is counted once. Pure but for what sends.

Who joins reads its own share of the counts off ``Tally`` when it is asked for it.
"""

from __future__ import annotations

from collections.abc import Hashable, Set
from dataclasses import dataclass

from server.media.bursts import Burst
from server.media.sending import Lane, Lanes


@dataclass(slots=True)
class Tally:
    """What has gone to each who was there."""

    packets: int = 0
    octets: int = 0
    """of payloads, without padding"""
    payload_octets: int = 0
    """with it"""
    number: int = 0
    timestamp: int = 0
    sent_at_s: float = 0.0
    """of the packet with the highest (unwrapped, incoming) number, once there are packets"""


class Fan:
    """See the module."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._members: dict[Hashable, tuple[Lane, int]] = {}
        self._lanes: Lanes | None = None
        """of the members; None where they have changed"""
        self._least = 0

    @property
    def members(self) -> Set[Hashable]:
        """Those who are there."""
        return self._members.keys()

    def join(self, member: Hashable, lane: Lane, first: int) -> None:
        """From the next burst on ``member`` receives by ``lane`` what is numbered from ``first`` on."""
        self._members[member] = lane, first
        self._lanes = None

    def leave(self, member: Hashable) -> None:
        """From the next burst on it does not; nothing where it is not there."""
        if self._members.pop(member, None) is not None:
            self._lanes = None

    def take(self, burst: Burst, now_s: float) -> Lanes | None:
        """The ways for ``burst``, which counts as sent; None where each has to look at it alone."""
        if not self._members:
            return None
        if self._lanes is None:
            self._lanes = Lanes(lane for lane, _ in self._members.values())
            self._least = max(first for _, first in self._members.values())
        if burst.lowest < self._least:
            return None
        tally = self.tally
        tally.packets += len(burst.sizes)
        tally.octets += burst.octets
        tally.payload_octets += burst.payload_octets
        if burst.highest_number > tally.number:
            tally.number, tally.timestamp = burst.highest_number, burst.highest_timestamp
            tally.sent_at_s = now_s
        return self._lanes
