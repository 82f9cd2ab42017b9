"""A roster from a spreadsheet: uploaded, previewed cell by cell, confirmed as previewed."""

from __future__ import annotations

import asyncio

from aiohttp import web

from server.conferences.sites import sites_of
from server.errors import N_, Conflict, DomainError, Invalid
from server.protocol import ImportRoster
from server.web import roster_preview
from server.web.organiser_access import Organised, organised, page
from server.web.organiser_forms import Form
from server.web.organiser_sites import add_named, sites_of_conference
from server.web.roster_columns import FIELDS
from server.web.roster_uploads import Upload, Uploads
from server.web.site import see_other, site_of, visitor_of
from server.web.spreadsheets import Table, read_table, write_table

PAGE_ROWS = 200
_WIDTHS = {"name": 28, "code": 14, "unit": 34, "post": 24, "site": 24, "group": 16}


def _uploads(request: web.Request) -> Uploads:
    return Uploads(site_of(request).config.data_dir)


async def _show(request: web.Request, found: Organised, form: Form) -> web.Response:
    sites = await sites_of_conference(request, found)
    return page(
        request,
        found,
        "roster",
        template="import",
        form=form,
        sites=sites,
        fields=FIELDS,
        limit_mb=site_of(request).config.upload_limit_mb,
    )


async def ask(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/roster/import"""
    return await _show(request, await organised(request), Form())


async def uploaded_table(form: Form, name: str) -> tuple[str, Table] | None:
    """The name and table of an uploaded file; None, with the reason at the field."""
    file = form.files.get(name)
    if file is None or not file.filename:
        form.wrong(name, N_("Hãy chọn một tệp."))
        return None
    try:
        data = await asyncio.to_thread(file.file.read)
        return file.filename[-100:], await asyncio.to_thread(read_table, data)
    except DomainError as error:
        form.wrong(name, error.message, **error.values)
        return None


async def upload(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/roster/import: ``file`` and the ``site`` of rows without one."""
    found = await organised(request)
    form = await Form.read(request)
    default_site = form.value("site")
    if default_site not in {s.slug for s in await sites_of_conference(request, found)} | {""}:
        form.wrong("site", N_("Hãy chọn một trong các mục có sẵn."))
    read = await uploaded_table(form, "file")
    if read is None or not form.ok:
        return await _show(request, found, form)
    filename, table = read
    try:
        upload_id = await _keep(request, found, filename, table, default_site)
    except Invalid as error:
        form.wrong("file", error.message, **error.values)
        return await _show(request, found, form)
    return see_other(f"{found.home}/roster/import/{upload_id}")


async def _keep(
    request: web.Request,
    found: Organised,
    filename: str,
    table: Table,
    default_site: str,
    upload_id: str | None = None,
) -> str:
    """Check a table and keep it with its preview. Raises: Invalid."""
    database = site_of(request).database
    checked = await database.read(roster_preview.preview, found.id, table, default_site)
    kept = Upload(found.id, filename, default_site, table, checked)
    return await asyncio.to_thread(_uploads(request).keep, kept, upload_id)


async def _find(request: web.Request, found: Organised) -> Upload:
    return await asyncio.to_thread(_uploads(request).find, request.match_info["upload"], found.id)


def _preview_page(request: web.Request, found: Organised, kept: Upload, form: Form) -> web.Response:
    wrong = kept.preview.wrong_rows
    show = request.query.get("show") or ("wrong" if wrong else "all")
    rows = wrong if show == "wrong" else kept.preview.rows
    asked = request.query.get("page", "1")
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 1
    pages = max(1, -(-len(rows) // PAGE_ROWS))
    number = min(max(1, number), pages)
    return page(
        request,
        found,
        "roster",
        template="preview",
        form=form,
        upload=kept,
        preview=kept.preview,
        address=f"{found.home}/roster/import/{request.match_info['upload']}",
        fields=FIELDS,
        wrong=len(wrong),
        show=show,
        rows=rows[(number - 1) * PAGE_ROWS : number * PAGE_ROWS],
        number=number,
        pages=pages,
        why=lambda mark: visitor_of(request).language.gettext(mark.message) % mark.values,
    )


async def show_preview(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/roster/import/{upload}?show=wrong|all&page="""
    found = await organised(request)
    return _preview_page(request, found, await _find(request, found), Form())


async def confirm(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/roster/import/{upload}: all of it, or with ``skip`` only the rows
    that are right."""
    found = await organised(request)
    form = await Form.read(request)
    kept = await _find(request, found)
    rows = kept.preview.importable()
    if not rows:
        form.refuse(Conflict(N_("Không có dòng nào nhập được.")))
    elif len(rows) < len(kept.preview.rows) and not form.value("skip"):
        form.refuse(Conflict(N_("Còn dòng sai. Hãy sửa tệp, hoặc chọn bỏ các dòng sai.")))
    result = None
    if form.ok:
        result = await form.send(request, found.actor, ImportRoster(rows=rows))
    if result is None:
        return _preview_page(request, found, kept, form)
    await asyncio.to_thread(_uploads(request).forget, request.match_info["upload"])
    return see_other(f"{found.home}/roster?done=imported")


async def add_sites(request: web.Request) -> web.Response:
    """POST /conferences/{slug}/roster/import/{upload}/sites: make the sites that the file names,
    then check it again."""
    found = await organised(request)
    form = await Form.read(request)
    kept = await _find(request, found)
    try:
        await add_named(request, found, list(kept.preview.unknown_sites))
    except DomainError as error:
        form.refuse(error)
        return _preview_page(request, found, kept, form)
    upload_id = request.match_info["upload"]
    await _keep(request, found, kept.filename, kept.table, kept.default_site, upload_id)
    return see_other(f"{found.home}/roster/import/{upload_id}")


async def template(request: web.Request) -> web.Response:
    """GET /conferences/{slug}/roster/template.xlsx"""
    found = await organised(request)
    language = visitor_of(request).language
    sites = await site_of(request).database.read(sites_of, found.id)
    header = [language.gettext(name) for name in FIELDS.values()]
    site = sites[0].name if sites else "Hội trường chính"
    example = ["Nguyễn Văn Đức", "00123", "UBND xã Tân Hòa", "Công chức", site, "Cấp xã"]
    names = [[language.gettext(FIELDS["site"])], *([each.name] for each in sites)]
    data = await asyncio.to_thread(
        write_table,
        header,
        [example],
        [_WIDTHS[field] for field in FIELDS],
        language.gettext(N_("Danh sách")),
        {language.gettext(FIELDS["site"]): names},
    )
    return spreadsheet(data, f"{found.conference.slug}-roster")


def spreadsheet(data: bytes, name: str) -> web.Response:
    """An XLSX file to download."""
    return web.Response(
        body=data,
        content_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        headers={
            "Content-Disposition": f'attachment; filename="{name}.xlsx"',
            "Cache-Control": "no-store",
        },
    )


routes: list[web.RouteDef] = [
    web.get("/conferences/{slug}/roster/template.xlsx", template),
    web.get("/conferences/{slug}/roster/import", ask),
    web.post("/conferences/{slug}/roster/import", upload),
    web.get("/conferences/{slug}/roster/import/{upload}", show_preview),
    web.post("/conferences/{slug}/roster/import/{upload}", confirm),
    web.post("/conferences/{slug}/roster/import/{upload}/sites", add_sites),
]
