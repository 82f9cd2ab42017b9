"""Pictures on a narrow line: whole ones, no quicker than it carries them. Pure.

A keyframe takes a narrow line half a second and more, and what stands in the line's own queue holds
perhaps a third of one: sent at once, most of it is lost, and sound with it. So packets of pictures wait
here (``Pacer``) and go by the rate that the line carries, while sound goes past them. Where a source sends
more than that and has nothing smaller to offer, what would wait for too long is left out up to its next
keyframe (``Thinning``): the picture stands for a while, but it is never broken, and moves on.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import Generic, TypeVar

from server.media.bursts import Packet

LEAST_BPS = 150_000
"""what is always sent where there is so much: a line that carries less is not mended by waiting, and
an estimate that has fallen too low could not show it"""
SAVED_S, OWED_S = 0.02, 0.1
"""what may be sent at once after a pause, and what sound and repeats may take in advance"""
MAX_WAIT_S = 0.7
"""pictures that would wait for longer are left out"""
Item = TypeVar("Item")


class Pacer(Generic[Item]):
    """What waits for one receiver's line."""

    def __init__(self) -> None:
        self.rate_bps = LEAST_BPS
        self._waiting: deque[tuple[Item, int, bool]] = deque()
        self._octets = self._key_octets = 0
        """of these, all and keyframes'"""
        self._credit = 0.0
        self._at_s = float("-inf")

    @property
    def empty(self) -> bool:
        """Does nothing wait?"""
        return not self._waiting

    def wait_s(self, *, but_keyframes: bool = False) -> float:
        """How long what comes now would wait; how much of it is not for keyframes."""
        octets = self._octets - self._key_octets if but_keyframes else self._octets
        return octets * 8 / self.rate_bps

    def put(self, item: Item, octets: int, *, key: bool) -> None:
        """One packet; ``key``: of a keyframe."""
        self._waiting.append((item, octets, key))
        self._octets += octets
        self._key_octets += octets * key

    def refill(self, budget_bps: int, sent: int, now_s: float) -> None:
        """The line may carry ``budget_bps``; ``sent`` octets went past since this was last told."""
        self.rate_bps = max(LEAST_BPS, budget_bps)
        each_s = self.rate_bps / 8
        credit = self._credit + min(1.0, now_s - self._at_s) * each_s - sent
        self._credit = max(-OWED_S * each_s, min(SAVED_S * each_s, credit))
        self._at_s = now_s

    @property
    def due(self) -> bool:
        """May one go now?"""
        return bool(self._waiting) and self._credit > 0

    def take(self) -> Item:
        """The next one, which counts as sent. Raises: IndexError where none waits."""
        item, octets, key = self._waiting.popleft()
        self._octets -= octets
        self._key_octets -= octets * key
        self._credit -= octets
        return item


class Verdict(Enum):
    """What becomes of a packet."""

    GOES = auto()
    RESUMES = auto()
    """it goes, and nothing of what was left out before it is missing"""
    LEFT_OUT = auto()


class Thinning:
    """Which packets of one layer go on where not all can."""

    def __init__(self, key_timestamp: int | None = None) -> None:
        """``key_timestamp``: of the keyframe by which the layer is entered."""
        self.since_s: float | None = None
        """since when all is left out; None: nothing is"""
        self._first_out = 0
        self._newest = -1
        self._timestamp = self.key_timestamp = key_timestamp
        """of the latest picture that goes; and keyframe"""

    def judge(self, packet: Packet, wait_s: float, delta_wait_s: float, now_s: float) -> Verdict:
        """``wait_s``: how long it would wait; ``delta_wait_s``: behind what is not of keyframes."""
        late = packet.number < (self._newest if self.since_s is None else self._first_out)
        if late or (self.since_s is None and packet.header.timestamp == self._timestamp):
            self._newest = max(self._newest, packet.number)
            return Verdict.GOES  # the rest of what goes
        fits = (wait_s if packet.begins else delta_wait_s) <= MAX_WAIT_S
        if not fits or (self.since_s is not None and not packet.begins):
            if self.since_s is None:
                self.since_s, self._first_out = now_s, packet.number
            return Verdict.LEFT_OUT
        verdict = Verdict.GOES if self.since_s is None else Verdict.RESUMES
        self.since_s, self._newest = None, packet.number
        self._timestamp = packet.header.timestamp
        if packet.begins:
            self.key_timestamp = self._timestamp
        return verdict
