"""SRTP and SRTCP (RFC 3711) in place, in buffers of our own. THE place of pylibsrtp's private names.

``Session.protect`` copies twice and refuses packets over 1,356 bytes, so libsrtp's functions are
called here directly, through pylibsrtp's binding.
"""

from __future__ import annotations

from typing import Any, cast

from pylibsrtp import Session
from pylibsrtp._binding import ffi, lib

PRIVATE_NAMES: tuple[tuple[object, str], ...] = (
    (lib, "srtp_protect"),
    (lib, "srtp_unprotect"),
    (lib, "srtp_protect_rtcp"),
    (lib, "srtp_unprotect_rtcp"),
)
"""each private function that this module counts on; a test asserts that it exists"""

BUFFER_BYTES = 2048
MAX_TRAILER_BYTES = 148
"""SRTP_MAX_SRTCP_TRAILER_LEN of libsrtp"""
MAX_PACKET_BYTES = BUFFER_BYTES - MAX_TRAILER_BYTES
PROTECT_ADDRESS = int(ffi.cast("intptr_t", ffi.addressof(lib, "srtp_protect")))
"""of libsrtp's function, for compiled code"""


class Arena:
    """Memory in which packets are protected, one behind the other."""

    def __init__(self, size: int) -> None:
        self.data = ffi.new("char[]", size)
        self.view = memoryview(ffi.buffer(self.data))


class Srtp:
    """One direction."""

    def __init__(self, session: Session) -> None:
        self._session = session  # owns the libsrtp context
        self._context = cast(Any, session)._srtp[0]
        self.context_address = int(ffi.cast("intptr_t", self._context))
        """for compiled code"""
        self._data = ffi.new("char[]", BUFFER_BYTES)
        self._length = ffi.new("int *")
        self._view = memoryview(ffi.buffer(self._data))

    def _run(self, function: Any, size: int) -> memoryview | None:
        self._length[0] = size
        if function(self._context, self._data, self._length):
            return None
        return self._view[: self._length[0]]

    def unprotect(self, data: memoryview, *, rtcp: bool) -> memoryview | None:
        """The plain packet, valid until the next call; None if not authentic."""
        size = len(data)
        if size > BUFFER_BYTES:
            return None
        self._view[:size] = data
        return self._run(lib.srtp_unprotect_rtcp if rtcp else lib.srtp_unprotect, size)

    def protect(
        self, head: bytes | bytearray, payload: bytes | memoryview, *, rtcp: bool
    ) -> memoryview | None:
        """``head`` + ``payload`` protected, valid until the next call; None if impossible."""
        middle = len(head)
        size = middle + len(payload)
        if size > MAX_PACKET_BYTES:
            return None
        self._view[:middle] = head
        self._view[middle:size] = payload
        return self._run(lib.srtp_protect_rtcp if rtcp else lib.srtp_protect, size)

    def protect_in(self, arena: Arena, offset: int, head: bytearray, payload: memoryview) -> int:
        """``head`` + ``payload`` protected as RTP at ``offset``; its size, 0 if impossible.

        There have to be ``BUFFER_BYTES`` of room.
        """
        middle = offset + len(head)
        end = middle + len(payload)
        if end - offset > MAX_PACKET_BYTES:
            return 0
        arena.view[offset:middle] = head
        arena.view[middle:end] = payload
        length = self._length
        length[0] = end - offset
        if lib.srtp_protect(self._context, arena.data + offset, length):
            return 0
        return int(length[0])
