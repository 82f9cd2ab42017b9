"""What an entrance says in each state of its conference, and where it leads instead.

A code or PIN lets in while the lobby is open or the conference runs. A link lets in before
that too (rooms try their cameras). After the end a link and a trainee's own code lead to the
recording.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from server.conferences.models import Conference
from server.conferences.rules import (
    ARCHIVED,
    DRAFT,
    ENDED,
    LIVE,
    LOBBY,
    OPEN,
    OVER,
    PAUSED,
    SCHEDULED,
)
from server.errors import N_
from server.permissions import Permission, Role
from server.web.actors import Keys, one_who_may

_NOT_YET = N_("Hội nghị chưa mở phòng chờ. Hãy mở lại trang này khi gần đến giờ bắt đầu.")
_PREPARE = N_("Hội nghị chưa mở phòng chờ. Có thể vào trước để chuẩn bị.")
BY_CODE = {
    DRAFT: _NOT_YET,
    SCHEDULED: _NOT_YET,
    LOBBY: N_("Phòng chờ đã mở."),
    LIVE: N_("Hội nghị đang diễn ra."),
    PAUSED: N_("Hội nghị đang tạm dừng. Vẫn vào được."),
    ENDED: N_("Hội nghị đã kết thúc."),
    ARCHIVED: N_("Hội nghị đã kết thúc và được lưu trữ."),
}
BY_LINK = BY_CODE | {DRAFT: _PREPARE, SCHEDULED: _PREPARE}


@dataclass(frozen=True, slots=True)
class Door:
    """The state of an entrance, for ``entry/door.html``."""

    state: str
    sentence: str
    is_open: bool
    """the form that lets in is shown"""
    is_over: bool
    recorded: bool
    replay: str | None
    """address of the recording, where this browser may see it"""


def by_code(session: Session, conference: Conference, keys: Keys) -> Door:
    """The entrance by the conference's code: trainees', rooms'."""
    state, recording = conference.state, conference.recording
    may_see = recording is not None and one_who_may(
        Permission.SEE_REPLAY, session, keys, conference.id, recording
    )
    return Door(
        state,
        BY_CODE[state],
        is_open=state in OPEN,
        is_over=state in OVER,
        recorded=recording is not None,
        replay=f"/replay/{recording}" if may_see else None,
    )


def by_link(conference: Conference, role: str) -> Door:
    """The entrance by a link, which lets its holder see the recording too."""
    state, recording = conference.state, conference.recording
    return Door(
        state,
        (BY_CODE if role == Role.VIEWER else BY_LINK)[state],
        is_open=True,
        is_over=state in OVER,
        recorded=recording is not None,
        replay=f"/replay/{recording}" if recording else None,
    )
