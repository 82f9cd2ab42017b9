"""The roster: who is expected where, found by site and name; somebody taken off it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from server.conferences.models import RosterEntry, Site
from server.conferences.roster import lines
from server.conferences.sites import sites_of
from server.people.codes import normalise_code
from server.people.models import Person, Unit
from server.people.names import search_key
from server.protocol import RemoveFromRoster
from server.web.organiser_access import Organised, organised, page
from server.web.organiser_forms import Form
from server.web.site import see_other, site_of

PAGE_ROWS = 100


@dataclass(frozen=True, slots=True)
class Trainee:
    """One line of the list."""

    person: int
    code: str
    name: str
    unit: str
    post: str
    group: str
    site: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of the roster: a site (0: all), words of a name, unit or code, a page from 1."""

    site: int = 0
    words: str = ""
    page: int = 1

    def href(self, **changes: object) -> str:
        """The query that asks for it, with ``changes``."""
        values = {"site": self.site, "q": self.words, "page": self.page} | changes
        return "?" + urlencode({key: value for key, value in values.items() if value})


@dataclass(frozen=True, slots=True)
class Found:
    """A page of the roster and how many there are in all."""

    rows: list[Trainee]
    total: int
    sites: list[tuple[int, str, int]]
    """id, name and how many are expected, in their order"""

    @property
    def pages(self) -> int:
        """How many pages it takes."""
        return max(1, -(-self.total // PAGE_ROWS))


def _wanted(request: web.Request) -> Wanted:
    def number(name: str, default: int) -> int:
        text = request.query.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else default

    return Wanted(number("site", 0), request.query.get("q", "")[:100], max(1, number("page", 1)))


def _search(session: Session, conference_id: int, wanted: Wanted) -> Found:
    counting = (
        select(RosterEntry.site_id, func.count())
        .where(RosterEntry.conference_id == conference_id)
        .group_by(RosterEntry.site_id)
    )
    counts = {site_id: count for site_id, count in session.execute(counting)}
    sites = [
        (site.id, site.name, counts.get(site.id, 0)) for site in sites_of(session, conference_id)
    ]
    query = lines(conference_id, Site.name)
    if wanted.site:
        query = query.where(Site.id == wanted.site)
    words = search_key(wanted.words)
    if words:
        code = normalise_code(wanted.words)
        by_name = Person.search_name.contains(words, autoescape=True)
        by_code = Person.code.startswith(code, autoescape=True) if code else by_name
        # Units are few, and databases fold Vietnamese letters each in its own way.
        units = session.execute(select(Unit.id, Unit.name))
        by_unit = Unit.id.in_([id for id, name in units if words in search_key(name)])
        query = query.where(or_(by_name, by_code, by_unit))
    total = session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
    part = query.limit(PAGE_ROWS).offset((wanted.page - 1) * PAGE_ROWS)
    return Found([Trainee(*row) for row in session.execute(part)], total, sites)


async def _show(request: web.Request, found: Organised, form: Form, wanted: Wanted) -> web.Response:
    result = await site_of(request).database.read(_search, found.id, wanted)
    return page(request, found, "roster", form=form, wanted=wanted, found=result)


async def roster(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/roster?site=&q=&page="""
    found = await organised(request)
    return await _show(request, found, Form(), _wanted(request))


async def remove(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/roster/remove"""
    found = await organised(request)
    form = await Form.read(request)
    command = RemoveFromRoster(person=form.id("person"))
    wanted = _wanted(request)
    if await form.send(request, found.actor, command) is None:
        return await _show(request, found, form, wanted)
    back = wanted.href(done="removed")
    return see_other(f"{found.home}/roster{back}")


routes: list[web.RouteDef] = [
    web.get("/conferences/{slug}/roster", roster),
    web.post("/conferences/{slug}/roster/remove", remove),
]
