"""What only changes its numbers goes on without Python (``relay.c``), which keeps the books a little later.

A ``Relay`` belongs to one incoming stream. While it is armed its packets, in order, leave for all
receivers of a fan by the very call that read them; what they were is told afterwards, by
``IceLite.catch_up``: before anything else is looked at that may depend on it, and at the latest after
``BOOKS_S``. Where nothing was compiled, or a receiver needs more than other numbers, packets are forwarded
burst by burst (``layer.Layer``).
"""

from __future__ import annotations

from server.media import native, uplink
from server.media.sending import Lanes

BOOKS_S = 0.3
"""a worker does it every 0.1 or 0.2 s (``Worker._tick``), and whatever depends on it before that"""


class Relay:
    """See the module."""

    def __init__(self, limit: uplink.Compiled) -> None:
        """``limit``: its publisher's. Raises: RuntimeError where ``relay.c`` was not built."""
        library = native.library()
        if library is None:
            raise RuntimeError("relay.c was not built")
        self._ffi = library[0]
        self.memory = self._ffi.new("struct relay *")
        """for ``receive.c``"""
        self.memory.limit = limit.memory
        self._kept: tuple[uplink.Compiled, Lanes | None] = limit, None
        """what it points to"""

    @property
    def armed(self) -> bool:
        """Do packets go on by themselves?"""
        return bool(self.memory.armed)

    def arm(self, highest: int, lanes: Lanes | None) -> None:
        """From the packet after ``highest`` on they do, to all of these; None: there is nobody."""
        memory = self.memory
        memory.highest = highest & 0xFFFF
        if memory.armed and self._kept[1] is lanes:
            return
        if lanes is not None and lanes.made is None:
            return  # nothing has gone there yet
        self._kept = self._kept[0], lanes
        memory.stream = lanes.made if lanes is not None else self._ffi.NULL
        memory.streams = len(lanes.lanes) if lanes is not None else 0
        memory.armed = 1

    def disarm(self) -> None:
        """From the next packet on they do not."""
        self.memory.armed = self.memory.streams = 0
        self._kept = self._kept[0], None


def relay(limit: uplink.Limit) -> Relay | None:
    """Of one stream of whoever keeps to this; None where nothing was compiled."""
    return Relay(limit) if isinstance(limit, uplink.Compiled) else None
