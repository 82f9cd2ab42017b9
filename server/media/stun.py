"""STUN as far as an ICE-lite agent needs it: Binding requests in, responses out (RFC 8489).

Pure: bytes and integers only. Anything that is not a well-formed connectivity check is ``None``,
never an exception, since every byte here comes from strangers.
"""

from __future__ import annotations

import binascii
import hmac
import ipaddress
import struct
from dataclasses import dataclass

MAGIC_COOKIE = 0x2112A442
BINDING_REQUEST = 0x0001
BINDING_SUCCESS = 0x0101
BINDING_ERROR = 0x0111

USERNAME = 0x0006
MESSAGE_INTEGRITY = 0x0008
ERROR_CODE = 0x0009
XOR_MAPPED_ADDRESS = 0x0020
USE_CANDIDATE = 0x0025
FINGERPRINT = 0x8028
ICE_CONTROLLED = 0x8029

ROLE_CONFLICT = 487
_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_FINGERPRINT_XOR = 0x5354554E
_INTEGRITY_BYTES = 24
_FINGERPRINT_BYTES = 8


@dataclass(frozen=True, slots=True)
class Check:
    """A connectivity check (RFC 8445, 7.1) whose integrity is not yet verified."""

    transaction: bytes
    local_ufrag: str
    """our fragment: what stands before the colon of USERNAME"""
    use_candidate: bool
    controlled: bool
    """the sender believes that it is the controlled agent: a role conflict with a lite agent"""
    signed: bytes
    """what MESSAGE-INTEGRITY covers, with the length corrected (RFC 8489, 14.5)"""
    integrity: bytes

    def verify(self, password: str) -> bool:
        """Was this check made by someone who knows ``password``?"""
        expected = hmac.digest(password.encode(), self.signed, "sha1")
        return hmac.compare_digest(expected, self.integrity)


def parse_check(data: bytes) -> Check | None:
    """The connectivity check in ``data``, or None when it is none or not well formed."""
    if len(data) < _HEADER.size:
        return None
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if kind != BINDING_REQUEST or cookie != MAGIC_COOKIE or length != len(data) - _HEADER.size:
        return None
    username = integrity = b""
    signed = b""
    use_candidate = controlled = False
    position = _HEADER.size
    while position + 4 <= len(data):
        attribute, size = _ATTRIBUTE.unpack_from(data, position)
        value = data[position + 4 : position + 4 + size]
        if len(value) != size:
            return None
        if attribute == FINGERPRINT:
            # The last attribute (RFC 8489, 14.7); ICE demands it (RFC 8445, 7.1.2).
            if not signed or size != 4 or value != _fingerprint(data[:position]):
                return None
            break
        if not signed:  # attributes after MESSAGE-INTEGRITY are unprotected: ignored
            if attribute == USERNAME:
                username = value
            elif attribute == USE_CANDIDATE:
                use_candidate = True
            elif attribute == ICE_CONTROLLED:
                controlled = True
            elif attribute == MESSAGE_INTEGRITY:
                if size != 20:
                    return None
                integrity = value
                signed = _with_length(data[:position], _INTEGRITY_BYTES)
        position += 4 + size + (-size % 4)
    else:
        return None
    try:
        local_ufrag, separator, _ = username.decode("utf-8").partition(":")
    except UnicodeDecodeError:
        return None
    if not separator:
        return None
    return Check(transaction, local_ufrag, use_candidate, controlled, signed, integrity)


def success(transaction: bytes, address: tuple[str, int], password: str) -> bytes:
    """A success response that tells the sender its own (host, port) as we see it."""
    host = ipaddress.ip_address(address[0].partition("%")[0])
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        host = host.ipv4_mapped  # a dual-stack socket shows IPv4 peers so
    pad = struct.pack("!I", MAGIC_COOKIE) + transaction
    packed = bytes(a ^ b for a, b in zip(host.packed, pad, strict=False))
    port = address[1] ^ (MAGIC_COOKIE >> 16)
    family = 1 if host.version == 4 else 2
    body = _attribute(XOR_MAPPED_ADDRESS, struct.pack("!BBH", 0, family, port) + packed)
    return _finish(BINDING_SUCCESS, transaction, body, password)


def error(transaction: bytes, code: int, reason: str, password: str) -> bytes:
    """An error response (RFC 8489, 14.8)."""
    body = _attribute(ERROR_CODE, struct.pack("!HBB", 0, code // 100, code % 100) + reason.encode())
    return _finish(BINDING_ERROR, transaction, body, password)


def request(transaction: bytes, username: str, password: str, *, use_candidate: bool) -> bytes:
    """A connectivity check of a controlling agent; the server itself never sends one."""
    body = _attribute(USERNAME, username.encode())
    body += _attribute(0x0024, struct.pack("!I", 1))  # PRIORITY
    body += _attribute(0x802A, bytes(8))  # ICE-CONTROLLING
    if use_candidate:
        body += _attribute(USE_CANDIDATE, b"")
    return _finish(BINDING_REQUEST, transaction, body, password)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def _finish(kind: int, transaction: bytes, body: bytes, password: str) -> bytes:
    message = _HEADER.pack(kind, len(body), MAGIC_COOKIE, transaction) + body
    signed = _with_length(message, _INTEGRITY_BYTES)
    digest = hmac.digest(password.encode(), signed, "sha1")
    message = signed + _attribute(MESSAGE_INTEGRITY, digest)
    return _with_length(message, _FINGERPRINT_BYTES) + _attribute(
        FINGERPRINT, _fingerprint(message)
    )


def _with_length(message: bytes, extra: int) -> bytes:
    length = len(message) - _HEADER.size + extra
    return message[:2] + struct.pack("!H", length) + message[4:]


def _fingerprint(message: bytes) -> bytes:
    crc = binascii.crc32(_with_length(message, _FINGERPRINT_BYTES)) ^ _FINGERPRINT_XOR
    return struct.pack("!I", crc)
