"""A selector that lets packets gather while many come: by how much a worker may be late is ``REST_S``.

Each waking of a process costs more than the packets that it is for: a switch, cold caches, a turn of the
loop, a send to each receiver. So a loop that is woken all the time does not look again until ``REST_S``
after it last did, and finds all that has come meanwhile, as a network card does that moderates its
interrupts. Two pictures are 33 ms apart. What comes now and then is not kept waiting at all, and a flood is
read without a rest: what the kernel has no room for is lost to everybody. ``rest.c`` does the same, where
what comes is read by compiled code: then a waking that is nobody's never sees Python.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from server.media import native

REST_S = 0.008
"""between two looks"""
OFTEN_S = 2 * REST_S
"""who was woken twice within this is woken all the time"""


def _pace() -> Any:
    """``woken_s``: when something came the last time, ``before_s``: and the time before. As compiled code
    takes it, where there is any."""
    library = native.library()
    pace = library[0].new("struct pace *") if library is not None else SimpleNamespace()
    pace.rest_s, pace.often_s = REST_S, OFTEN_S
    pace.woken_s = pace.before_s = float("-inf")
    return pace


class Resting(selectors.EpollSelector):
    """See the module. Timers that are due during a rest wait for its end."""

    def __init__(self) -> None:
        super().__init__()
        self._pace = _pace()
        self._fd = -1
        self._look: Callable[[float], bool] = lambda now_s: True
        self._is_behind: Callable[[], bool] = lambda: False
        self._rests: Callable[[Any, int, float], bool | None] = lambda pace, epoll, end_s: None

    def attend(
        self,
        fd: int,
        look: Callable[[float], bool],
        is_behind: Callable[[], bool],
        rests: Callable[[Any, int, float], bool | None] | None = None,
    ) -> None:
        """What comes on ``fd`` alone, and ``look(now_s)`` has done with (False), is no event: the loop has
        no turn for it. While ``is_behind()`` there is no rest. ``rests(pace, epoll, end_s)`` does all that
        where it can: is ``fd`` an event now? Else something else is, or nothing; None: it cannot.
        """
        self._fd, self._look, self._is_behind = fd, look, is_behind
        if rests is not None:
            self._rests = rests

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As its base does, after a rest where one is to be taken; never where the loop has work."""
        busy = timeout is not None and timeout <= 0
        end_s = float("inf") if timeout is None else time.monotonic() + timeout
        came = None if busy else self._rests(self._pace, self.fileno(), end_s)
        if came is not None:
            found = super().select(0)
            if came and all(key.fd != self._fd for key, _ in found):
                found.append((self.get_key(self._fd), selectors.EVENT_READ))
            return found
        while True:
            found = super().select(timeout if busy else self._rest(end_s))
            if not found:
                return found
            now_s = time.monotonic()
            self._pace.before_s, self._pace.woken_s = self._pace.woken_s, now_s
            if busy or len(found) > 1 or found[0][0].fd != self._fd or self._look(now_s):
                return found
            if now_s >= end_s:
                return []

    def _rest(self, end_s: float) -> float | None:
        """If it is time for one; what is left then until ``end_s``."""
        now_s, woken_s = time.monotonic(), self._pace.woken_s
        often = woken_s - self._pace.before_s < OFTEN_S and now_s < woken_s + REST_S
        if often and not self._is_behind():
            time.sleep(woken_s + REST_S - now_s)
            now_s = time.monotonic()
        return None if end_s == float("inf") else max(0.0, end_s - now_s)
