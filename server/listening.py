"""How many connections are taken and wait, by each socket that listens.

asyncio takes as many in one turn of its loop as it lets wait in the kernel, by one number. The two
have nothing to do with each other: phones of a whole conference come at once and none shall be turned
away, and those who are here already shall not wait until a thousand others have been let in.
"""

from __future__ import annotations

import socket

TAKEN_AT_ONCE = 16
"""Connections taken in one turn of the loop; asyncio's ``backlog``."""
MOST_WAITING = 1024
"""Connections that wait in the kernel to be taken."""


def make_room(listening: socket.socket) -> None:
    """For all that may wait; to be called once asyncio listens."""
    listening.listen(MOST_WAITING)
