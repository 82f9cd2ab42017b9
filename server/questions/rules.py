"""The life of a question."""

from __future__ import annotations

from server.errors import N_, Conflict

ASKED, APPROVED, SET_ASIDE, ON_STAGE, ANSWERED = (
    "asked",
    "approved",
    "set_aside",
    "on_stage",
    "answered",
)
STATES = (ASKED, APPROVED, SET_ASIDE, ON_STAGE, ANSWERED)

APPROVE, PUT_ASIDE, PUT_ON_STAGE, TAKE_DOWN, FINISH, ANSWER = (
    "approve",
    "put_aside",
    "put_on_stage",
    "take_down",
    "finish",
    "answer",
)
STEPS = (APPROVE, PUT_ASIDE, PUT_ON_STAGE, TAKE_DOWN, FINISH, ANSWER)

TRANSITIONS: dict[tuple[str, str], str] = {
    (ASKED, APPROVE): APPROVED,
    (ASKED, PUT_ASIDE): SET_ASIDE,
    (APPROVED, APPROVE): APPROVED,  # given to somebody else
    (APPROVED, PUT_ASIDE): SET_ASIDE,
    (APPROVED, PUT_ON_STAGE): ON_STAGE,
    (APPROVED, ANSWER): ANSWERED,
    (SET_ASIDE, APPROVE): APPROVED,
    (ON_STAGE, TAKE_DOWN): APPROVED,  # it was the wrong one, or not its turn
    (ON_STAGE, FINISH): ANSWERED,
}

PUBLIC = frozenset({ON_STAGE, ANSWERED})
"""states in which everyone sees a question"""

MAX_WAITING = 10
"""questions of one person that wait at once"""

_WHY: dict[str, str] = {
    ASKED: N_("Câu hỏi này chưa được duyệt."),
    APPROVED: N_("Câu hỏi này chưa được đưa lên màn hình."),
    SET_ASIDE: N_("Câu hỏi này đã được để lại."),
    ON_STAGE: N_("Câu hỏi này đang được trả lời trên màn hình."),
    ANSWERED: N_("Câu hỏi này đã được trả lời."),
}


def step(state: str, name: str) -> str:
    """The state after a step. Raises: Conflict, saying why, where there is no such step."""
    after = TRANSITIONS.get((state, name))
    if after is None:
        raise Conflict(_WHY[state])
    return after
