"""The sites of a conference: added one by one or as a list of names, renamed, removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from aiohttp import web

from server.conferences.models import Site
from server.conferences.sites import sites_of
from server.errors import N_, DomainError
from server.people.names import folded, nfc
from server.protocol import AddSite, RemoveSite, SiteKind, UpdateSite
from server.web.organiser_access import Organised, organised, page
from server.web.organiser_forms import MAX_LINE, Form, submit
from server.web.site import see_other, site_of

KINDS = {
    "main": N_("Hội trường chính"),
    "remote": N_("Điểm cầu"),
    "speaker": N_("Báo cáo viên ở xa"),
    "online": N_("Học viên trực tuyến"),
}
MAX_SITES = 200


async def sites_of_conference(request: web.Request, found: Organised) -> Sequence[Site]:
    """The sites in their order."""
    return await site_of(request).database.read(sites_of, found.id)


async def _show(request: web.Request, found: Organised, form: Form) -> web.Response:
    rows = await sites_of_conference(request, found)
    return page(request, found, "sites", form=form, sites=rows, kinds=KINDS)


async def sites(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/sites"""
    return await _show(request, await organised(request), Form())


async def add(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/sites: ``names``, one a line."""
    found = await organised(request)
    form = await Form.read(request)
    kind = cast(SiteKind, form.choice("kind", KINDS))
    names = [name for line in form.value("names").splitlines() if (name := nfc(line))]
    if not names:
        form.wrong("names", N_("Hãy nhập tên điểm cầu, mỗi dòng một điểm."))
    for name in names:
        if len(name) > MAX_LINE:
            form.wrong("names", N_("Tên “%(name)s…” quá dài."), name=name[:40])
    here = {folded(site.name): site.name for site in await sites_of_conference(request, found)}
    keys = [folded(name) for name in names]
    for n, (key, name) in enumerate(zip(keys, names, strict=True)):
        if key in here:
            form.wrong("names", N_("Đã có điểm cầu “%(name)s”."), name=here[key])
        elif key in keys[:n]:
            form.wrong("names", N_("“%(name)s” được nhập hai lần."), name=name)
    if len(here) + len(names) > MAX_SITES:
        form.wrong("names", N_("Một hội nghị có nhiều nhất %(most)d điểm cầu."), most=MAX_SITES)
    left = list(names)
    while form.ok and left:
        await form.send(request, found.actor, AddSite(name=left[0], kind=kind))
        if form.ok:
            left.pop(0)
    if not form.ok:
        form.values["names"] = "\n".join(left)
        return await _show(request, found, form)
    return see_other(f"{found.home}/sites?done=saved")


async def update(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/sites/{site}: its name and kind, or ``remove``."""
    found = await organised(request)
    form = await Form.read(request)
    site_id = int(request.match_info["site"])
    if form.value("remove"):
        await form.send(request, found.actor, RemoveSite(site=site_id))
        done = "removed"
    else:
        name, kind = form.line("name"), cast(SiteKind, form.choice("kind", KINDS))
        await form.send(request, found.actor, UpdateSite(site=site_id, name=name, kind=kind))
        done = "saved"
    if not form.ok:
        form.values["site"] = str(site_id)
        return await _show(request, found, form)
    return see_other(f"{found.home}/sites?done={done}")


async def add_named(request: web.Request, found: Organised, names: Sequence[str]) -> None:
    """Make remote sites of ``names`` (those that a roster speaks of). Raises: DomainError."""
    if len(names) > MAX_SITES:
        raise DomainError(N_("Một hội nghị có nhiều nhất %(most)d điểm cầu."), most=MAX_SITES)
    for name in names:
        await submit(request, found.actor, AddSite(name=name[:MAX_LINE]))


routes: list[web.RouteDef] = [
    web.get("/conferences/{slug}/sites", sites),
    web.post("/conferences/{slug}/sites", add),
    web.post(r"/conferences/{slug}/sites/{site:\d{1,15}}", update),
]
