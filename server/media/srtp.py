"""SRTP and SRTCP (RFC 3711) in place, in buffers of our own. THE place of pylibsrtp's private names.

``Session.protect`` copies twice and refuses packets over 1,356 bytes, so libsrtp's functions are
called here directly, through pylibsrtp's binding. What goes out under AES-GCM (RFC 7714) is sealed by
``seal.c`` where that was built, with the OpenSSL that pylibsrtp brings.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, cast

from cffi import FFI  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from pylibsrtp import Session, _binding
from pylibsrtp._binding import ffi, lib

from server.media import native

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
MAX_SSRCS = 1024
"""of one sender: libsrtp keeps something of each, and looks for them one after the other. None is given up,
since its replays would pass then"""
MAX_PACKET_BYTES = BUFFER_BYTES - MAX_TRAILER_BYTES
PROTECT_ADDRESS = int(ffi.cast("intptr_t", ffi.addressof(lib, "srtp_protect")))
UNPROTECT_ADDRESS = int(ffi.cast("intptr_t", ffi.addressof(lib, "srtp_unprotect")))
UNPROTECT_RTCP_ADDRESS = int(ffi.cast("intptr_t", ffi.addressof(lib, "srtp_unprotect_rtcp")))
"""of libsrtp's functions, for compiled code"""

SALT_BYTES = 12
"""of AES-GCM (RFC 7714, 12)"""
_KEY_LABEL, _SALT_LABEL = 0x00, 0x02
_CIPHERS = {16: "EVP_aes_128_gcm", 32: "EVP_aes_256_gcm"}
"""bytes of the key → OpenSSL's cipher"""
_OPENSSL = """
void *EVP_CIPHER_CTX_new(void);
void EVP_CIPHER_CTX_free(void *);
const void *EVP_aes_128_gcm(void);
const void *EVP_aes_256_gcm(void);
int EVP_EncryptInit_ex(void *, const void *, void *, const uint8_t *, const uint8_t *);
int EVP_EncryptUpdate(void *, uint8_t *, int *, const uint8_t *, int);
int EVP_EncryptFinal_ex(void *, uint8_t *, int *);
int EVP_CIPHER_CTX_ctrl(void *, int, int, void *);
"""


class Arena:
    """Memory in which packets are protected, one behind the other."""

    def __init__(self, size: int) -> None:
        self.data = ffi.new("char[]", size)
        self.view = memoryview(ffi.buffer(self.data))


class Srtp:
    """One direction, by libsrtp."""

    seal: Any = None
    """for compiled code, where that seals"""

    def __init__(self, session: Session) -> None:
        self._session = session  # owns the libsrtp context
        self._context = cast(Any, session)._srtp[0]
        self.context_address = int(ffi.cast("intptr_t", self._context))
        """for compiled code"""
        self._data = ffi.new("char[]", BUFFER_BYTES)
        self._length = ffi.new("int *")
        self._view = memoryview(ffi.buffer(self._data))
        self._ssrcs: set[bytes] = set()

    def _run(self, function: Any, size: int) -> memoryview | None:
        self._length[0] = size
        if function(self._context, self._data, self._length):
            return None
        return self._view[: self._length[0]]

    def unprotect(self, data: memoryview, *, rtcp: bool) -> memoryview | None:
        """The plain packet, valid until the next call; None if not authentic, or of too many SSRCs."""
        size = len(data)
        ssrc = bytes(data[4:8] if rtcp else data[8:12])
        is_new = ssrc not in self._ssrcs
        if size > BUFFER_BYTES or (is_new and len(self._ssrcs) == MAX_SSRCS):
            return None
        self._view[:size] = data
        plain = self._run(lib.srtp_unprotect_rtcp if rtcp else lib.srtp_unprotect, size)
        if is_new and plain is not None:
            self._ssrcs.add(ssrc)
        return plain

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

    def protect_in(self, arena: Arena, offset: int, head: bytearray, payload: bytes) -> int:
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


class _OpenSsl(NamedTuple):
    """pylibsrtp's."""

    ffi: FFI
    code: Any


