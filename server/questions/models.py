"""Questions and their written answers; a live answer is the time between two moments."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from server.db.base import Base


class Question(Base):
    """Asked by a person (or by a room, without a person)."""

    __tablename__ = "questions"
    __table_args__ = (
        CheckConstraint(
            "state in ('asked','approved','set_aside','on_stage','answered')", name="state"
        ),
        Index("ix_questions_conference_id_state", "conference_id", "state"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    conference_id: Mapped[int] = mapped_column(ForeignKey("conferences.id"))
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("persons.id"), index=True)
    text: Mapped[str]
    state: Mapped[str]
    asked_at: Mapped[datetime]
    approved_at: Mapped[datetime | None]
    on_stage_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    appointment_id: Mapped[int | None] = mapped_column(ForeignKey("appointments.id"))
    reason: Mapped[str | None]
    """why it was set aside; None for one that never was"""
    answer: Mapped[str | None]
    """the written answer"""
    answered_by: Mapped[str | None]
