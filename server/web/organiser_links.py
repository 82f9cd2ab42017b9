"""Links for rooms, devices and viewers; sheets and slips to print.

A link's secret is shown on the page that answers its making, and nowhere after.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import segno
from aiohttp import web
from markupsafe import Markup
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.conferences.models import Site
from server.conferences.roster import Expected, listed, recount
from server.conferences.rules import why_not
from server.conferences.sites import sites_of
from server.errors import N_, Conflict, DomainError
from server.people.models import Account, Link, Person
from server.protocol import CreateLink, LinkRole, RevokeLink
from server.web.organiser_access import Organised, join_url, organised, page, qr
from server.web.organiser_forms import Form, submit, whole
from server.web.organiser_people import ROLES as STAFF_ROLES
from server.web.organiser_sites import sites_of_conference
from server.web.site import base_url, now, see_other, site_of

ROLES = {
    "operator": N_("Cán bộ kỹ thuật điểm cầu"),
    "display": N_("Màn hình điểm cầu"),
    "encoder": N_("Bộ mã hóa hình (WHIP)"),
    "viewer": N_("Người xem (WHEP, xem lại)"),
}
"""those for whom links are made here"""
LISTED_ROLES = ROLES | STAFF_ROLES | {"trainee": N_("Học viên")}
"""whoever holds one: the demo makes them for everybody"""
SLIPS_PAGE = 500
"""slips a page: about 60 sheets of A4"""
SITE_ROLES = frozenset({"operator", "display", "encoder"})


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One link of the list; its secret is not known any more."""

    id: int
    role: str
    whose: str
    """the site's, or the person's"""
    created_at: datetime
    redeemed_at: datetime | None
    expires_at: datetime
    state: str
    """live, expired or revoked"""


@dataclass(frozen=True, slots=True)
class Printed:
    """A link that was just made, to be shown this once."""

    role: str
    address: str
    """of the page, or for a device the address it publishes to"""
    qr: Markup
    token: str | None
    """for devices, which carry it in a header"""


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one site gets on paper."""

    site: str
    links: list[Printed]


def _rows(session: Session, conference_id: int, at: datetime) -> list[LinkRow]:
    query = (
        select(Link, func.coalesce(Account.name, Person.name, Site.name, ""))
        .outerjoin(Site, Site.id == Link.site_id)
        .outerjoin(Account, Account.id == Link.account_id)
        .outerjoin(Person, Person.id == Link.person_id)
        .where(Link.conference_id == conference_id)
        .order_by(Site.position, Link.id)
    )
    rows: list[LinkRow] = []
    for link, whose in session.execute(query):
        state = "revoked" if link.revoked_at else "expired" if link.expires_at <= at else "live"
        rows.append(
            LinkRow(
                link.id,
                link.role,
                whose,
                link.created_at,
                link.redeemed_at,
                link.expires_at,
                state,
            )
        )
    return sorted(rows, key=lambda row: row.state != "live")


async def _show(request: web.Request, found: Organised, form: Form) -> web.Response:
    rows = await site_of(request).database.read(_rows, found.id, now())
    sites = await sites_of_conference(request, found)
    return page(
        request,
        found,
        "links",
        form=form,
        links=rows,
        roles=ROLES,
        listed_roles=LISTED_ROLES,
        sites=sites,
        why_not=None if found.may_change else why_not(found.conference.state),
    )


async def links(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/links"""
    return await _show(request, await organised(request), Form())


def _printed(request: web.Request, found: Organised, role: str, token: str) -> Printed:
    base, slug = base_url(request), found.conference.slug
    if role == "encoder":
        address = f"{base}/whip/{slug}"
        return Printed(role, address, qr(address), token)
    address = f"{base}/join/{token}"
    return Printed(role, address, qr(address), token if role == "viewer" else None)


def _sheets_page(request: web.Request, found: Organised, sheets: list[Sheet]) -> web.Response:
    return page(
        request,
        found,
        "links",
        template="sheets",
        sheets=sheets,
        roles=ROLES,
        join_url=join_url(request, found.conference),
        base=base_url(request),
    )


