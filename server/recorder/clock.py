"""From RTP timestamps of one stream to the server's time line, steadily.

Time runs by the RTP timestamps from an anchor; the anchor is the packet that came with the
least delay. It moves only when it is proven wrong: at once when a packet comes earlier than it
allows, and after two seconds in which every packet was late (a clock that drifts, a longer path).
"""

from __future__ import annotations

from collections import deque

EARLY_US = 30_000
LATE_US = 100_000
WINDOW_US = 2_000_000
RESTART_US = 3_000_000


class Clock:
    """Maps the timestamps of one SSRC, ``rate_hz`` ticks a second, to µs of the server's clock."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._ticks: int | None = None
        self._anchor_us = 0
        self._lowest: deque[tuple[int, int]] = deque()
        """(arrival, arrival minus stream time), rising: the sliding minimum"""

    def time_us(self, timestamp: int, at_us: int) -> int:
        """When the sample of ``timestamp``, which arrived at ``at_us``, took place."""
        if self._ticks is None:
            self._ticks = timestamp
        else:
            step = (timestamp - self._ticks + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            self._ticks += step
        stream_us = self._ticks * 1_000_000 // self._rate_hz
        self._observe(at_us, at_us - stream_us)
        return self._anchor_us + stream_us

    def _observe(self, at_us: int, base_us: int) -> None:
        lowest = self._lowest
        if lowest and abs(base_us - lowest[0][1]) > RESTART_US:
            lowest.clear()
        first = not lowest
        while lowest and lowest[-1][1] >= base_us:
            lowest.pop()
        lowest.append((at_us, base_us))
        while lowest[0][0] < at_us - WINDOW_US:
            lowest.popleft()
        drift_us = lowest[0][1] - self._anchor_us
        if first or drift_us < -EARLY_US or drift_us > LATE_US:
            self._anchor_us = lowest[0][1]
