"""Passwords are hashed and compared by a thread of their own, one after the other: each takes a tenth of
a second and 64 MB, for which neither the loop nor the writer lets others wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from server.errors import Unavailable

T = TypeVar("T")

MOST_WAITING = 20
"""Somebody who tries names and passwords keeps others from signing in for a few seconds at most."""
RETRY_AFTER_S = 5.0


class Hashing:
    """The thread, and who waits for it. Call it on one loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._waiting = 0

    async def __call__(self, work: Callable[..., T], *arguments: object) -> T:
        """What ``work`` gives. Raises: what it raises; Unavailable where too many wait."""
        if self._waiting >= MOST_WAITING:
            raise Unavailable(retry_after_s=RETRY_AFTER_S)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, lambda: work(*arguments))
        finally:
            self._waiting -= 1
