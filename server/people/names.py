"""Vietnamese names: how they are sorted, searched and put into addresses.

The order is that of the Vietnamese alphabet (a ă â b c d đ e ê …; f, j, w and z in their Latin
places), syllable by syllable, equal letters by tone: level, huyền, hỏi, ngã, sắc, nặng (the order
of Vietnamese dictionaries). A list of people goes by the given name, the last word.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

LETTERS = "aăâbcdđeêfghijklmnoôơpqrstuưvwxyz"
_FIRST_LETTER = 20  # above digits and tones, two places each
_LETTER_CODES = {letter: f"{_FIRST_LETTER + i:02}" for i, letter in enumerate(LETTERS)}
_LETTER_CODES |= {str(digit): f"{10 + digit:02}" for digit in range(10)}
_OTHER = "99"

TONES = {"\u0300": 1, "\u0309": 2, "\u0303": 3, "\u0301": 4, "\u0323": 5}
"""huyền, hỏi, ngã, sắc, nặng as combining marks; none is 0"""

SLUG_LENGTH = 60


def nfc(text: str) -> str:
    """Normal form C, trimmed, inner white space made single; the letter eth, which looks like Đ and
    stands for it in some old lists, made Đ."""
    return " ".join(unicodedata.normalize("NFC", text).replace("Ð", "Đ").replace("ð", "đ").split())


def folded(text: str) -> str:
    """What names that differ by case, white space or Unicode form alone have in common."""
    return nfc(text).casefold()


def _split_tone(syllable: str) -> tuple[str, int]:
    """A lower-case syllable without its tone mark, and the tone's place in the order."""
    tone = 0
    letters = []
    for char in unicodedata.normalize("NFD", syllable):
        if char in TONES:
            tone = TONES[char]
        else:
            letters.append(char)
    return unicodedata.normalize("NFC", "".join(letters)), tone


@lru_cache(maxsize=10_000)  # the syllables of Vietnamese are fewer, and of names fewer still
def _syllable_key(syllable: str) -> str:
    letters, tone = _split_tone(syllable)
    return "".join(_LETTER_CODES.get(letter, _OTHER) for letter in letters) + f"0{tone}"


def text_key(text: str) -> str:
    """Key of a text in the Vietnamese order, digits alone: it sorts alike under any collation."""
    words = re.findall(r"\w+", nfc(text).lower())
    return "".join(_syllable_key(word) for word in words)


def sort_key(name: str) -> str:
    """Key of a person's name: the given name (last word) first, then the name from its start."""
    words = nfc(name).split()
    if not words:
        return ""
    return text_key(words[-1]) + text_key(" ".join(words[:-1]))


def search_key(text: str) -> str:
    """Lower case without diacritics, so that "duc" finds "Đức"."""
    lowered = nfc(text).lower().replace("đ", "d")
    decomposed = unicodedata.normalize("NFD", lowered)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def slugify(text: str) -> str:
    """A name for addresses: ``[a-z0-9-]``, at most 60 characters; may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", search_key(text)).strip("-")[:SLUG_LENGTH].strip("-")
