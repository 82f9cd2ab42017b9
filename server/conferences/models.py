"""Conferences, agenda, sites, rosters, appointments, floor."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db.base import Base


class Conference(Base):
    """One hybrid training conference. ``join_code`` is public (QR, typed by trainees); ``pin`` lets
    rooms in while the conference is open."""

    __tablename__ = "conferences"
    __table_args__ = (
        CheckConstraint(
            "state in ('draft','scheduled','lobby','live','paused','ended','archived')",
            name="state",
        ),
        CheckConstraint("starts_at < ends_at", name="times_in_order"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    organiser: Mapped[str]
    timezone: Mapped[str]
    state: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    live_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    recording: Mapped[str | None]
    """public id of its recording, from the moment of live"""
    stage: Mapped[str | None]
    presentation: Mapped[str | None]
    item_id: Mapped[int | None]
    """the agenda item under way"""
    join_code: Mapped[str] = mapped_column(unique=True)
    pin: Mapped[str]
    created_at: Mapped[datetime]


class Appointment(Base):
    """An account's role in a conference."""

    __tablename__ = "appointments"
    __table_args__ = (UniqueConstraint("conference_id", "account_id", "role"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    conference_id: Mapped[int] = mapped_column(ForeignKey("conferences.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    role: Mapped[str]
    dismissed_at: Mapped[datetime | None]
    """a dismissed one stays, since questions may point at it; appointing again revives it"""


class AgendaItem(Base):
    """A talk, a break or a round of questions: planned and actual times."""

    __tablename__ = "agenda_items"
    id: Mapped[int] = mapped_column(primary_key=True)
    conference_id: Mapped[int] = mapped_column(ForeignKey("conferences.id"), index=True)
    position: Mapped[int]
    title: Mapped[str]
    kind: Mapped[str]
    speaker: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class Site(Base):
    """A room of one conference (điểm cầu); ``expected`` and ``present`` as last announced."""

    __tablename__ = "sites"
    __table_args__ = (
        UniqueConstraint("conference_id", "slug"),
        CheckConstraint("kind in ('main','remote','speaker','online')", name="kind"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    conference_id: Mapped[int] = mapped_column(ForeignKey("conferences.id"))
    slug: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    position: Mapped[int]
    expected: Mapped[int] = mapped_column(default=0)
    present: Mapped[int] = mapped_column(default=0)
    muted: Mapped[bool] = mapped_column(default=False)
    floor_since: Mapped[datetime | None]
    spoken_s: Mapped[int] = mapped_column(default=0)
    operator_since: Mapped[datetime | None]
    operator_until: Mapped[datetime | None]
    """None while a page of its operator is connected"""
    display_since: Mapped[datetime | None]
    display_until: Mapped[datetime | None]


class RosterEntry(Base):
    """A person is expected at a site of a conference."""

    __tablename__ = "roster_entries"
    __table_args__ = (Index("ix_roster_entries_site_id", "site_id"),)
    conference_id: Mapped[int] = mapped_column(ForeignKey("conferences.id"), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("persons.id"), primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"))


class FloorRequest(Base):
    """A site's raised hand. ``outcome`` is None while it waits."""

    __tablename__ = "floor_requests"
    id: Mapped[int] = mapped_column(primary_key=True)
    conference_id: Mapped[int] = mapped_column(ForeignKey("conferences.id"), index=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"))
    reason: Mapped[str]
    requested_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
