"""A selector that lets packets gather while many come: by how much a worker may be late is ``REST_S``.

Each waking of a process costs more than the packets that it is for: a switch, cold caches, a turn of the
loop, a send to each receiver. So a loop that is woken all the time does not look again until ``REST_S``
after it last did, and finds all that has come meanwhile, as a network card does that moderates its
interrupts. Two pictures are 33 ms apart. What comes now and then is not kept waiting at all, and a flood is
read without a rest: what the kernel has no room for is lost to everybody.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable

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
        self._fd = -1
        self._look: Callable[[float], bool] = lambda now_s: True
        self._is_behind: Callable[[], bool] = lambda: False

    def attend(self, fd: int, look: Callable[[float], bool], is_behind: Callable[[], bool]) -> None:
        """What comes on ``fd`` alone, and ``look(now_s)`` has done with (False), is no event: the loop has
        no turn for it. While ``is_behind()`` there is no rest."""
        self._fd, self._look, self._is_behind = fd, look, is_behind

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As its base does, after a rest where one is to be taken; never where the loop has work."""
        busy = timeout is not None and timeout <= 0
        end_s = None if timeout is None else time.monotonic() + timeout
        while True:
            if not busy:
                timeout = self._rest(end_s)
            found = super().select(timeout)
            if not found:
                return found
            now_s = time.monotonic()
            self._before_s, self._woken_s = self._woken_s, now_s
            if busy or len(found) > 1 or found[0][0].fd != self._fd or self._look(now_s):
                return found
            if end_s is not None and now_s >= end_s:
                return []

    def _rest(self, end_s: float | None) -> float | None:
        """If it is time for one; what is left then until ``end_s``."""
        now_s = time.monotonic()
        often = self._woken_s - self._before_s < OFTEN_S and now_s < self._woken_s + REST_S
        if often and not self._is_behind():
            time.sleep(self._woken_s + REST_S - now_s)
            now_s = time.monotonic()
        return None if end_s is None else max(0.0, end_s - now_s)
