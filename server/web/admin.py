"""``/admin``: whether the server is well, in words, for accounts that keep it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from server.errors import N_, Forbidden
from server.i18n import Language
from server.permissions import Actor, Permission, Role, Target, may
from server.web.health import check, children_of, free_bytes
from server.web.organiser_access import signed_in
from server.web.site import render, site_of, visitor_of
from server.web.vitals import Vitals
from server.web.wellness import Facts, Finding, State, judge, overall

VITALS = web.AppKey("vitals", Vitals)

VERDICTS = {
    State.GOOD: N_("Máy chủ hoạt động tốt."),
    State.WATCH: N_("Máy chủ phục vụ được, nhưng có phần cần để ý."),
    State.WRONG: N_("Máy chủ có phần hỏng, cần xử lý ngay."),
}
STATE_WORDS = {
    State.GOOD: N_("Tốt"),
    State.WATCH: N_("Cần để ý"),
    State.WRONG: N_("Hỏng"),
    State.IDLE: N_("Chưa có gì"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A finding in the reader's language."""

    name: str
    state: str
    word: str
    sentence: str
    advice: str


def keeper(request: web.Request) -> None:
    """Raises: Forbidden unless the account that asks may see the server; redirects to sign in."""
    account = signed_in(request)
    actor = Actor(f"account:{account.id}", Role.ORGANISER, account_id=account.id)
    if not account.is_organiser or not may(actor, Permission.SEE_SERVER, Target(None)):
        raise Forbidden(N_("Trang này dành cho người quản trị máy chủ."))


async def facts(request: web.Request) -> Facts:
    """Everything that is judged."""
    site = site_of(request)
    parts, _ = await check(site)
    children = children_of(site.runtime)
    return Facts(
        window=request.config_dict[VITALS].window(),
        database=parts["database"],
        last_outage=site.inbox.last_outage,
        waiting=site.inbox.waiting,
        workers=site.signalling.steering.standing(),
        recorders=[each == "ok" for each in parts["recorders"]],
        restarts={name: child["restarts"] for name, child in children.items()},
        free_bytes=await asyncio.to_thread(free_bytes, site.config.recordings_dir),
    )


def _told(finding: Finding, language: Language) -> Row:
    values = {name: _value(value, language) for name, value in finding.values.items()}
    bad = finding.state in (State.WATCH, State.WRONG)
    return Row(
        language.gettext(finding.name),
        finding.state.value,
        language.gettext(STATE_WORDS[finding.state]),
        language.gettext(finding.sentence) % values,
        language.gettext(finding.advice) if bad and finding.advice else "",
    )


def _value(value: Any, language: Language) -> str:
    """A number, words as they are, (words to translate, their values), or a list of such."""
    if isinstance(value, list):
        return "; ".join(_value(each, language) for each in value)
    if isinstance(value, int | float):
        return language.format_number(value)
    if isinstance(value, tuple):
        words, values = value
        assert isinstance(values, Mapping)
        filled = {name: _value(each, language) for name, each in values.items()}
        return language.gettext(words) % filled
    return str(value)


async def page(request: web.Request) -> web.Response:
    """GET /admin"""
    keeper(request)
    findings = judge(await facts(request))
    language, state = visitor_of(request).language, overall(findings)
    bad = [each for each in findings if each.state is state and state is not State.GOOD]
    return render(
        request,
        "admin/admin.html",
        rows=[_told(finding, language) for finding in findings],
        verdict=language.gettext(VERDICTS[state]),
        state=state.value,
        troubled=[language.gettext(each.name) for each in bad],
    )


routes = [web.get("/admin", page)]
