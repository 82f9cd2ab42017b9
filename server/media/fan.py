"""Those receivers of one layer for whom its packets only change their numbers: a burst goes to all of
them at once, and is counted once. Pure but for what sends.

Who joins reads its own share of the counts off ``Tally`` when it is asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Set
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

    def add(
        self,
        packets: int,
        octets: int,
        payload_octets: int,
        number: int,
        timestamp: int,
        now_s: float,
    ) -> None:
        """So much more, of which this is the newest packet."""
        self.packets += packets
        self.octets += octets
        self.payload_octets += payload_octets
        if number > self.number:
            self.number, self.timestamp, self.sent_at_s = number, timestamp, now_s


class Fan:
    """See the module."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._members: dict[Hashable, tuple[Lane, int]] = {}
        self._lanes: Lanes | None = None
        """of the members; None where they have changed"""
        self._least = 0
        self.on_change: Callable[[], None] = lambda: None
        """somebody has come or gone"""

    @property
    def members(self) -> Set[Hashable]:
        """Those who are there."""
        return self._members.keys()

    def join(self, member: Hashable, lane: Lane, first: int) -> None:
        """From the next burst on ``member`` receives by ``lane`` what is numbered from ``first`` on."""
        self._members[member] = lane, first
        self._change()

    def leave(self, member: Hashable) -> None:
        """From the next burst on it does not; nothing where it is not there."""
        if self._members.pop(member, None) is not None:
            self._change()

    def _change(self) -> None:
        self._lanes = None
        self.on_change()

    @property
    def lanes(self) -> Lanes | None:
        """The ways that the latest burst took; None where there are none, or others by now."""
        return self._lanes

    def take(self, burst: Burst, now_s: float) -> Lanes | None:
        """The ways for ``burst``, which counts as sent; None where each has to look at it alone."""
        if not self._members:
            return None
        if self._lanes is None:
            self._lanes = Lanes(lane for lane, _ in self._members.values())
            self._least = max(first for _, first in self._members.values())
        if burst.lowest < self._least:
            return None
        newest = burst.highest_number, burst.highest_timestamp
        self.tally.add(len(burst.sizes), burst.octets, burst.payload_octets, *newest, now_s)
        return self._lanes
