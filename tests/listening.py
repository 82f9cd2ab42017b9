"""A listening socket that is watched."""

from __future__ import annotations

import asyncio
import itertools
import socket


class Watched(socket.socket):
    """It knows how many connections were taken from it."""

    def __init__(self) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self.taken = 0
        self.bind(("127.0.0.1", 0))
        self.listen()

    def accept(self) -> tuple[socket.socket, object]:
        """One connection."""
        found = super().accept()
        self.taken += 1
        return found

    async def most_in_one_turn(self, count: int) -> int:
        """So many come at once; how many of them were taken in one turn of the loop.

        Raises: TimeoutError where there is no room for them.
        """
        seen = [self.taken]
        # While this runs the loop does not.
        coming = [socket.create_connection(self.getsockname(), timeout=60) for _ in range(count)]
        while seen[-1] < seen[0] + count:
            await asyncio.sleep(0)
            seen.append(self.taken)
        for each in coming:
            each.close()
        return max(after - before for before, after in itertools.pairwise(seen))
