"""Quizzes: written in a form or brought by a spreadsheet that fills the same form."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web
from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from server.activities.models import Activity, Item, Run
from server.errors import N_, Invalid
from server.people.names import nfc
from server.protocol import MAX_ITEMS, MAX_OPTIONS, CreateActivity, QuizItem, RemoveActivity
from server.web.organiser_access import Organised, organised, page
from server.web.organiser_forms import MAX_LINE, Form
from server.web.organiser_import import spreadsheet, uploaded_table
from server.web.quiz_files import DEFAULT_SECONDS, HEADER, LETTERS, DraftItem, read_quiz
from server.web.site import see_other, site_of, visitor_of
from server.web.spreadsheets import write_table

FIRST_ROWS, MORE_ROWS = 3, 5


@dataclass(frozen=True, slots=True)
class Quiz:
    """One prepared quiz."""

    id: int
    title: str
    items: int
    was_run: bool


def _quizzes(session: Session, conference_id: int) -> list[Quiz]:
    items = select(func.count()).where(Item.activity_id == Activity.id).scalar_subquery()
    was_run = exists().where(Run.activity_id == Activity.id)
    query = select(Activity.id, Activity.title, items, was_run)
    query = query.where(Activity.conference_id == conference_id).order_by(Activity.id)
    return [Quiz(*row) for row in session.execute(query)]


async def _list(request: web.Request, found: Organised, form: Form) -> web.Response:
    rows = await site_of(request).database.read(_quizzes, found.id)
    return page(request, found, "quizzes", form=form, quizzes=rows)


async def quizzes(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/quizzes"""
    return await _list(request, await organised(request), Form())


def _quiz_form(request: web.Request, found: Organised, form: Form) -> web.Response:
    rows = form.value("rows", str(FIRST_ROWS))
    return page(
        request,
        found,
        "quizzes",
        template="quiz",
        form=form,
        rows=min(int(rows), MAX_ITEMS) if rows.isascii() and rows.isdigit() else FIRST_ROWS,
        letters=LETTERS,
        most=MAX_ITEMS,
        seconds=DEFAULT_SECONDS,
    )


async def new(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/quizzes/new"""
    return _quiz_form(request, await organised(request), Form())


def _filled(title: str, items: Sequence[DraftItem]) -> dict[str, str]:
    values = {"title": title, "rows": str(len(items))}
    for n, item in enumerate(items):
        values[f"text-{n}"] = item.text
        values[f"options-{n}"] = "\n".join(item.options)
        values[f"correct-{n}"] = item.correct
        values[f"seconds-{n}"] = item.seconds
    return values


async def bring(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/quizzes/import: the file's questions, in the form to look through."""
    found = await organised(request)
    form = await Form.read(request)
    read = await uploaded_table(form, "file")
    if read is not None:
        try:
            items = read_quiz(read[1])
        except Invalid as error:
            form.wrong("file", error.message, **error.values)
    if read is None or not form.ok:
        return await _list(request, found, form)
    name = nfc(read[0]).rsplit(".", 1)[0]
    values = _filled(form.value("import_title") or name, items)
    filled = Form(values, language=visitor_of(request).language)
    _items(filled, len(items))  # says what is missing at its field
    filled.status = 200
    return _quiz_form(request, found, filled)


def _items(form: Form, rows: int) -> list[QuizItem]:
    """The filled rows; what is wrong is noted at its field."""
    return [item for n in range(rows) if (item := _item(form, n)) is not None]


def _item(form: Form, n: int) -> QuizItem | None:
    if not (form.value(f"text-{n}").strip() or form.value(f"options-{n}").strip()):
        return None
    lines = form.value(f"options-{n}").splitlines()
    options = tuple(option for line in lines if (option := nfc(line)))
    if not 2 <= len(options) <= MAX_OPTIONS:
        form.wrong(f"options-{n}", N_("Cần từ 2 đến %(most)d phương án."), most=MAX_OPTIONS)
    if any(len(option) > MAX_LINE for option in options):
        form.wrong(f"options-{n}", N_("Dài quá %(most)d ký tự."), most=MAX_LINE)
    if len(set(options)) < len(options):
        form.wrong(f"options-{n}", N_("Có hai phương án giống nhau."))
    letter = form.value(f"correct-{n}")
    if letter not in tuple(LETTERS[: len(options)]):
        form.wrong(f"correct-{n}", N_("Hãy chọn đáp án đúng trong các phương án."))
        letter = LETTERS[0]
    return QuizItem(
        text=form.text(f"text-{n}"),
        options=options,
        correct=LETTERS.index(letter),
        seconds=form.number(f"seconds-{n}", 5, 3600),
    )


async def create(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/quizzes/new; ``more`` only gives further rows."""
    found = await organised(request)
    form = await Form.read(request)
    rows = form.number("rows", 1, MAX_ITEMS)
    if form.value("more"):
        form.values["rows"] = str(min(rows + MORE_ROWS, MAX_ITEMS))
        return _quiz_form(request, found, form)
    title, items = form.line("title"), _items(form, rows)
    if not items:
        form.wrong("text-0", N_("Hãy viết ít nhất một câu hỏi."))
    command = CreateActivity(title=title, items=tuple(items))
    if await form.send(request, found.actor, command) is None:
        form.values["rows"] = str(rows)
        return _quiz_form(request, found, form)
    return see_other(f"{found.home}/quizzes?done=saved")


async def remove(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/quizzes/remove"""
    found = await organised(request)
    form = await Form.read(request)
    command = RemoveActivity(activity=form.id("activity"))
    if await form.send(request, found.actor, command) is None:
        return await _list(request, found, form)
    return see_other(f"{found.home}/quizzes?done=removed")


async def template(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/quizzes/template.xlsx"""
    await organised(request)
    translate = visitor_of(request).language.gettext
    header = [translate(name) for name in HEADER]
    example = [
        "Cơ quan nào chủ trì xác định chỉ số cải cách hành chính?",
        "Bộ Nội vụ",
        "Bộ Tài chính",
        "Văn phòng Chính phủ",
        *[""] * (len(LETTERS) - 3),
        "A",
        str(DEFAULT_SECONDS),
    ]
    widths = [50, *[22] * len(LETTERS), 14, 10]
    data = await asyncio.to_thread(write_table, header, [example], widths)
    return spreadsheet(data, "quiz")


routes: list[web.RouteDef] = [
    web.get("/conferences/{slug}/quizzes", quizzes),
    web.get("/conferences/{slug}/quizzes/template.xlsx", template),
    web.get("/conferences/{slug}/quizzes/new", new),
    web.post("/conferences/{slug}/quizzes/new", create),
    web.post("/conferences/{slug}/quizzes/import", bring),
    web.post("/conferences/{slug}/quizzes/remove", remove),
]
