"""What one publisher may send: one limit, for what Python reads and for what goes on by itself (``relay.c``).

Pure but for the memory that compiled code shares.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from server.media import native
from server.media.limits import Allowance

MAX_BPS = 15_000_000
"""1080p60 of a good encoder is half of it; what comes beyond is dropped"""
MAX_PACKETS_PER_S = 4_000
"""full packets would be 1,600; small ones are as much work for us"""
BURST_S = 1.0
"""so much of either may come at once"""
EXCESS_S = 10.0
"""who goes on so long beyond it is cut off"""


class Limit(Protocol):
    """So many packets and octets a second."""

    def take(self, size: int, now_s: float) -> bool:
        """May a packet of ``size`` bytes go on now? If so it counts; if not, nothing does, so that the same
        packet may be asked about again."""


class Plain:
    """In Python."""

    def __init__(self, packets: Allowance, octets: Allowance) -> None:
        self._packets, self._octets = packets, octets

    def take(self, size: int, now_s: float) -> bool:
        """See ``Limit``."""
        packets = self._packets
        allowed = packets.allows(1, now_s) and self._octets.take(size, now_s)
        return allowed and packets.take(1, now_s)


class Compiled:
    """By ``relay.c``, which takes of it without Python too."""

    def __init__(self, packets: Allowance, octets: Allowance) -> None:
        """Raises: RuntimeError where that was not built."""
        library = native.library()
        if library is None:
            raise RuntimeError("relay.c was not built")
        ffi, code = library
        self.memory = ffi.new("struct limit *")
        """for ``relay.c``"""
        for bucket, allowance in ((self.memory.packets, packets), (self.memory.octets, octets)):
            bucket.rate_per_s, bucket.burst = allowance.rate_per_s, allowance.burst
            bucket.left, bucket.at_s = allowance.burst, float("-inf")
        self._take = code.diemcau_take

    def take(self, size: int, now_s: float) -> bool:
        """See ``Limit``."""
        return bool(self._take(self.memory, size, now_s))


def limit() -> Plain | Compiled:
    """One publisher's."""
    packets = Allowance(MAX_PACKETS_PER_S, MAX_PACKETS_PER_S * BURST_S)
    octets = Allowance(MAX_BPS / 8, MAX_BPS / 8 * BURST_S)
    return Plain(packets, octets) if native.library() is None else Compiled(packets, octets)


class Uplink:
    """Who keeps to the limit, and who does not."""

    def __init__(self, warn: Callable[[str, str], None]) -> None:
        """``warn(what, details)`` tells the log."""
        self.limit = limit()
        self.on_excess: Callable[[], None] = lambda: None
        """cut it off"""
        self._warn = warn
        self._excess: tuple[float, float] | None = None
        """first and latest packet beyond the limit"""
        self._exceeded = False

    def admits(self, size: int, now_s: float) -> bool:
        """Does this packet go on? If not, it is dropped."""
        if self.limit.take(size, now_s):
            return True
        first_s, latest_s = self._excess or (now_s, now_s)
        if now_s - latest_s > BURST_S or self._excess is None:
            first_s = now_s
            limits = f"limit_bps={MAX_BPS} limit_packets_per_s={MAX_PACKETS_PER_S}"
            self._warn("sends too much", limits)
        self._excess, self._exceeded = (first_s, now_s), True
        if now_s - first_s > EXCESS_S:
            self._warn("cut off", f"after_s={EXCESS_S:.0f}")
            self._excess = None
            self.on_excess()
        return False

    def take_exceeded(self) -> bool:
        """Was anything dropped since this was last asked?"""
        exceeded, self._exceeded = self._exceeded, False
        return exceeded
