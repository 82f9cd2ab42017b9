"""What an uploaded roster would do: every row as it would be kept, every doubt at its cell.

Nothing is written here. A cell is *changed* where what is kept differs from what the file says
or from what was known of that person, and *wrong* where the row cannot be imported.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences.models import RosterEntry, Site
from server.conferences.sites import sites_of
from server.errors import N_, Invalid
from server.people.codes import normalise_code
from server.people.models import Person
from server.people.names import folded, nfc, search_key
from server.protocol import RosterRow
from server.web.roster_columns import FIELDS, Columns, find_columns
from server.web.spreadsheets import MAX_ROWS, Table

MAX_CODE = 40
MAX_TEXT = 300
_CHUNK = 500

_SPACES = N_("Đã bỏ khoảng trắng thừa.")
_COMPOSED = N_("Đã ghép dấu về dạng chuẩn Unicode.")
_CODE = N_("Mã được viết hoa, bỏ dấu cách và dấu nối: trước là “%(before)s”.")
_NO_NAME = N_("Thiếu họ và tên.")
_NO_SITE = N_("Thiếu điểm cầu.")
_UNKNOWN_SITE = N_("Không có điểm cầu này.")
_LONG = N_("Dài quá %(most)d ký tự.")
_BAD_CODE = N_("Mã không có chữ hay số nào.")
_TWICE = N_("Trùng mã với dòng %(before)d.")
_RENAMED = N_("Mã này đang là của “%(before)s”; tên sẽ được đổi.")
_READ_AS = N_("Trong tệp là “%(before)s”.")
_MOVED = N_("Chuyển từ “%(before)s”.")


class Mark(msgspec.Struct, frozen=True):
    """Why a cell stands out. ``message`` is to be translated and filled with ``values``."""

    kind: Literal["wrong", "changed"]
    message: str
    values: dict[str, str | int] = {}


class Row(msgspec.Struct):
    """One line of the file, numbered as the spreadsheet shows it."""

    number: int
    cells: dict[str, str]
    """field → what would be kept (for ``site`` the name as shown)"""
    site: str
    """slug, empty where unknown"""
    marks: dict[str, Mark] = {}

    @property
    def is_wrong(self) -> bool:
        """True where the row cannot be imported."""
        return any(mark.kind == "wrong" for mark in self.marks.values())


class Preview(msgspec.Struct):
    """The whole file, checked."""

    fields: list[str]
    """the columns that were found"""
    missing: list[str]
    """required ones that were not"""
    ignored: list[str]
    rows: list[Row]
    unknown_sites: dict[str, int]
    """name in the file → how many rows"""
    known: int = 0
    """how many rows update somebody who is known by their code"""

    @property
    def wrong_rows(self) -> list[Row]:
        """Rows that cannot be imported."""
        return [row for row in self.rows if row.is_wrong]

    @property
    def changed(self) -> int:
        """How many rows have a changed cell and no wrong one."""
        return sum(1 for row in self.rows if row.marks and not row.is_wrong)

    def importable(self) -> tuple[RosterRow, ...]:
        """The rows without a wrong cell, as the command takes them."""
        return tuple(
            RosterRow(site=row.site, **{f: row.cells.get(f, "") for f in FIELDS if f != "site"})
            for row in self.rows
            if not row.is_wrong
        )


def preview(session: Session, conference_id: int, table: Table, default_site: str) -> Preview:
    """Check ``table`` against the conference. ``default_site`` (a slug or empty) is for rows that
    name no site.

    Raises: Invalid where there are no rows, or too many.
    """
    columns = find_columns(table)
    sites = sites_of(session, conference_id)
    required = ["name"] if default_site or len(sites) == 1 else ["name", "site"]
    default = default_site or (sites[0].slug if len(sites) == 1 else "")
    missing = columns.missing(required)
    fields = [field for field in FIELDS if field in columns.places]
    if "site" not in fields and default:
        fields.append("site")
    result = Preview(fields, missing, columns.ignored, [], {})
    if missing:
        return result
    lines = table[columns.header_row + 1 :]
    filled = [
        (number, line)
        for number, line in enumerate(lines, columns.header_row + 2)
        if any(cell.strip() for cell in line)
    ]
    if not filled:
        raise Invalid(N_("Tệp chỉ có tên cột, chưa có học viên nào."))
    if len(filled) > MAX_ROWS:
        raise Invalid(N_("Bảng có hơn %(most)s dòng. Hãy chia thành nhiều tệp."), most=MAX_ROWS)
    checker = _Checker(columns, sites, default)
    result.rows = [checker.row(number, line) for number, line in filled]
    result.unknown_sites = dict(checker.unknown_sites)
    result.known = _compare(session, conference_id, result.rows, sites)
    return result


class _Checker:
    """Reads one line after the other, remembering codes and unknown sites."""

    def __init__(self, columns: Columns, sites: Sequence[Site], default: str) -> None:
        self._places = columns.places
        self._names = {site.slug: site.name for site in sites}
        self._slugs = {folded(site.name): site.slug for site in sites}
        self._near = _near_names(sites)
        self._default = default
        self._first_at: dict[str, int] = {}
        self._unknown: dict[str, str] = {}
        self.unknown_sites: Counter[str] = Counter()
        """as the file first writes them"""

    def row(self, number: int, line: Sequence[str]) -> Row:
        """One checked line."""
        row = Row(number, {}, "", {})
        for field in ("name", "unit", "post", "group"):
            self._text(row, field, self._raw(line, field))
        if not row.cells["name"]:
            row.marks["name"] = Mark("wrong", _NO_NAME)
        self._code(row, self._raw(line, "code"))
        self._site(row, self._raw(line, "site"))
        return row

    def _raw(self, line: Sequence[str], field: str) -> str:
        text = line[self._places[field]] if field in self._places else ""
        if field == "name" and "family" in self._places:
            # "Họ đệm" and "Tên" in two columns are one name.
            family = line[self._places["family"]]
            text = f"{family} {text}" if family.strip() else text
        return text

    def _text(self, row: Row, field: str, raw: str) -> None:
        text = row.cells[field] = nfc(raw)
        if len(text) > MAX_TEXT:
            row.cells[field] = text[:60] + "…"
            row.marks[field] = Mark("wrong", _LONG, {"most": MAX_TEXT})
        elif text != raw:
            composed = unicodedata.normalize("NFC", raw) != raw
            row.marks[field] = Mark("changed", _COMPOSED if composed else _SPACES)

    def _code(self, row: Row, raw: str) -> None:
        code = row.cells["code"] = normalise_code(raw)
        if raw.strip() and not code:
            row.cells["code"] = raw.strip()[:60]
            row.marks["code"] = Mark("wrong", _BAD_CODE)
        elif len(code) > MAX_CODE:
            row.cells["code"] = code[:60]
            row.marks["code"] = Mark("wrong", _LONG, {"most": MAX_CODE})
        elif code and (before := self._first_at.setdefault(code, row.number)) != row.number:
            row.marks["code"] = Mark("wrong", _TWICE, {"before": before})
        elif code != raw:
            row.marks["code"] = Mark("changed", _CODE, {"before": raw[:60]})

    def _site(self, row: Row, raw: str) -> None:
        name = nfc(raw)
        slug = self._default
        if name:
            slug = self._slugs.get(folded(name)) or self._near.get(search_key(name), "")
        if slug:
            row.site = slug
            row.cells["site"] = self._names[slug]
            if name and folded(self._names[slug]) != folded(name):
                row.marks["site"] = Mark("changed", _READ_AS, {"before": name[:60]})
            return
        row.cells["site"] = name[:MAX_TEXT]
        row.marks["site"] = Mark("wrong", _UNKNOWN_SITE if name else _NO_SITE)
        if name:
            self.unknown_sites[self._unknown.setdefault(search_key(name), name[:MAX_TEXT])] += 1


def _near_names(sites: Sequence[Site]) -> dict[str, str]:
    """Names without diacritics, and slugs; without those that two sites share (Tân Hoa, Tân Hòa)."""
    keys = Counter(search_key(site.name) for site in sites)
    near = {site.slug: site.slug for site in sites}
    near |= {search_key(s.name): s.slug for s in sites if keys[search_key(s.name)] == 1}
    return near


def _compare(
    session: Session, conference_id: int, rows: Sequence[Row], sites: Sequence[Site]
) -> int:
    """Mark those who are known by their code and would be renamed or moved; gives how many are
    known."""
    codes = sorted({row.cells["code"] for row in rows if row.cells["code"]})
    known: dict[str, tuple[str, int | None]] = {}
    for start in range(0, len(codes), _CHUNK):
        query = (
            select(Person.code, Person.name, RosterEntry.site_id)
            .outerjoin(
                RosterEntry,
                (RosterEntry.person_id == Person.id) & (RosterEntry.conference_id == conference_id),
            )
            .where(Person.code.in_(codes[start : start + _CHUNK]))
        )
        known.update((code, (name, site)) for code, name, site in session.execute(query))
    by_id = {site.id: site for site in sites}
    for row in rows:
        if row.cells["code"] in known:
            _mark_known(row, known[row.cells["code"]], by_id)
    return sum(1 for row in rows if row.cells["code"] in known)


def _mark_known(row: Row, known: tuple[str, int | None], sites: Mapping[int, Site]) -> None:
    name, site_id = known
    if name != row.cells["name"] and "name" not in row.marks:
        row.marks["name"] = Mark("changed", _RENAMED, {"before": name})
    if site_id is not None and row.site and sites[site_id].slug != row.site:
        row.marks["site"] = Mark("changed", _MOVED, {"before": sites[site_id].name})
