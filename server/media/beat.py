"""A pause that ends with a waking that happens anyway: an idle processor that wakes for a timer alone
has cold caches to do it with.
"""

from __future__ import annotations

import asyncio
import time

LATE = 0.1
"""by so much of itself a pause may be longer"""


class Beat:
    """See the module."""

    def __init__(self) -> None:
        self.due_s = float("inf")
        """from when on a pause ends with the next waking"""
        self._ended: asyncio.Future[None] | None = None

    async def pause(self, seconds: float) -> None:
        """For so long, or until somebody is ``awake`` a little later."""
        loop = asyncio.get_running_loop()
        self.due_s, self._ended = time.monotonic() + seconds, loop.create_future()
        timer = loop.call_later(seconds * (1 + LATE), self._end)
        try:
            await self._ended
        finally:
            timer.cancel()

    def awake(self, now_s: float) -> None:
        """Something else woke this process, and is done with."""
        if now_s >= self.due_s:
            self._end()

    def _end(self) -> None:
        self.due_s = float("inf")
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
