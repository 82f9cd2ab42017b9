"""Links: secret addresses for a role. Opening one spends nothing; redeeming it makes a seat."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.errors import N_, Conflict, Forbidden, NotFound, Unauthenticated
from server.people.models import Link, Seat
from server.people.seats import open_phone, open_seat
from server.people.tokens import hash_token, new_token
from server.permissions import Actor, Role

BEARERS = frozenset({Role.ENCODER, Role.VIEWER})
"""Roles whose token goes into an ``Authorization`` header and never makes a seat."""

REUSABLE = frozenset({Role.DISPLAY, Role.ENCODER, Role.TRAINEE, Role.VIEWER})


def create_link(
    session: Session,
    role: Role,
    conference_id: int,
    now: datetime,
    expires_at: datetime,
    *,
    site_id: int | None = None,
    account_id: int | None = None,
    person_id: int | None = None,
    reusable: bool | None = None,
) -> tuple[Link, str]:
    """Make a link; gives it with its token, which is not kept."""
    token = new_token()
    link = Link(
        token_hash=hash_token(token),
        conference_id=conference_id,
        role=role.value,
        site_id=site_id,
        account_id=account_id,
        person_id=person_id,
        reusable=role in REUSABLE if reusable is None else reusable,
        created_at=now,
        expires_at=expires_at,
    )
    session.add(link)
    session.flush()
    return link, token


SPENT = N_("Đường dẫn này đã được dùng. Hãy xin ban tổ chức cấp đường dẫn mới.")


def find_link(session: Session, token: str, now: datetime) -> Link:
    """The link of a token, spent or not. Raises: NotFound where unknown, expired or revoked."""
    link = session.scalar(select(Link).where(Link.token_hash == hash_token(token)))
    if link is None or link.revoked_at is not None or link.expires_at <= now:
        raise NotFound(N_("Đường dẫn không đúng hoặc đã hết hạn. Hãy xin ban tổ chức cấp lại."))
    return link


def redeem(session: Session, token: str, now: datetime, device: str) -> tuple[Seat, str]:
    """Take the seat that a link gives; gives it with its secret.

    A link for one use works again in the browser that used it (a lost tab is no tragedy).
    Raises: NotFound; Forbidden for a bearer's token; Conflict where it was spent, where a phone is
    bound already, or where a trainee must enter their own code.
    """
    link = find_link(session, token, now)
    role = Role(link.role)
    if role in BEARERS:
        raise Forbidden(N_("Đường dẫn này dành cho thiết bị, không mở được bằng trình duyệt."))
    if role is Role.TRAINEE:
        if link.person_id is None or link.site_id is None:
            raise Conflict(N_("Hãy vào bằng mã hội nghị và mã cá nhân của bạn."))
        link.redeemed_at = link.redeemed_at or now
        return open_phone(
            session, link.conference_id, link.person_id, link.site_id, device, now, link_id=link.id
        )
    if is_spent(session, link, device):
        raise Conflict(SPENT)
    link.redeemed_at = link.redeemed_at or now
    return open_seat(
        session,
        role,
        link.conference_id,
        now,
        site_id=link.site_id,
        account_id=link.account_id,
        link_id=link.id,
        device=device,
    )


def is_spent(session: Session, link: Link, device: str) -> bool:
    """Was it for one use, and has another browser used it (or is that browser's seat revoked)?"""
    if link.reusable or link.redeemed_at is None:
        return False
    query = select(Seat.id).where(
        Seat.link_id == link.id, Seat.device == hash_token(device), Seat.revoked_at.is_(None)
    )
    return not device or session.scalar(query.limit(1)) is None


def bearer_name(link_id: int) -> str:
    """What holds a bearer's media sessions, as a seat's id does for pages."""
    return f"link:{link_id}"


def note_use(session: Session, bearer: Actor, now: datetime) -> None:
    """A bearer's token was used: organisers see whether an encoder was set up."""
    link = session.get_one(Link, int(bearer.holder.removeprefix("link:")))
    link.redeemed_at = link.redeemed_at or now


def actor_of_bearer(session: Session, token: str, now: datetime) -> Actor:
    """Who publishes or watches with a bearer token (WHIP, WHEP, HLS). Raises: Unauthenticated."""
    link = session.scalar(select(Link).where(Link.token_hash == hash_token(token)))
    if link is None or link.revoked_at is not None or link.expires_at <= now:
        raise Unauthenticated(N_("Mã truy cập không đúng hoặc đã hết hạn."))
    if link.role not in BEARERS:
        raise Unauthenticated(N_("Mã truy cập không đúng hoặc đã hết hạn."))
    return Actor(
        holder=bearer_name(link.id),
        role=Role(link.role),
        conference_id=link.conference_id,
        site_id=link.site_id,
    )
