"""A selector that lets packets gather while many come: by how much a worker may be late is ``REST_S``.

Each waking of a process costs more than the packets that it is for: a switch, cold caches, a turn of the
loop, a send to each receiver. So a loop that is woken all the time does not look again until ``REST_S``
after it last did, and finds all that has come meanwhile, as a network card does that moderates its
interrupts. Two pictures are 33 ms apart. What comes now and then is not kept waiting at all.
"""

from __future__ import annotations

import asyncio
import selectors
import time

REST_S = 0.005
"""between two looks"""
OFTEN_S = 2 * REST_S
"""who was woken twice within this is woken all the time"""


class Resting(selectors.EpollSelector):
    """See the module. Timers that are due during a rest wait for its end."""

    def __init__(self) -> None:
        super().__init__()
        self._woken_s = self._before_s = float("-inf")
        """when something came the last time, and the time before"""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As its base does, after a rest where one is to be taken; never where the loop has work."""
        woken_s = self._woken_s
        if woken_s - self._before_s < OFTEN_S and (timeout is None or timeout > 0):
            rest_s = woken_s + REST_S - time.monotonic()
            if rest_s > 0:
                time.sleep(rest_s)
                timeout = None if timeout is None else max(0.0, timeout - rest_s)
        found = super().select(timeout)
        if found:
            self._before_s, self._woken_s = woken_s, time.monotonic()
        return found


def loop() -> asyncio.AbstractEventLoop:
    """One that rests."""
    return asyncio.SelectorEventLoop(Resting())
