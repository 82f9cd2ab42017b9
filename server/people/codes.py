"""Codes that people read aloud and type: personal codes, join codes, PINs."""

from __future__ import annotations

import secrets
import unicodedata

ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""No 0 and O, no 1, I and L: they are confused in print and over the phone."""

PERSON_CODE_LENGTH = 8
JOIN_CODE_LENGTH = 6
PIN_LENGTH = 6


def draw_code(length: int = PERSON_CODE_LENGTH) -> str:
    """A code that cannot be guessed, of ``length`` letters of ``ALPHABET`` (5 bits each)."""
    # Asked for once, as each question to the system costs: tens of thousands are drawn at a time.
    number = secrets.randbelow(len(ALPHABET) ** length)
    letters = []
    for _ in range(length):
        number, letter = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[letter])
    return "".join(letters)


def draw_pin() -> str:
    """Six digits; leading zeros count."""
    return "".join(secrets.choice("0123456789") for _ in range(PIN_LENGTH))


def normalise_code(text: str) -> str:
    """``text`` in the one form that is stored and compared: NFC, upper case, letters and digits
    alone. Leading zeros stay."""
    composed = unicodedata.normalize("NFC", text).upper()
    return "".join(c for c in unicodedata.normalize("NFC", composed) if c.isalnum())
