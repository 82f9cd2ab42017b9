"""The cast of the tests: one conference under way, two rooms, and somebody in each role."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from server.conferences.models import Appointment, Conference, RosterEntry, Site
from server.people.codes import normalise_code
from server.people.models import Account, Person, Unit
from server.people.names import search_key, sort_key
from server.people.seats import open_seat
from server.permissions import Actor, Role

START = datetime(2023, 6, 3, 1, 30, tzinfo=UTC)
"""08:30 in Việt Nam, the beginning of the conference."""


@dataclass(slots=True)
class Cast:
    """Everybody, with ``secrets``: seat → the cookie's value."""

    conference_id: int
    hue: int
    """site: Huế, the main room"""
    da_nang: int
    """site: Đà Nẵng, a remote room"""
    organiser: Actor = field(init=False)
    moderator: Actor = field(init=False)
    """Chị Hà runs the conference from the main room"""
    speaker: Actor = field(init=False)
    advisor: Actor = field(init=False)
    observer: Actor = field(init=False)
    operator: Actor = field(init=False)
    """Anh Bình operates Đà Nẵng"""
    display: Actor = field(init=False)
    """the screen of Đà Nẵng"""
    trainee: Actor = field(init=False)
    """Nguyễn Thị Lan sits in Đà Nẵng"""
    other_trainee: Actor = field(init=False)
    """Trần Văn Minh sits in Huế"""
    secrets: dict[str, str] = field(default_factory=dict)

    def everyone(self) -> list[Actor]:
        """One actor of each role that has a page, two trainees."""
        return [
            self.organiser,
            self.moderator,
            self.speaker,
            self.advisor,
            self.observer,
            self.operator,
            self.display,
            self.trainee,
            self.other_trainee,
        ]


def bring_in(session: Session, slug: str = "tap-huan") -> Cast:
    """Write the cast. Another ``slug`` makes another conference with other people."""
    conference = Conference(
        slug=slug,
        title="Tập huấn y tế cơ sở",
        organiser="Sở Y tế",
        timezone="Asia/Ho_Chi_Minh",
        state="live",
        starts_at=START,
        ends_at=START + timedelta(hours=8),
        live_at=START,
        recording=f"rec-{slug}",
        join_code=normalise_code(slug),
        pin="123456",
        created_at=START - timedelta(days=7),
    )
    session.add(conference)
    session.flush()
    sites = [
        Site(conference_id=conference.id, slug=name, name=title, kind=kind, position=place)
        for place, (name, title, kind) in enumerate(
            [("hue", "Huế", "main"), ("da-nang", "Đà Nẵng", "remote")]
        )
    ]
    session.add_all(sites)
    session.flush()
    cast = Cast(conference.id, sites[0].id, sites[1].id)
    for role in ("organiser", "moderator", "speaker", "advisor", "observer"):
        setattr(cast, role, _staff(session, cast, Role(role), slug))
    cast.operator = _seat(session, cast, Role.OPERATOR, site_id=cast.da_nang)
    cast.display = _seat(session, cast, Role.DISPLAY, site_id=cast.da_nang)
    unit = Unit(name=f"Trạm Y tế {slug}")
    session.add(unit)
    session.flush()
    cast.trainee = _trainee(session, cast, "Nguyễn Thị Lan", f"{slug}-1", cast.da_nang, unit.id)
    cast.other_trainee = _trainee(session, cast, "Trần Văn Minh", f"{slug}-2", cast.hue, unit.id)
    return cast


def _staff(session: Session, cast: Cast, role: Role, slug: str) -> Actor:
    account = Account(
        username=f"{role}-{slug}",
        name=f"Chị {role}",
        password_hash="not a hash",
        is_organiser=role is Role.ORGANISER,
        created_at=START,
    )
    session.add(account)
    session.flush()
    session.add(
        Appointment(conference_id=cast.conference_id, account_id=account.id, role=role.value)
    )
    return replace(_seat(session, cast, role, account_id=account.id), name=account.name)


def _trainee(
    session: Session, cast: Cast, name: str, code: str, site_id: int, unit_id: int
) -> Actor:
    person = Person(
        code=code,
        name=name,
        sort_name=sort_key(name),
        search_name=search_key(name),
        unit_id=unit_id,
        post="",
        group="",
    )
    session.add(person)
    session.flush()
    session.add(RosterEntry(conference_id=cast.conference_id, person_id=person.id, site_id=site_id))
    actor = _seat(session, cast, Role.TRAINEE, site_id=site_id, person_id=person.id)
    return replace(actor, name=name)


def _seat(session: Session, cast: Cast, role: Role, **place: int) -> Actor:
    seat, secret = open_seat(session, role, cast.conference_id, START, **place)
    cast.secrets[seat.id] = secret
    return Actor(seat.id, role, cast.conference_id, **place)
