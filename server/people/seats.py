"""Seats: one page's place in one conference. Who acts comes from here alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.db.lists import among
from server.errors import N_, Conflict, DomainError, Forbidden, Invalid, Unauthenticated
from server.people.models import Account, Person, Seat
from server.people.tokens import hash_token, matches, new_public_id, new_token
from server.permissions import Actor, Role

_BOUND_AT_THE_END = N_(
    "Mã này đang được dùng trên một điện thoại khác. Hãy mở trang này trên điện thoại đó để xem "
    "lại, hoặc xin ban tổ chức đường dẫn xem lại."
)
_BOUND = N_(
    "Mã này đang được dùng trên một điện thoại khác. Hãy dùng lại điện thoại đó, "
    "hoặc nhờ cán bộ kỹ thuật của phòng gỡ điện thoại cũ rồi nhập lại mã."
)


def open_seat(
    session: Session,
    role: Role,
    conference_id: int,
    now: datetime,
    *,
    site_id: int | None = None,
    account_id: int | None = None,
    person_id: int | None = None,
    link_id: int | None = None,
    device: str | None = None,
    admitted: bool = True,
) -> tuple[Seat, str]:
    """Make a seat; gives it with its secret (for the cookie), which is not kept."""
    secret = new_token()
    seat = Seat(
        id=new_public_id(),
        token_hash=hash_token(secret),
        conference_id=conference_id,
        role=role.value,
        site_id=site_id,
        account_id=account_id,
        person_id=person_id,
        link_id=link_id,
        device=None if device is None else hash_token(device),
        created_at=now,
        admitted_at=now if admitted else None,
    )
    session.add(seat)
    session.flush()
    return seat, secret


def open_phone(
    session: Session,
    conference_id: int,
    person_id: int,
    site_id: int,
    device: str,
    now: datetime,
    *,
    link_id: int | None = None,
    is_over: bool = False,
) -> tuple[Seat, str]:
    """A trainee's seat, bound to the phone of first use; ``is_over``: for the recording alone.

    Raises: Invalid without a device, Conflict where another phone holds a seat of that person.
    """
    if not device:
        raise Invalid(N_("Trình duyệt không nhận cookie. Hãy bật cookie rồi thử lại."))
    others = select(Seat.id).where(
        Seat.conference_id == conference_id,
        Seat.person_id == person_id,
        Seat.revoked_at.is_(None),
        Seat.device != hash_token(device),
    )
    if session.scalar(others.limit(1)) is not None:
        raise Conflict(_BOUND_AT_THE_END if is_over else _BOUND)
    return open_seat(
        session,
        Role.TRAINEE,
        conference_id,
        now,
        site_id=site_id,
        person_id=person_id,
        link_id=link_id,
        device=device,
    )


def find_seat(session: Session, seat_id: str, secret: str) -> Seat:
    """The seat of a cookie, also one that still waits to be let in.

    Raises: Unauthenticated where it is unknown or revoked.
    """
    seat = session.get(Seat, seat_id)
    if seat is None or seat.revoked_at is not None or not matches(secret, seat.token_hash):
        raise Unauthenticated()
    return seat


def actor_of_seat(session: Session, seat_id: str, secret: str, now: datetime) -> Actor:
    """Who acts through a seat.

    Raises: Unauthenticated (unknown, revoked), Forbidden (a display not yet let in).
    """
    [found] = actors_of_seats(session, [(seat_id, secret)])
    if isinstance(found, DomainError):
        raise found
    return found


_SEATED = (
    select(Seat, func.coalesce(Person.name, Account.name, ""))
    .outerjoin(Person, Person.id == Seat.person_id)
    .outerjoin(Account, Account.id == Seat.account_id)
    .where(among(Seat.id, "seats", str))
)


def actors_of_seats(
    session: Session, asked: Sequence[tuple[str, str]]
) -> list[Actor | DomainError]:
    """``actor_of_seat`` of many (seat, secret) by one query."""
    rows = session.execute(_SEATED, {"seats": [seat for seat, _ in asked]})
    known = {seat.id: (seat, name) for seat, name in rows}
    return [_seated(known.get(seat), secret) for seat, secret in asked]


def _seated(known: tuple[Seat, str] | None, secret: str) -> Actor | DomainError:
    if known is None:
        return Unauthenticated()
    seat, name = known
    if seat.revoked_at is not None or not matches(secret, seat.token_hash):
        return Unauthenticated()
    if seat.admitted_at is None:
        return Forbidden(N_("Màn hình này đang chờ điểm cầu cho vào."))
    return Actor(
        holder=seat.id,
        role=Role(seat.role),
        conference_id=seat.conference_id,
        site_id=seat.site_id,
        person_id=seat.person_id,
        account_id=seat.account_id,
        name=name,
    )


def revoke(session: Session, now: datetime, **which: object) -> list[str]:
    """Revoke the seats whose columns equal ``which`` (``id=``, ``link_id=``, ``person_id=`` …);
    gives their ids, so that their connections can be cut."""
    assert which, "revoking every seat of the server is never meant"
    conditions = [getattr(Seat, column) == value for column, value in which.items()]
    seats = session.scalars(select(Seat).where(*conditions, Seat.revoked_at.is_(None))).all()
    for seat in seats:
        seat.revoked_at = now
    session.flush()
    return [seat.id for seat in seats]
