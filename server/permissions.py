"""Who may do what, and therefore who hears what: ONE table for commands, events and pages.

A permission is given to a role with a *reach*: nothing, itself, its site, or the whole of its
conference. An event names the permission that lets one hear it; a snapshot holds what the same
permissions let one see; a page names the permission that lets one open it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

import msgspec

from server.errors import Forbidden


class Role(StrEnum):
    """What a seat is in its conference (domain.md, Actors), and two kinds of token."""

    ORGANISER = "organiser"
    MODERATOR = "moderator"
    SPEAKER = "speaker"
    ADVISOR = "advisor"
    OPERATOR = "operator"
    DISPLAY = "display"
    TRAINEE = "trainee"
    OBSERVER = "observer"
    ENCODER = "encoder"
    VIEWER = "viewer"


class Reach(IntEnum):
    """How far a permission reaches."""

    NONE = 0
    SELF = 1
    SITE = 2
    CONFERENCE = 3
    SERVER = 4
    """the server itself, for accounts outside any conference"""


class Permission(StrEnum):
    """What may be done (commands), heard (events), seen (snapshots) or opened (pages)."""

    SEE_CONFERENCE = "see_conference"
    SEE_PROGRESS = "see_progress"
    SEE_ROSTER = "see_roster"
    SEE_ATTENDANCE = "see_attendance"
    SEE_QUESTION = "see_question"
    SEE_ASKER = "see_asker"
    SEE_ACTIVITY = "see_activity"
    SEE_KEY = "see_key"
    SEE_RESPONSE = "see_response"
    SEE_PEOPLE = "see_people"
    SEE_REPORTS = "see_reports"
    SEE_LINES = "see_lines"
    SEE_REPLAY = "see_replay"
    SEE_SERVER = "see_server"

    MANAGE_CONFERENCE = "manage_conference"
    RUN_CONFERENCE = "run_conference"
    DIRECT = "direct"
    REQUEST_FLOOR = "request_floor"
    CHECK_IN = "check_in"
    TICK_ATTENDANCE = "tick_attendance"
    ASK_QUESTION = "ask_question"
    MODERATE_QUESTIONS = "moderate_questions"
    ANSWER_QUESTION = "answer_question"
    MANAGE_ACTIVITY = "manage_activity"
    RUN_ACTIVITY = "run_activity"
    RESPOND = "respond"
    ADMIT_DISPLAY = "admit_display"
    RESET_PHONE = "reset_phone"

    PUBLISH = "publish"
    RECEIVE = "receive"


_C, _S, _I = Reach.CONFERENCE, Reach.SITE, Reach.SELF
_ORGANISER, _MODERATOR, _SPEAKER, _ADVISOR = (
    Role.ORGANISER,
    Role.MODERATOR,
    Role.SPEAKER,
    Role.ADVISOR,
)
_OPERATOR, _DISPLAY, _TRAINEE, _OBSERVER = (
    Role.OPERATOR,
    Role.DISPLAY,
    Role.TRAINEE,
    Role.OBSERVER,
)
_CHAIR = {_ORGANISER: _C, _MODERATOR: _C}
_STAFF = {**_CHAIR, _OBSERVER: _C}
_PANEL = {**_STAFF, _SPEAKER: _C, _ADVISOR: _C}
_PEOPLE = {**_PANEL, _OPERATOR: _C, _DISPLAY: _C, _TRAINEE: _C}

TABLE: dict[Permission, dict[Role, Reach]] = {
    Permission.SEE_CONFERENCE: _PEOPLE,
    # Counts that change each second; not for phones, which each telling wakes and none shows.
    Permission.SEE_PROGRESS: {**_PANEL, _OPERATOR: _C, _DISPLAY: _C},
    # Each check-in goes to its own room and person; the desk hears counts and reads lists.
    Permission.SEE_ROSTER: {_OPERATOR: _S},
    Permission.SEE_ATTENDANCE: {_OPERATOR: _S, _TRAINEE: _I},
    Permission.SEE_QUESTION: {**_PANEL, _TRAINEE: _I, _OPERATOR: _S},
    Permission.SEE_ASKER: _STAFF,
    Permission.SEE_ACTIVITY: _STAFF,
    Permission.SEE_KEY: _STAFF,
    Permission.SEE_RESPONSE: {_TRAINEE: _I},
    Permission.SEE_PEOPLE: _STAFF,
    Permission.SEE_REPORTS: _STAFF,
    Permission.SEE_LINES: {**_STAFF, _OPERATOR: _S},
    Permission.SEE_REPLAY: {**_PEOPLE, Role.VIEWER: _C},
    # Accounts that may make conferences keep the server too; a conference's organiser does not.
    Permission.SEE_SERVER: {_ORGANISER: Reach.SERVER},
    Permission.MANAGE_CONFERENCE: {_ORGANISER: _C},
    Permission.RUN_CONFERENCE: _CHAIR,
    Permission.DIRECT: _CHAIR,
    Permission.REQUEST_FLOOR: {_OPERATOR: _S},
    Permission.CHECK_IN: {_TRAINEE: _I},
    Permission.TICK_ATTENDANCE: {**_CHAIR, _OPERATOR: _S},
    Permission.ASK_QUESTION: {_TRAINEE: _I, _OPERATOR: _S},
    Permission.MODERATE_QUESTIONS: _CHAIR,
    Permission.ANSWER_QUESTION: {**_CHAIR, _SPEAKER: _C, _ADVISOR: _C},
    Permission.MANAGE_ACTIVITY: _CHAIR,
    Permission.RUN_ACTIVITY: _CHAIR,
    Permission.RESPOND: {_TRAINEE: _I},
    Permission.ADMIT_DISPLAY: {**_CHAIR, _OPERATOR: _S},
    Permission.RESET_PHONE: {**_CHAIR, _OPERATOR: _S},
    Permission.PUBLISH: {_OPERATOR: _S, Role.ENCODER: _S},
    Permission.RECEIVE: {**_PANEL, _OPERATOR: _C, _DISPLAY: _C, Role.VIEWER: _C},
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, from the connection alone (never from a message's body).

    ``conference_id`` is None for an account outside any conference; ``holder`` is the public id
    of the seat or token, or ``account:{id}``.
    """

    holder: str
    role: Role
    conference_id: int | None = None
    site_id: int | None = None
    person_id: int | None = None
    account_id: int | None = None
    name: str = ""