@functools.cache
def _openssl() -> _OpenSsl | None:
    """None where pylibsrtp was built with another one, which it does not show."""
    own = FFI()
    own.cdef(_OPENSSL)
    try:
        code = own.dlopen(_binding.__file__)
        for name in (*_CIPHERS.values(), "EVP_CIPHER_CTX_new", "EVP_CIPHER_CTX_free"):
            getattr(code, name)
    except (OSError, AttributeError):
        return None
    return _OpenSsl(own, code)


def can_seal() -> bool:
    """Is there compiled code, and a cipher for it?"""
    return native.library() is not None and _openssl() is not None


class Sealing(Srtp):
    """What goes out under AES-GCM, sealed by ``seal.c``; reports (SRTCP) by libsrtp.

    ``key`` and ``salt`` are the master's of this direction (RFC 5764, 4.2). Everything that goes out
    under them has to go through this one object, which knows how often numbers have wrapped.
    """

    def __init__(self, session: Session, key: bytes, salt: bytes) -> None:
        """Raises: RuntimeError where there is nothing to seal with (``can_seal``)."""
        super().__init__(session)
        library, openssl = native.library(), _openssl()
        if library is None or openssl is None:
            raise RuntimeError("seal.c was not built, or has no cipher")
        own, code = library
        ciphers = own.new("struct ciphers *")
        for field, name in (
            ("init", "EVP_EncryptInit_ex"),
            ("update", "EVP_EncryptUpdate"),
            ("finish", "EVP_EncryptFinal_ex"),
            ("control", "EVP_CIPHER_CTX_ctrl"),
        ):
            function = openssl.ffi.addressof(openssl.code, name)
            setattr(ciphers, field, own.cast("void *", openssl.ffi.cast("intptr_t", function)))
        new = openssl.code.EVP_CIPHER_CTX_new()
        self._cipher = openssl.ffi.gc(new, openssl.code.EVP_CIPHER_CTX_free)
        self.seal = own.new("char[]", code.diemcau_seal_bytes())
        opened = code.diemcau_seal_open(
            self.seal,
            ciphers,
            own.cast("void *", openssl.ffi.cast("intptr_t", self._cipher)),
            own.cast(
                "void *",
                openssl.ffi.cast("intptr_t", getattr(openssl.code, _CIPHERS[len(key)])()),
            ),
            derive(key, salt, _KEY_LABEL, len(key)),
            derive(key, salt, _SALT_LABEL, SALT_BYTES),
        )
        if not opened:
            raise RuntimeError("OpenSSL does not take the key")
        self._own, self._run_seal = own, code.diemcau_seal

    def protect(
        self, head: bytes | bytearray, payload: bytes | memoryview, *, rtcp: bool
    ) -> memoryview | None:
        """As ``Srtp.protect``."""
        if rtcp:
            return super().protect(head, payload, rtcp=True)
        size = self._seal(self._data, self._view, head, payload)
        return self._view[:size] if size else None

    def protect_in(self, arena: Arena, offset: int, head: bytearray, payload: bytes) -> int:
        """As ``Srtp.protect_in``."""
        return self._seal(arena.data + offset, arena.view[offset:], head, payload)

    def _seal(
        self,
        data: Any,
        view: memoryview,
        head: bytes | bytearray,
        payload: bytes | memoryview,
    ) -> int:
        middle = len(head)
        if middle + len(payload) > MAX_PACKET_BYTES:
            return 0
        view[:middle] = head
        own = self._own
        where = own.cast("uint8_t *", int(ffi.cast("intptr_t", data)))
        given = own.from_buffer("uint8_t[]", payload)
        return int(self._run_seal(self.seal, where, middle, given, len(payload)))


def derive(key: bytes, salt: bytes, label: int, size: int) -> bytes:
    """A session key of ``size`` bytes (RFC 3711, 4.3; RFC 7714, 11: a salt of 12 bytes is filled up
    with zeros)."""
    block = bytearray(salt.ljust(14, b"\0") + bytes(2))
    block[7] ^= label
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(block))).encryptor()
    return stream.update(bytes(size))
