"""From a publisher's clocks to the server's one clock, by its sender reports (RFC 3550, 6.4.1).

Sender reports to subscribers are written from the server's clock, so that sound and picture stay
in step whichever sources a page shows. Pure.
"""

from __future__ import annotations

import time

NTP_UNIX_S = 2208988800
"""seconds from 1900 to 1970"""
WALL_OFFSET_S = time.time() - time.monotonic()
"""sender reports count from here: the wall clock may be set, this one goes on evenly"""


def ntp(unix_s: float) -> int:
    """A Unix time as a 64-bit NTP time stamp."""
    return round((unix_s + NTP_UNIX_S) * (1 << 32)) & 0xFFFFFFFFFFFFFFFF


class SourceClock:
    """How much one publisher's NTP clock lags the server's, shared by its streams.

    Each report's transit adds to the difference, so the smallest one seen is the best.
    """

    def __init__(self) -> None:
        self._lag_s: float | None = None

    def report(self, ntp_s: float, arrived_s: float) -> None:
        """A sender report with ``ntp_s`` came at ``arrived_s`` of the server's clock."""
        lag_s = arrived_s - ntp_s
        # Clocks drift: let an old minimum go up slowly (1 ms a report, some five seconds).
        self._lag_s = lag_s if self._lag_s is None else min(lag_s, self._lag_s + 0.001)

    def server_s(self, ntp_s: float) -> float | None:
        """The server's time when the publisher's clock said ``ntp_s``."""
        return None if self._lag_s is None else ntp_s + self._lag_s


class Timeline:
    """Where one stream's time stamps lie on the server's clock."""

    def __init__(self, clock: SourceClock, clock_rate_hz: int) -> None:
        self._clock = clock
        self._clock_rate_hz = clock_rate_hz
        self._first: tuple[float, int] | None = None
        self._reported: tuple[float, int] | None = None

    def packet(self, timestamp: int, now_s: float) -> None:
        """A packet came; the first one stands in for a report until one comes."""
        if self._first is None:
            self._first = (now_s, timestamp)

    def report(self, ntp_time: int, timestamp: int, now_s: float) -> None:
        """A sender report came at ``now_s`` of the server's clock."""
        ntp_s = ntp_time / (1 << 32)
        self._clock.report(ntp_s, now_s)
        self._reported = (ntp_s, timestamp)

    @property
    def known(self) -> bool:
        """Has the publisher told?"""
        return self._reported is not None

    def timestamp_at(self, server_s: float) -> int | None:
        """The time stamp (32 bits) that belongs to ``server_s``; None before the first packet."""
        reference = self._first
        if self._reported is not None:
            reported_at_s = self._clock.server_s(self._reported[0])
            if reported_at_s is not None:
                reference = (reported_at_s, self._reported[1])
        if reference is None:
            return None
        at_s, timestamp = reference
        return round(timestamp + (server_s - at_s) * self._clock_rate_hz) & 0xFFFFFFFF

    def ahead_of(self, other: Timeline) -> int | None:
        """By how much this stream's time stamps are above ``other``'s of the same moment.

        Both are of one publisher: its reports alone tell. None before each has had one.
        """
        if self._reported is None or other._reported is None:
            return None
        elapsed_s = other._reported[0] - self._reported[0]
        here = self._reported[1] + round(elapsed_s * self._clock_rate_hz)
        return (here - other._reported[1]) & 0xFFFFFFFF
