"""What a receiver sends (RTCP), done with in compiled code where nobody has to look at it (``listen.c``).

That is most of it: transport-wide feedback that is alone in its packet, which its estimator takes, and
reports on streams, of which nothing is needed once there is feedback. Where nothing was compiled everything
goes the way that the rest goes (``Subscriber``), and the same comes of it.
"""

from __future__ import annotations

from collections.abc import Callable

from server.media import estimator, native

DONE, FELL = 0, 1
"""of ``listen.c``; more: bytes of a packet that is left to look at"""


class Ear:
    """See the module. ``on_fall(now_s)``: the budget has become less."""

    def __init__(self, line: estimator.Compiled, on_fall: Callable[[float], None]) -> None:
        """Raises: RuntimeError where ``listen.c`` was not built."""
        library = native.library()
        if library is None:
            raise RuntimeError("listen.c was not built")
        self._ffi, code = library
        self.on_fall = on_fall
        self._estimator = line
        self._listen = code.diemcau_listen
        self.memory = self._ffi.new("struct ear *")
        """for ``receive.c``, which asks it without Python"""
        self.memory.estimator = line.memory
        self.memory.told = self._ffi.addressof(line.estimate, "heard")

    def hear(self, packet: memoryview, now_s: float) -> bool:
        """Is it done with this plain packet?"""
        data = self._ffi.from_buffer("uint8_t[]", packet)
        left: int = self._listen(self.memory, data, len(packet), now_s)
        if left == FELL:
            self.on_fall(now_s)
        return left in (DONE, FELL)

    def take_count(self) -> int:
        """Packets that were done with since this was last asked."""
        count: int = self.memory.packets
        self.memory.packets = 0
        return count
