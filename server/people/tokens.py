"""Secrets of links, seats and sign-ins: random, shown once, kept as their SHA-256 alone."""

from __future__ import annotations

import hashlib
import hmac
import secrets

TOKEN_BYTES = 24
PUBLIC_ID_BYTES = 9


def new_token() -> str:
    """A URL-safe secret of 192 bits."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def new_public_id() -> str:
    """A URL-safe id of 72 bits for addresses; it is no secret and opens nothing by itself."""
    return secrets.token_urlsafe(PUBLIC_ID_BYTES)


def hash_token(token: str) -> str:
    """Hex SHA-256. No salt and no stretching: the input is random, not a password."""
    return hashlib.sha256(token.encode()).hexdigest()


def matches(token: str, token_hash: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(hash_token(token), token_hash)
