"""The agenda as one form: every item a row, in the order of their times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web
from sqlalchemy.orm import Session

from server.conferences.agenda import items_of
from server.conferences.models import AgendaItem
from server.errors import N_
from server.protocol import AgendaEntry, SetAgenda
from server.web.organiser_access import Organised, organised, page
from server.web.organiser_forms import Form
from server.web.site import see_other, site_of

BLANK_ROWS = 3
"""rows for new items that the form offers without a script"""
MAX_ROWS = 200
KINDS = {
    "talk": N_("Trình bày"),
    "questions": N_("Hỏi đáp"),
    "break": N_("Nghỉ"),
    "other": N_("Khác"),
}


def _items(session: Session, conference_id: int) -> Sequence[AgendaItem]:
    return items_of(session, conference_id)


def _filled(items: Sequence[AgendaItem], timezone: str) -> dict[str, str]:
    """The form's fields for what is kept."""
    zone = ZoneInfo(timezone)
    values = {"rows": str(len(items) + BLANK_ROWS)}
    for n, item in enumerate(items):
        starts, ends = item.starts_at.astimezone(zone), item.ends_at.astimezone(zone)
        row = {
            "id": str(item.id),
            "title": item.title,
            "kind": item.kind,
            "speaker": item.speaker,
            "date": f"{starts:%Y-%m-%d}",
            "start": f"{starts:%H:%M}",
            "end": f"{ends:%H:%M}",
        }
        values |= {f"{key}-{n}": value for key, value in row.items()}
    return values


def _show(request: web.Request, found: Organised, form: Form) -> web.Response:
    starts = found.conference.starts_at.astimezone(ZoneInfo(found.conference.timezone))
    return page(
        request,
        found,
        "agenda",
        form=form,
        rows=min(int(form.value("rows", str(BLANK_ROWS))), MAX_ROWS),
        kinds=KINDS,
        first_date=f"{starts:%Y-%m-%d}",
    )


async def agenda(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/agenda"""
    found = await organised(request)
    items = await site_of(request).database.read(_items, found.id)
    return _show(request, found, Form(_filled(items, found.conference.timezone)))


def _entry(form: Form, n: int, timezone: str) -> AgendaEntry | None:
    """Row ``n``; None where it is empty or to be removed."""
    if form.value(f"remove-{n}"):
        return None
    if not (form.value(f"title-{n}").strip() or form.value(f"id-{n}")):
        return None
    zone = ZoneInfo(timezone)
    day, start, end = form.date(f"date-{n}"), form.time(f"start-{n}"), form.time(f"end-{n}")
    entry: dict[str, Any] = {
        "title": form.line(f"title-{n}"),
        "kind": form.choice(f"kind-{n}", KINDS),
        "speaker": form.line(f"speaker-{n}", required=False),
        "starts_at": datetime.combine(day, start, zone),
        "ends_at": datetime.combine(day, end, zone),
        "id": form.id(f"id-{n}") if form.value(f"id-{n}") else None,
    }
    if form.error(f"start-{n}") is None and not start < end:
        form.wrong(f"end-{n}", N_("Giờ kết thúc phải sau giờ bắt đầu."))
    return AgendaEntry(**entry)


async def save(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/agenda: the whole of it; ``more`` only gives further rows."""
    found = await organised(request)
    form = await Form.read(request)
    rows = form.number("rows", 0, MAX_ROWS)
    if form.value("more"):
        form.values["rows"] = str(min(rows + 5, MAX_ROWS))
        return _show(request, found, form)
    read = [_entry(form, n, found.conference.timezone) for n in range(rows)]
    entries = sorted(
        (entry for entry in read if entry is not None), key=lambda entry: entry.starts_at
    )
    if await form.send(request, found.actor, SetAgenda(items=tuple(entries))) is None:
        form.values["rows"] = str(rows)
        return _show(request, found, form)
    return see_other(f"{found.home}/agenda?done=saved")


routes: list[web.RouteDef] = [
    web.get("/conferences/{slug}/agenda", agenda),
    web.post("/conferences/{slug}/agenda", save),
]
