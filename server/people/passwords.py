"""Passwords and their hashes. All of it is slow by design (RFC 9106): never where others wait for it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from server.errors import N_, Invalid

MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 200

_HASHER = PasswordHasher()  # the library's defaults are RFC 9106's low-memory choice
_TOO_SHORT = N_("Mật khẩu cần có ít nhất %(length)d ký tự.")


def _nobodys_hash() -> str:
    """A hash that no password has, as costly to compare with as any: none is made at each start."""
    cost = f"m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}"
    salt, tag = (
        b64encode(bytes(n)).decode().rstrip("=") for n in (_HASHER.salt_len, _HASHER.hash_len)
    )
    return f"$argon2id$v={ARGON2_VERSION}${cost}${salt}${tag}"


NOBODYS_HASH = _nobodys_hash()


@dataclass(frozen=True, slots=True)
class Tried:
    """A password that was compared."""

    against: str
    """the hash that it was compared with"""
    right: bool
    anew: str | None = None
    """the hash to keep from now on, where it is another"""


def hash_password(password: str) -> str:
    """Raises: Invalid where it is shorter than ten characters (or absurdly long)."""
    if len(password) < MIN_PASSWORD_LENGTH:
        raise Invalid(_TOO_SHORT, length=MIN_PASSWORD_LENGTH)
    if len(password) > MAX_PASSWORD_LENGTH:
        raise Invalid(N_("Mật khẩu quá dài."))
    return _HASHER.hash(password)


def compare(password_hash: str, password: str) -> Tried:
    """The right one is hashed anew where the old hash cost less than one does today."""
    if not _is_right(password_hash, password):
        return Tried(password_hash, False)
    old = _HASHER.check_needs_rehash(password_hash)
    return Tried(password_hash, True, _HASHER.hash(password) if old else None)


def replace(password_hash: str, old: str, new: str) -> Tried:
    """With the hash of ``new`` where ``old`` is right. Raises: Invalid (too short, same as before)."""
    if not _is_right(password_hash, old):
        return Tried(password_hash, False)
    if old == new:
        raise Invalid(N_("Mật khẩu mới phải khác mật khẩu hiện tại."))
    return Tried(password_hash, True, hash_password(new))


def _is_right(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password[: MAX_PASSWORD_LENGTH + 1])
    except (VerificationError, InvalidHashError):
        return False
