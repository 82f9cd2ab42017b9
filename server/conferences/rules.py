"""The life cycle of a conference, and what each of its states allows."""

from __future__ import annotations

from collections.abc import Collection

from server.errors import N_, Conflict

DRAFT, SCHEDULED, LOBBY, LIVE, PAUSED, ENDED, ARCHIVED = (
    "draft",
    "scheduled",
    "lobby",
    "live",
    "paused",
    "ended",
    "archived",
)

TRANSITIONS: dict[str, frozenset[str]] = {
    DRAFT: frozenset({SCHEDULED, LOBBY}),
    SCHEDULED: frozenset({LOBBY}),
    LOBBY: frozenset({SCHEDULED, LIVE}),
    LIVE: frozenset({PAUSED, ENDED}),
    PAUSED: frozenset({LIVE, ENDED}),
    ENDED: frozenset({ARCHIVED}),
    ARCHIVED: frozenset(),
}

STATES = tuple(TRANSITIONS)
OPEN = frozenset({LOBBY, LIVE, PAUSED})
"""rooms and trainees may come in"""
OVER = frozenset({ENDED, ARCHIVED})
"""the recording may be watched; nothing is done any more"""
UNDER_WAY = frozenset({LIVE, PAUSED})
CHANGEABLE = frozenset({DRAFT, SCHEDULED}) | OPEN
"""agenda, sites, roster and quizzes may be prepared or mended"""
ATTENDED = OPEN | {ENDED}
"""attendance may be kept, and mended right after the end"""

_WHY: dict[str, str] = {
    DRAFT: N_("Hội nghị còn là bản nháp nên chưa làm được việc này."),
    SCHEDULED: N_("Hội nghị chưa mở phòng chờ nên chưa làm được việc này."),
    LOBBY: N_("Hội nghị chưa bắt đầu nên chưa làm được việc này."),
    LIVE: N_("Hội nghị đang diễn ra nên không làm được việc này."),
    PAUSED: N_("Hội nghị đang tạm dừng nên chưa làm được việc này."),
    ENDED: N_("Hội nghị đã kết thúc nên không làm được việc này."),
    ARCHIVED: N_("Hội nghị đã lưu trữ nên không thay đổi được nữa."),
}

STATE_NAMES: dict[str, str] = {
    DRAFT: N_("Bản nháp"),
    SCHEDULED: N_("Đã lên lịch"),
    LOBBY: N_("Phòng chờ"),
    LIVE: N_("Đang diễn ra"),
    PAUSED: N_("Đang tạm nghỉ"),
    ENDED: N_("Đã kết thúc"),
    ARCHIVED: N_("Đã lưu trữ"),
}

_NO_WAY = N_("Không chuyển được hội nghị từ “%(before)s” sang “%(after)s”.")


def why_not(state: str) -> str:
    """Why something is not done in ``state``: a sentence to be translated."""
    return _WHY[state]


def require_state(state: str, allowed: Collection[str]) -> None:
    """Raises: Conflict, saying why, where ``state`` is not one of ``allowed``."""
    if state not in allowed:
        raise Conflict(why_not(state))


def require_transition(before: str, after: str) -> None:
    """Raises: Conflict where the life cycle has no such step."""
    if after not in TRANSITIONS[before]:
        raise Conflict(_NO_WAY, before=STATE_NAMES[before], after=STATE_NAMES[after])


def clears_stage(before: str, after: str) -> bool:
    """True for the steps after which nobody holds the floor and the stage is empty."""
    return before in OPEN and after not in OPEN


def spoken_s(before_s: int, held_s: float) -> int:
    """How long a site has held the floor in all, in whole seconds."""
    return before_s + max(0, round(held_s))


def site_slug_of(source: str) -> str:
    """The slug in ``site:{slug}`` or ``site:{slug}:screen``."""
    return source.split(":")[1]


def free_slug(wanted: str, taken: Collection[str]) -> str:
    """``wanted``, or the first of ``wanted-2``, ``wanted-3`` … that is not ``taken``."""
    slug, n = wanted, 1
    while slug in taken:
        n += 1
        suffix = f"-{n}"
        slug = wanted[: 60 - len(suffix)].rstrip("-") + suffix
    return slug
