"""Which column of a roster holds what, by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from server.errors import N_
from server.people.names import nfc, search_key
from server.web.spreadsheets import HEAD_ROWS, Table

FIELDS = {
    "name": N_("Họ và tên"),
    "code": N_("Mã"),
    "unit": N_("Đơn vị"),
    "post": N_("Chức vụ"),
    "site": N_("Điểm cầu"),
    "group": N_("Nhóm"),
}
"""what a roster holds, in the order of the preview and of the template"""

_NAMES = {
    "name": "ho va ten, ho ten, ten hoc vien, ho ten hoc vien, ho va ten hoc vien, hoc vien, "
    "ho va ten can bo, ho ten can bo, ten, name, full name, fullname",
    "family": "ho, ho dem, ho lot, ho va ten dem, ho va dem, ho va chu dem, ho dem va ten dem, "
    "surname, last name, family name",
    "code": "ma, ma so, ma hoc vien, ma hv, ma can bo, ma cb, ma ca nhan, ma so hoc vien, "
    "ma dinh danh, so hieu, code, id, personal code",
    "unit": "don vi, don vi cong tac, co quan, co quan don vi, co quan cong tac, noi cong tac, "
    "ten don vi, unit, organisation, organization, office",
    "post": "chuc vu, chuc danh, chuc vu chuc danh, vi tri, vi tri viec lam, post, position",
    "site": "diem cau, ten diem cau, ma diem cau, diem, noi du, dia diem, diem du, phong, hoi truong, "
    "site, room, venue",
    "group": "nhom, doi tuong, nhom doi tuong, lop, group, audience",
}
_FIELD_OF = {name.strip(): field for field, names in _NAMES.items() for name in names.split(",")}


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the header is (row, from 0) and which column holds each field."""

    header_row: int
    places: dict[str, int]
    ignored: list[str]
    """names of columns that are not read"""

    def missing(self, required: Sequence[str]) -> list[str]:
        """Those of ``required`` that the file lacks."""
        return [field for field in required if field not in self.places]


def header_key(text: str) -> str:
    """A column's name without diacritics, case and signs: ``Mã số (*)`` is ``ma so``."""
    return " ".join(re.findall(r"[a-z0-9]+", search_key(text)))


def find_columns(table: Table) -> Columns:
    """Look in the first rows for the one that names the most columns."""
    best = Columns(0, {}, [])
    for number, row in enumerate(table[:HEAD_ROWS]):
        places, ignored = _read_header(row)
        if len(places) > len(best.places):
            best = Columns(number, places, ignored)
    return best


def _read_header(row: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    places: dict[str, int] = {}
    ignored: list[str] = []
    for column, text in enumerate(row):
        field = _FIELD_OF.get(header_key(text))
        if field is not None and field not in places:
            places[field] = column
        elif text.strip():
            ignored.append(nfc(text)[:60])
    return places, ignored
