"""Units, persons, accounts; links, seats and sign-ins. Tokens are kept as SHA-256 alone."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db.base import Base


class UnitLevel(Base):
    """A level of the tree of units, as data: province, district, commune …"""

    __tablename__ = "unit_levels"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    rank: Mapped[int]


class Unit(Base):
    """A node of the tree of organisations."""

    __tablename__ = "units"
    __table_args__ = (UniqueConstraint("parent_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"), index=True)
    level_id: Mapped[int | None] = mapped_column(ForeignKey("unit_levels.id"))
    name: Mapped[str]


class Person(Base):
    """Somebody on a roster. ``code`` is upper case without separators; leading zeros count."""

    __tablename__ = "persons"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    sort_name: Mapped[str] = mapped_column(index=True)
    """key of the Vietnamese order: given name first (people/names.py)"""
    search_name: Mapped[str]
    """lower case without diacritics"""
    unit_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"), index=True)
    post: Mapped[str]
    group: Mapped[str]


class Account(Base):
    """Who signs in with a password. ``is_organiser`` may make conferences."""

    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    password_hash: Mapped[str]
    is_organiser: Mapped[bool] = mapped_column(default=False)
    must_change: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class SignIn(Base):
    """A signed-in browser of an account."""

    __tablename__ = "sign_ins"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Link(Base):
    """A secret address that lets one in as ``role``. Opening it spends nothing; redeeming does.

    ``reusable`` links (display, encoder, trainee) work until revoked; others once.
    ``role`` encoder and viewer are bearer tokens for WHIP, WHEP and HLS.
    """

    __tablename__ = "links"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    conference_id: Mapped[int] = mapped_column(ForeignKey("conferences.id"), index=True)
    role: Mapped[str]
    site_id: Mapped[int | None] = mapped_column(ForeignKey("sites.id"))
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("persons.id"))
    reusable: Mapped[bool]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    redeemed_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Seat(Base):
    """One page's place in one conference, with its own address and session (domain.md).

    ``id`` is public (it is in the address); the cookie ``seat_{id}`` holds the secret whose hash is
    here. ``admitted_at`` is None while a display that came by PIN waits to be let in.
    """

    __tablename__ = "seats"
    __table_args__ = (Index("ix_seats_conference_id_person_id", "conference_id", "person_id"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    token_hash: Mapped[str]
    conference_id: Mapped[int] = mapped_column(ForeignKey("conferences.id"))
    role: Mapped[str]
    site_id: Mapped[int | None] = mapped_column(ForeignKey("sites.id"))
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("persons.id"))
    link_id: Mapped[int | None] = mapped_column(ForeignKey("links.id"), index=True)
    device: Mapped[str | None]
    """hash of the browser's ``device`` cookie: a person keeps to the phone of their first seat"""
    created_at: Mapped[datetime]
    admitted_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class WrongTry(Base):
    """Wrong codes, PINs and passwords, counted by device and place, never by address alone."""

    __tablename__ = "wrong_tries"
    __table_args__ = (CheckConstraint("count >= 0", name="count_positive"),)
    subject: Mapped[str] = mapped_column(primary_key=True)
    """what is tried by whom, e.g. ``code:{conference}:{device}``"""
    count: Mapped[int]
    last_at: Mapped[datetime]