async def create(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/links: one link, shown once."""
    found = await organised(request)
    form = await Form.read(request)
    role = cast(LinkRole, form.choice("role", ROLES))
    sites = {str(site.id): site for site in await sites_of_conference(request, found)}
    site = sites.get(form.value("site")) if role in SITE_ROLES else None
    if role in SITE_ROLES and site is None:
        form.wrong("site", N_("Hãy chọn điểm cầu cho đường dẫn này."))
    command = CreateLink(role=role, site=site.id if site else None)
    made = await form.send(request, found.actor, command)
    if made is None:
        return await _show(request, found, form)
    printed = _printed(request, found, role, made["token"])
    return _sheets_page(request, found, [Sheet(site.name if site else "", [printed])])


async def create_all(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/links/all: an operator's and a display's link for every site that
    is a room, as sheets to print; ``replace`` revokes the older ones. The same form sent again (a page
    that is reloaded) makes the same sheets."""
    found = await organised(request)
    form = await Form.read(request)
    rooms = [s for s in await sites_of_conference(request, found) if s.kind != "online"]
    if not rooms:
        form.refuse(Conflict(N_("Hội nghị chưa có điểm cầu nào.")))
    sheets: list[Sheet] = []
    key, links_made = form.value("key") or None, set()
    try:
        for room in rooms:
            roles: list[LinkRole] = (
                ["operator"] if room.kind == "speaker" else ["operator", "display"]
            )
            printed = []
            for role in roles:
                command = CreateLink(role=role, site=room.id)
                made = await submit(request, found.actor, command, key)
                links_made.add(made["link"])
                printed.append(_printed(request, found, role, made["token"]))
            sheets.append(Sheet(room.name, printed))
        if form.value("replace"):
            await _revoke_rooms(request, found, links_made)
    except DomainError as error:
        form.refuse(error)
    if not form.ok:
        return await _show(request, found, form)
    return _sheets_page(request, found, sheets)


async def _revoke_rooms(request: web.Request, found: Organised, spared: set[int]) -> None:
    rows = await site_of(request).database.read(_rows, found.id, now())
    for row in rows:
        if row.state == "live" and row.role in ("operator", "display") and row.id not in spared:
            await submit(request, found.actor, RevokeLink(link=row.id))


async def revoke(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/links/revoke"""
    found = await organised(request)
    form = await Form.read(request)
    if await form.send(request, found.actor, RevokeLink(link=form.id("link"))) is None:
        return await _show(request, found, form)
    return see_other(f"{found.home}/links?done=revoked")


@dataclass(frozen=True, slots=True)
class Slips:
    """A page of slips, and what else there is to print."""

    people: list[Expected]
    total: int
    """of the site or sites chosen"""
    site: int | None
    """None: every site"""
    counts: dict[int, int]
    """site → how many are expected there"""
    number: int
    pages: int


def _slips(session: Session, conference_id: int, asked: str, number: int) -> Slips:
    counts = recount(session, conference_id)
    total = sum(counts.values())
    site = whole(asked)
    if site is None and asked != "all" and total > SLIPS_PAGE:
        # A page of 50,000 slips is 18 MB: who prints them does it room by room.
        site = next(room.id for room in sites_of(session, conference_id) if room.id in counts)
    if site is not None:
        total = counts.get(site, 0)
    pages = max(1, -(-total // SLIPS_PAGE))
    number = min(max(1, number), pages)
    part = slice((number - 1) * SLIPS_PAGE, number * SLIPS_PAGE)
    people = listed(session, conference_id, site, part)
    return Slips(people, total, site, counts, number, pages)


async def slips(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/slips?site=&page=: one slip a trainee, to cut apart; of one site where
    there are many, unless ``site=all``."""
    found = await organised(request)
    asked, number = request.query.get("site", ""), whole(request.query.get("page", "")) or 1
    shown = await site_of(request).database.read(_slips, found.id, asked, number)
    return page(
        request,
        found,
        "links",
        template="slips",
        slips=shown,
        names={site.id: site.name for site in await sites_of_conference(request, found)},
        join_url=join_url(request, found.conference),
    )


async def qr_sheet(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/qr-sheet: one A4 page for the wall."""
    found = await organised(request)
    address = join_url(request, found.conference)
    return page(request, found, "links", template="qr_sheet", join_url=address, join_qr=qr(address))


async def join_qr(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/join.svg: one picture for a thousand slips."""
    found = await organised(request)
    out = io.BytesIO()
    code = segno.make(join_url(request, found.conference), error="m", micro=False)
    code.save(out, kind="svg", border=2, omitsize=True, light="#fff")
    return web.Response(body=out.getvalue(), content_type="image/svg+xml")


routes: list[web.RouteDef] = [
    web.get("/conferences/{slug}/links", links),
    web.post("/conferences/{slug}/links", create),
    web.post("/conferences/{slug}/links/all", create_all),
    web.post("/conferences/{slug}/links/revoke", revoke),
    web.get("/conferences/{slug}/slips", slips),
    web.get("/conferences/{slug}/qr-sheet", qr_sheet),
    web.get("/conferences/{slug}/join.svg", join_qr),
]
