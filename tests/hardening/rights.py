"""Who may do what, written down a second time and by hand: the table that the server must obey.

It is a copy of ``server/permissions.py`` on purpose: whoever changes a right must say so twice.
"""

from __future__ import annotations

from server.permissions import Role

ROLES = tuple(
    map(
        Role,
        "organiser moderator speaker advisor operator display trainee observer encoder viewer"
        .split(),
    )
)  # fmt: skip
"""The columns of ``RIGHTS``."""

RIGHTS = {line.split()[0]: dict(zip(ROLES, line.split()[1], strict=True)) for line in """
    see_conference     CCCCCCCC--
    see_progress       CCCCCC-C--
    see_roster         ----S-----
    see_attendance     ----S-I---
    see_question       CCCCS-IC--
    see_asker          CC-----C--
    see_activity       CC-----C--
    see_key            CC-----C--
    see_response       ------I---
    see_people         CC-----C--
    see_reports        CC-----C--
    see_lines          CC--S--C--
    see_replay         CCCCCCCC-C
    see_server         A---------
    manage_conference  C---------
    run_conference     CC--------
    direct             CC--------
    request_floor      ----S-----
    check_in           ------I---
    tick_attendance    CC--S-----
    ask_question       ----S-I---
    moderate_questions CC--------
    answer_question    CCCC------
    manage_activity    CC--------
    run_activity       CC--------
    respond            ------I---
    admit_display      CC--S-----
    reset_phone        CC--S-----
    publish            ----S---S-
    receive            CCCCCC-C-C
    """.strip().splitlines()}
"""permission → role → how far: C its conference, S its site, I itself, - not at all;
A the server itself, outside any conference"""

COMMANDS = {
    name: permission
    for permission, names in {
        "manage_conference": """
            conference.create conference.update conference.appoint conference.dismiss agenda.set
            site.add site.update site.remove roster.import roster.remove link.create link.revoke
            seat.revoke""",
        "run_conference": "conference.move agenda.start attendance.count site.note_connected",
        "direct": """
            site.mute stage.show stage.present floor.give floor.take floor.decline media.expect""",
        "request_floor": "floor.request floor.withdraw",
        "admit_display": "seat.admit",
        "reset_phone": "phone.reset",
        "check_in": "attendance.check_in",
        "tick_attendance": "attendance.tick attendance.untick",
        "ask_question": "question.ask",
        "moderate_questions": """
            question.approve question.set_aside question.put_on_stage question.take_down""",
        "answer_question": "question.finish question.answer",
        "manage_activity": "activity.create activity.remove",
        "run_activity": """
            activity.launch activity.next activity.prolong activity.close activity.reveal
            activity.finish activity.expire""",
        "respond": "activity.answer",
        "publish": "media.publish",
        "receive": "media.receive media.accept media.listen media.view media.report",
        "see_lines": "media.lines",
        "see_conference": "media.restart media.close",
    }.items()
    for name in names.split()
}
"""Commands and requests to the media worker → the permission that each asks for."""

AUDIENCES = {
    name: permission
    for permission, names in {
        "see_conference": """
            conference.created conference.updated conference.moved agenda.item_set
            agenda.item_removed agenda.item_started agenda.item_ended agenda.moved site.added
            site.updated site.removed site.muted stage.shown stage.presented
            floor.given floor.taken floor.requested floor.request_closed question.put_on_stage
            question.taken_down question.finished question.answered activity.item_opened
            activity.item_prolonged activity.item_closed activity.key_revealed activity.run_finished""",
        "see_progress": "site.counted activity.counted",
        "see_lines": "site.connected",
        "see_people": "conference.appointed conference.dismissed",
        "see_roster": "roster.imported roster.removed",
        "see_attendance": "attendance.checked_in attendance.undone",
        "see_question": "question.asked question.approved question.set_aside",
        "see_asker": "question.asker_named",
        "see_activity": "activity.created activity.removed",
        "see_key": "activity.key_known",
        "see_response": "question.sent activity.answered",
        "admit_display": "seat.asked seat.admitted",
    }.items()
    for name in names.split()
}
"""Events → the permission that lets one hear each."""


def allowed(
    role: Role, permission: str, *, same_site: bool, same_person: bool, same_conference: bool = True
) -> bool:
    """What the table says."""
    how_far = RIGHTS[permission][role]
    return same_conference and (
        how_far == "C" or (how_far == "S" and same_site) or (how_far == "I" and same_person)
    )
