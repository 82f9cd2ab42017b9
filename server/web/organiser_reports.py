"""Reports: who came, what was asked, what was answered; each as a page and as a workbook.

For everyone whose role may see reports (``Permission.SEE_REPORTS``), not organisers alone.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web
from sqlalchemy.orm import Session

from server.activities import reports as quiz_reports
from server.activities.reports import ItemResult, Score
from server.attendance import reports as attendance_reports
from server.attendance.reports import EVIDENCE_NAMES, AttendanceRow
from server.attendance.rules import safe_cell
from server.conferences.models import Conference
from server.conferences.sites import sites_of
from server.errors import N_
from server.questions import views as questions
from server.questions.views import QuestionRow
from server.web.organiser_access import Organised, page, reported
from server.web.organiser_import import spreadsheet
from server.web.quiz_files import LETTERS
from server.web.site import site_of, visitor_of
from server.web.spreadsheets import write_table

PAGE_ROWS = 200
QUESTION_STATES = {
    "asked": N_("Chờ duyệt"),
    "approved": N_("Đã duyệt"),
    "set_aside": N_("Để lại"),
    "on_stage": N_("Đang trả lời"),
    "answered": N_("Đã trả lời"),
}


@dataclass(frozen=True, slots=True)
class SiteCount:
    """Attendance of one site."""

    id: int
    name: str
    expected: int
    present: int


def _by_site(rows: Sequence[AttendanceRow], names: dict[int, str]) -> list[SiteCount]:
    expected = Counter(row.site for row in rows)
    present = Counter(row.site for row in rows if row.checked_in_at is not None)
    return [SiteCount(key, name, expected[key], present[key]) for key, name in names.items()]


def _site_names(session: Session, conference_id: int) -> dict[int, str]:
    return {site.id: site.name for site in sites_of(session, conference_id)}


def _attendance(
    session: Session, conference: Conference
) -> tuple[list[AttendanceRow], list[SiteCount]]:
    rows = attendance_reports.rows(session, conference)
    return rows, _by_site(rows, _site_names(session, conference.id))


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


async def attendance(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/reports?site=&absent=&page="""
    found = await reported(request)
    rows, sites = await site_of(request).database.read(_attendance, found.conference)
    site_id, absent = _number(request, "site"), request.query.get("absent") == "1"
    shown = [
        row
        for row in rows
        if (not site_id or row.site == site_id) and not (absent and row.checked_in_at)
    ]
    pages = max(1, -(-len(shown) // PAGE_ROWS))
    number = min(max(1, _number(request, "page")), pages)
    return page(
        request,
        found,
        "reports",
        template="attendance",
        report="attendance",
        sites=sites,
        rows=shown[(number - 1) * PAGE_ROWS : number * PAGE_ROWS],
        total=len(shown),
        expected=len(rows),
        present=sum(site.present for site in sites),
        evidence=EVIDENCE_NAMES,
        site_id=site_id,
        absent=absent,
        number=number,
        pages=pages,
    )


async def attendance_xlsx(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/reports/attendance.xlsx?site="""
    found = await reported(request)
    translate = visitor_of(request).language.gettext
    site_id = _number(request, "site") or None

    def write(session: Session) -> bytes:
        rows = attendance_reports.rows(session, found.conference, site_id)
        out = io.BytesIO()
        attendance_reports.write_xlsx(rows, found.conference.timezone, out, translate)
        return out.getvalue()

    data = await site_of(request).database.read(write)
    return spreadsheet(data, f"{found.conference.slug}-attendance")


async def _asked(request: web.Request, found: Organised) -> Sequence[QuestionRow]:
    return await site_of(request).database.read(questions.listed, found.id)


async def question_report(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/reports/questions"""
    found = await reported(request)
    rows = await _asked(request, found)
    return page(
        request,
        found,
        "reports",
        template="questions",
        report="questions",
        rows=rows,
        states=QUESTION_STATES,
        counts=Counter(row.question.state for row in rows),
    )


def _moment(at: datetime | None, zone: ZoneInfo) -> str:
    """ISO 8601 with offset, as files have it."""
    return "" if at is None else at.astimezone(zone).isoformat(timespec="seconds")


def _offset(at: datetime | None, conference: Conference) -> str:
    """Where in the recording: ``1:02:03`` after the moment of live."""
    if at is None or conference.live_at is None:
        return ""
    seconds = max(0, round((at - conference.live_at).total_seconds()))
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


async def questions_xlsx(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/reports/questions.xlsx"""
    found = await reported(request)
    translate = visitor_of(request).language.gettext
    zone = ZoneInfo(found.conference.timezone)
    rows: list[list[str | int]] = []
    for number, row in enumerate(await _asked(request, found), 1):
        asked = row.question
        texts = (
            row.site_name,
            row.asker,
            row.unit,
            asked.text,
            translate(QUESTION_STATES[asked.state]),
            _moment(asked.asked_at, zone),
            _moment(asked.answered_at, zone),
            _offset(asked.on_stage_at, found.conference),
            asked.answer or "",
            asked.answered_by or "",
        )
        rows.append([number, *map(safe_cell, texts)])
    header = (
        N_("STT"),
        N_("Điểm cầu"),
        N_("Người hỏi"),
        N_("Đơn vị"),
        N_("Câu hỏi"),
        N_("Trạng thái"),
        N_("Hỏi lúc"),
        N_("Trả lời lúc"),
        N_("Trong bản ghi"),
        N_("Câu trả lời"),
        N_("Người trả lời"),
    )
    widths = (6, 22, 26, 28, 60, 14, 26, 26, 12, 60, 26)
    named = [translate(name) for name in header]
    data = await asyncio.to_thread(write_table, named, rows, widths, translate(N_("Câu hỏi")))
    return spreadsheet(data, f"{found.conference.slug}-questions")


def _quizzes(
    session: Session, conference_id: int
) -> tuple[list[ItemResult], list[Score], dict[int, str]]:
    results = quiz_reports.results(session, conference_id)
    scores = quiz_reports.scores(session, conference_id)
    return results, scores, _site_names(session, conference_id)


def _runs(results: Sequence[ItemResult], scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Items and scores by run, as they were run."""
    runs: dict[int, dict[str, Any]] = {}
    for item in results:
        run = runs.setdefault(item.run, {"title": item.title, "results": [], "scores": []})
        run["results"].append(item)
    for score in scores:
        if score.run in runs:
            runs[score.run]["scores"].append(score)
    return list(runs.values())


async def quiz_report(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/reports/quizzes"""
    found = await reported(request)
    results, scores, names = await site_of(request).database.read(_quizzes, found.id)
    return page(
        request,
        found,
        "reports",
        template="quiz_results",
        report="quizzes",
        runs=_runs(results, scores),
        names=names,
        letters=LETTERS,
    )


async def quizzes_xlsx(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/reports/quizzes.xlsx: a line for each person and run."""
    found = await reported(request)
    translate = visitor_of(request).language.gettext
    results, scores, names = await site_of(request).database.read(_quizzes, found.id)
    titles = {item.run: item.title for item in results}
    items = Counter(item.run for item in results)
    rows: list[list[str | int]] = [
        [
            safe_cell(titles.get(score.run, "")),
            safe_cell(names.get(score.site, "")),
            score.code,
            safe_cell(score.name),
            score.answered,
            score.right,
            items[score.run],
        ]
        for score in scores
    ]
    header = (
        N_("Bài trắc nghiệm"),
        N_("Điểm cầu"),
        N_("Mã"),
        N_("Họ và tên"),
        N_("Số câu đã trả lời"),
        N_("Số câu đúng"),
        N_("Số câu đã mở"),
    )
    widths = (36, 24, 14, 28, 18, 14, 14)
    named = [translate(name) for name in header]
    data = await asyncio.to_thread(write_table, named, rows, widths, translate(N_("Kết quả")))
    return spreadsheet(data, f"{found.conference.slug}-quizzes")


routes: list[web.RouteDef] = [
    web.get("/conferences/{slug}/reports", attendance),
    web.get("/conferences/{slug}/reports/attendance.xlsx", attendance_xlsx),
    web.get("/conferences/{slug}/reports/questions", question_report),
    web.get("/conferences/{slug}/reports/questions.xlsx", questions_xlsx),
    web.get("/conferences/{slug}/reports/quizzes", quiz_report),
    web.get("/conferences/{slug}/reports/quizzes.xlsx", quizzes_xlsx),
]
