"""Check-ins: acts at a time with their evidence."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from server.db.base import Base


class CheckIn(Base):
    """One check-in by the server's time. An undone one stays, marked; one at most is in force."""

    __tablename__ = "check_ins"
    __table_args__ = (
        Index(
            "uq_check_ins_in_force",
            "conference_id",
            "person_id",
            unique=True,
            sqlite_where=text("undone_at IS NULL"),
            postgresql_where=text("undone_at IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    conference_id: Mapped[int] = mapped_column(ForeignKey("conferences.id"))
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"), index=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("persons.id"), index=True)
    at: Mapped[datetime]
    evidence: Mapped[str]
    holder: Mapped[str]
    """the seat that did it"""
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[str | None]
