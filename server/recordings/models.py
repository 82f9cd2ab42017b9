"""Recordings: where an archive lies and how it stands."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from server.db.base import Base


class Recording(Base):
    """The archive of one conference. Media time zero is ``zero_at``, the moment of live."""

    __tablename__ = "recordings"
    id: Mapped[str] = mapped_column(primary_key=True)
    conference_id: Mapped[int] = mapped_column(ForeignKey("conferences.id"), index=True)
    zero_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
