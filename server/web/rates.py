"""How often a browser may send forms: token buckets by device, with a wide one by address.

A room of 155 phones shares one address, so the address alone never decides; its bucket only
bounds somebody who throws the device's cookie away each time. Behind a reverse proxy the address is the
client's, by TRUSTED_PROXIES (``forwarded.py``).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_BUCKETS = 50_000


@dataclass(frozen=True, slots=True)
class Rate:
    """``burst`` at once, then ``per_s`` each second."""

    burst: float
    per_s: float


DEVICE_RATE = Rate(20, 1)
ADDRESS_RATE = Rate(2000, 100)


class Buckets:
    """Token buckets by name; the least recently used are forgotten beyond ``MAX_BUCKETS``."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """Take one token; 0, or how many seconds to wait for it."""
        now = self._clock()
        tokens, at = self._held.pop(name, (self._rate.burst, now))
        tokens = min(self._rate.burst, tokens + (now - at) * self._rate.per_s)
        wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._rate.per_s
        self._held[name] = (tokens - 1 if wait_s == 0 else tokens, now)
        while len(self._held) > MAX_BUCKETS:
            self._held.popitem(last=False)
        return wait_s


class Rates:
    """Both buckets of a request."""

    def __init__(
        self,
        device: Rate = DEVICE_RATE,
        address: Rate = ADDRESS_RATE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._devices = Buckets(device, clock)
        self._addresses = Buckets(address, clock)

    def take(self, device: str, address: str) -> float:
        """0, or how many seconds this device (or its whole address) must wait."""
        return max(self._devices.take(device), self._addresses.take(address))
