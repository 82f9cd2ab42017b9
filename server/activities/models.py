"""Quizzes: activities made of items, runs of them, responses."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db.base import Base


class Activity(Base):
    """A prepared quiz."""

    __tablename__ = "activities"
    id: Mapped[int] = mapped_column(primary_key=True)
    conference_id: Mapped[int] = mapped_column(ForeignKey("conferences.id"), index=True)
    title: Mapped[str]
    created_at: Mapped[datetime]


class Item(Base):
    """A single-choice question of a quiz."""

    __tablename__ = "items"
    __table_args__ = (UniqueConstraint("activity_id", "position"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    activity_id: Mapped[int] = mapped_column(ForeignKey("activities.id"))
    position: Mapped[int]
    text: Mapped[str]
    options: Mapped[list[str]] = mapped_column(JSON)
    correct: Mapped[int]
    seconds: Mapped[int]


class Run(Base):
    """One use of an activity: at most one item of it is open at a time."""

    __tablename__ = "runs"
    id: Mapped[int] = mapped_column(primary_key=True)
    conference_id: Mapped[int] = mapped_column(ForeignKey("conferences.id"), index=True)
    activity_id: Mapped[int] = mapped_column(ForeignKey("activities.id"))
    state: Mapped[str]
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    opened_at: Mapped[datetime]
    deadline_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    revealed: Mapped[bool] = mapped_column(default=False)
    announced: Mapped[int] = mapped_column(default=0)
    """how many answers the current item's last count told of"""
    finished_at: Mapped[datetime | None]


class Opening(Base):
    """When an item of a run was open: a marker of the replay."""

    __tablename__ = "openings"
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), primary_key=True)
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    chart: Mapped[dict[str, list[int]] | None] = mapped_column(JSON(none_as_null=True))


class Response(Base):
    """One person's choice for one item of one run; changed in place until the item closes."""

    __tablename__ = "responses"
    # PostgreSQL writes a changed row anew; where its page has room for it, no index hears of it.
    __table_args__ = {"postgresql_with": {"fillfactor": 45}}
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("persons.id"), primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"))
    option: Mapped[int]
    answered_at: Mapped[datetime]
