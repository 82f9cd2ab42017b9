"""Who may open an organiser's page, and the frame that all of these pages share."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import segno
from aiohttp import web
from markupsafe import Markup
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from server.conferences.models import Appointment, Conference
from server.conferences.rules import CHANGEABLE, STATE_NAMES
from server.errors import N_, Forbidden, NotFound
from server.permissions import Actor, Permission, Role
from server.web.actors import Keys, keys_of, one_who_may
from server.web.organiser_forms import Form
from server.web.site import Account, base_url, render, site_of, visitor_of

DONE = {
    "saved": N_("Đã lưu."),
    "removed": N_("Đã xóa."),
    "moved": N_("Đã chuyển trạng thái hội nghị."),
    "appointed": N_("Đã phân công."),
    "dismissed": N_("Đã thôi phân công. Các phiên đang mở của người này đã bị thu hồi."),
    "revoked": N_("Đã thu hồi đường dẫn và mọi phiên mở từ nó."),
    "seat_revoked": N_("Đã thu hồi. Máy đó đã rời hội nghị."),
    "imported": N_("Đã nhập danh sách."),
    "created": N_("Đã tạo hội nghị. Hãy làm lần lượt các bước dưới đây."),
}
"""What ``?done=`` on the page after a form may say."""
TIMEZONES = {
    "Asia/Ho_Chi_Minh": N_("Việt Nam (GMT+7)"),
    "Asia/Bangkok": N_("Thái Lan (GMT+7)"),
    "Asia/Vientiane": N_("Lào (GMT+7)"),
    "Asia/Phnom_Penh": N_("Campuchia (GMT+7)"),
    "Asia/Singapore": N_("Singapore (GMT+8)"),
    "Asia/Tokyo": N_("Nhật Bản (GMT+9)"),
    "Europe/Paris": N_("Pháp (GMT+1, mùa hè GMT+2)"),
    "UTC": N_("Giờ quốc tế (UTC)"),
}
"""Zones that a conference is offered (tz database names), and what people call them."""
_NO_CONFERENCE = N_("Không tìm thấy hội nghị này.")


@dataclass(frozen=True, slots=True)
class Organised:
    """A conference and the one asking: its organiser, or on reports also who may read them."""

    conference: Conference
    actor: Actor
    manages: bool = True
    """False for readers of reports, whose frame leads to nothing else"""

    @property
    def id(self) -> int:
        """The conference's id."""
        return self.conference.id

    @property
    def home(self) -> str:
        """The path of the conference's first page."""
        return f"/conferences/{self.conference.slug}"

    @property
    def may_change(self) -> bool:
        """True while agenda, sites, roster and quizzes can be changed."""
        return self.conference.state in CHANGEABLE


def signed_in(request: web.Request) -> Account:
    """The account that asks. Redirects to the sign-in (or to the password that must change)."""
    account = visitor_of(request).account
    wished = quote(request.path_qs if request.method == "GET" else "/conferences", safe="/")
    if account is None:
        raise web.HTTPSeeOther(f"/sign-in?next={wished}")
    if account.must_change:
        raise web.HTTPSeeOther(f"/password?next={wished}")
    return account


def _organises_any(session: Session, account_id: int) -> bool:
    query = exists().where(
        Appointment.account_id == account_id,
        Appointment.role == Role.ORGANISER,
        Appointment.dismissed_at.is_(None),
    )
    return bool(session.scalar(select(query)))


async def organiser(request: web.Request) -> Account:
    """The account that asks, where it organises something or may. Raises: Forbidden."""
    account = signed_in(request)
    if not account.is_organiser:
        if not await site_of(request).database.read(_organises_any, account.id):
            raise Forbidden(N_("Trang này dành cho ban tổ chức."))
    return account


def _find(session: Session, slug: str, account_id: int) -> Conference | None:
    query = (
        select(Conference)
        .join(Appointment, Appointment.conference_id == Conference.id)
        .where(
            Conference.slug == slug,
            Appointment.account_id == account_id,
            Appointment.role == Role.ORGANISER,
            Appointment.dismissed_at.is_(None),
        )
    )
    return session.scalar(query)


async def organised(request: web.Request) -> Organised:
    """The conference of the address, for one of its organisers.

    Raises: NotFound also where it exists but somebody else organises it.
    """
    account = signed_in(request)
    slug = request.match_info["slug"]
    conference = await site_of(request).database.read(_find, slug, account.id)
    if conference is None:
        raise NotFound(_NO_CONFERENCE)
    actor = Actor(
        holder=f"account:{account.id}",
        role=Role.ORGANISER,
        conference_id=conference.id,
        account_id=account.id,
        name=account.name,
    )
    return Organised(conference, actor)


def _find_for_reader(
    session: Session, slug: str, keys: Keys
) -> tuple[Conference, Actor] | tuple[None, None]:
    conference = session.scalar(select(Conference).where(Conference.slug == slug))
    if conference is None:
        return None, None
    actor = one_who_may(Permission.SEE_REPORTS, session, keys, conference.id)
    return (None, None) if actor is None else (conference, actor)


async def reported(request: web.Request) -> Organised:
    """The conference of the address, for one who may see its reports, by account or by seat.

    Redirects to the sign-in; raises NotFound also where it exists but this browser may not.
    """
    account, database = visitor_of(request).account, site_of(request).database
    slug, keys = request.match_info["slug"], keys_of(request)
    if account is not None and not account.must_change:
        if await database.read(_find, slug, account.id) is not None:
            return await organised(request)
    else:
        keys = replace(keys, account_id=None)
    conference, actor = await database.read(_find_for_reader, slug, keys)
    if conference is None or actor is None:
        signed_in(request)
        raise NotFound(_NO_CONFERENCE)
    return Organised(conference, actor, manages=False)


def page(
    request: web.Request,
    found: Organised,
    section: str,
    /,
    *,
    form: Form | None = None,
    template: str | None = None,
    **context: Any,
) -> web.Response:
    """A page of a conference: ``organiser/{section}.html`` with its frame."""
    form = form or Form()
    return render(
        request,
        f"organiser/{template or section}.html",
        status=form.status,
        time_zone=found.conference.timezone,
        conference=found.conference,
        home=found.home,
        section=section,
        may_change=found.may_change,
        manages=found.manages,
        state_names=STATE_NAMES,
        zone_name=TIMEZONES.get(found.conference.timezone, found.conference.timezone),
        form_key=form_key,
        form=form,
        done=DONE.get(request.query.get("done", "")),
        **context,
    )


def form_key() -> str:
    """A name for one showing of a form: sending it twice does its command once."""
    return secrets.token_urlsafe(12)


def join_url(request: web.Request, conference: Conference) -> str:
    """The address that the conference's QR leads to."""
    return f"{base_url(request)}/c/{conference.join_code}"


def qr(text: str) -> Markup:
    """``text`` as a QR code: an inline SVG that fills its place."""
    svg = segno.make(text, error="m", micro=False).svg_inline(border=2, omitsize=True)
    return Markup(svg)
