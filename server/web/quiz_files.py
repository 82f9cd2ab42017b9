"""A quiz from a spreadsheet: question, options A to H, the right answer, seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.errors import N_, Invalid
from server.people.names import nfc
from server.protocol import MAX_ITEMS, MAX_OPTIONS
from server.web.roster_columns import header_key
from server.web.spreadsheets import Table

LETTERS = "ABCDEFGH"[:MAX_OPTIONS]
HEADER = (N_("Câu hỏi"), *LETTERS, N_("Đáp án đúng"), N_("Số giây"))
DEFAULT_SECONDS = 30
_NAMES = {
    "text": {"cau hoi", "noi dung", "noi dung cau hoi", "question", "text"},
    "correct": {"dap an dung", "dap an", "tra loi dung", "right answer", "correct", "answer"},
    "seconds": {"so giay", "giay", "thoi gian", "thoi gian giay", "seconds", "time"},
}


@dataclass(frozen=True, slots=True)
class DraftItem:
    """One question as the file has it; ``correct`` is a letter, empty where it is not clear."""

    text: str
    options: tuple[str, ...]
    correct: str
    seconds: str


def read_quiz(table: Table) -> list[DraftItem]:
    """The questions of a table, to be looked through before they are kept.

    Raises: Invalid where columns are missing, or there is no question, or there are too many.
    """
    keys = [header_key(cell) for cell in table[0]]
    places = {
        field: keys.index(next(iter(names & set(keys))))
        for field, names in _NAMES.items()
        if names & set(keys)
    }
    options = [
        column
        for letter in LETTERS.lower()
        for column, key in enumerate(keys)
        if key in (letter, f"phuong an {letter}", f"option {letter}", f"dap an {letter}")
    ]
    if "text" not in places or "correct" not in places or len(options) < 2:
        raise Invalid(
            N_("Thiếu cột: cần “Câu hỏi”, “A”, “B” … và “Đáp án đúng”. Hãy dùng tệp mẫu.")
        )
    lines = [line for line in table[1:] if any(cell.strip() for cell in line)]
    if not lines:
        raise Invalid(N_("Tệp chưa có câu hỏi nào."))
    if len(lines) > MAX_ITEMS:
        raise Invalid(N_("Một bài có nhiều nhất %(most)d câu."), most=MAX_ITEMS)
    return [_item(line, places, options) for line in lines]


def _item(line: Sequence[str], places: dict[str, int], columns: Sequence[int]) -> DraftItem:
    texts = [nfc(line[column]) for column in columns]
    kept = [text for text in texts if text]
    answer = nfc(line[places["correct"]])
    seconds = nfc(line[places["seconds"]]) if "seconds" in places else ""
    return DraftItem(
        nfc(line[places["text"]]),
        tuple(kept),
        _letter(answer, texts, kept),
        seconds or str(DEFAULT_SECONDS),
    )


def _letter(answer: str, texts: Sequence[str], kept: Sequence[str]) -> str:
    """The right option's letter among those kept: given as a letter, a number or its text."""
    place = None
    if answer.upper() in LETTERS and len(answer) == 1:
        place = LETTERS.index(answer.upper())
    elif answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(texts):
        place = int(answer) - 1
    elif answer in texts:
        place = texts.index(answer)
    if place is None or place >= len(texts) or not texts[place]:
        return ""
    return LETTERS[sum(1 for text in texts[:place] if text)]