class Target(msgspec.Struct, frozen=True):
    """What is acted on or heard of: its conference, and its site and person where it has them."""

    conference_id: int | None
    site_id: int | None = None
    person_id: int | None = None


def reach(role: Role, permission: Permission) -> Reach:
    """How far ``permission`` reaches for ``role``."""
    return TABLE[permission].get(role, Reach.NONE)


def may(actor: Actor, permission: Permission, target: Target) -> bool:
    """True where ``actor`` has ``permission`` over ``target``."""
    how_far = reach(actor.role, permission)
    if how_far is Reach.SERVER:
        return actor.conference_id is None and target.conference_id is None
    if how_far is Reach.NONE or actor.conference_id is None:
        return False
    if actor.conference_id != target.conference_id:
        return False
    if how_far is Reach.CONFERENCE:
        return True
    if how_far is Reach.SITE:
        return actor.site_id is not None and actor.site_id == target.site_id
    return actor.person_id is not None and actor.person_id == target.person_id


def may_oneself(actor: Actor, permission: Permission) -> bool:
    """``may`` over what is the actor's own: its conference, site and person."""
    if reach(actor.role, permission) is Reach.SELF:  # hundreds at once, as a rule
        return actor.person_id is not None and actor.conference_id is not None
    return may(actor, permission, Target(actor.conference_id, actor.site_id, actor.person_id))


def require(actor: Actor, permission: Permission, target: Target) -> None:
    """Raises: Forbidden where ``may`` says no."""
    if not may(actor, permission, target):
        raise Forbidden()
