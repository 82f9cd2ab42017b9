"""Attendance as a list and as a workbook: every figure with the rows that made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO
from zoneinfo import ZoneInfo

import xlsxwriter
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.attendance.models import CheckIn
from server.attendance.rules import safe_cell
from server.conferences.models import Conference
from server.conferences.roster import listed
from server.conferences.sites import sites_of
from server.errors import N_


@dataclass(frozen=True, slots=True)
class AttendanceRow:
    """Somebody of the roster, and their check-in in force if there is one."""

    site: int
    site_name: str
    person: int
    code: str
    name: str
    unit: str
    post: str
    group: str
    checked_in_at: datetime | None
    evidence: str | None


EVIDENCE_NAMES: dict[str, str] = {
    "qr": N_("Quét mã QR"),
    "code": N_("Bằng mã cá nhân"),
    "operator": N_("Cán bộ điểm cầu xác nhận"),
    "quiz": N_("Trả lời trắc nghiệm"),
}

HEADINGS = (
    N_("STT"),
    N_("Điểm cầu"),
    N_("Mã"),
    N_("Họ và tên"),
    N_("Đơn vị"),
    N_("Chức vụ"),
    N_("Nhóm"),
    N_("Giờ điểm danh"),
    N_("Hình thức"),
)
_WIDTHS = (6, 24, 14, 28, 28, 22, 16, 20, 24)


def rows(
    session: Session, conference: Conference, site_id: int | None = None
) -> list[AttendanceRow]:
    """Everyone expected, by site, in the Vietnamese order of names; of one site or all."""
    query = select(CheckIn.person_id, CheckIn.at, CheckIn.evidence).where(
        CheckIn.conference_id == conference.id, CheckIn.undone_at.is_(None)
    )
    present = {person: (at, evidence) for person, at, evidence in session.execute(query)}
    names = {site.id: site.name for site in sites_of(session, conference.id)}
    made: list[AttendanceRow] = []
    for entry in listed(session, conference.id, site_id):
        at, evidence = present.get(entry.person, (None, None))
        made.append(
            AttendanceRow(
                site=entry.site,
                site_name=names[entry.site],
                person=entry.person,
                code=entry.code,
                name=entry.name,
                unit=entry.unit,
                post=entry.post,
                group=entry.group,
                checked_in_at=at,
                evidence=evidence,
            )
        )
    return made


def write_xlsx(
    listed_rows: Sequence[AttendanceRow],
    timezone: str,
    file: BinaryIO,
    translate: Callable[[str], str] = str,
) -> None:
    """Write a workbook of ``listed_rows``, times in ``timezone``; all text stays text.

    ISO 8601 with offset, since a spreadsheet's own dates have no zone.
    """
    zone = ZoneInfo(timezone)
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(file, options) as book:
        bold = book.add_format({"bold": True, "bottom": 1})
        sheet = book.add_worksheet(translate(N_("Điểm danh")))
        for column, (heading, width) in enumerate(zip(HEADINGS, _WIDTHS, strict=True)):
            sheet.set_column(column, column, width)
            sheet.write_string(0, column, translate(heading), bold)
        sheet.freeze_panes(1, 0)
        for number, row in enumerate(listed_rows, 1):
            at = row.checked_in_at
            evidence = EVIDENCE_NAMES.get(row.evidence or "", "")
            cells = (
                row.site_name,
                row.code,
                row.name,
                row.unit,
                row.post,
                row.group,
                "" if at is None else at.astimezone(zone).isoformat(timespec="seconds"),
                translate(evidence) if evidence else "",
            )
            sheet.write_number(number, 0, number)
            for column, cell in enumerate(cells, 1):
                sheet.write_string(number, column, safe_cell(cell))
