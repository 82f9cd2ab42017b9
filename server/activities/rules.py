"""The life of a run, deadlines by the server's clock, and charts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from server.errors import N_, Conflict

OPEN, CLOSED, FINISHED = "open", "closed", "finished"
STATES = (OPEN, CLOSED, FINISHED)

CLOSE, REVEAL, NEXT, FINISH, RESPOND = "close", "reveal", "next", "finish", "respond"
PROLONG = "prolong"
STEPS = (CLOSE, REVEAL, NEXT, FINISH, RESPOND, PROLONG)

TRANSITIONS: dict[tuple[str, str], str] = {
    (OPEN, RESPOND): OPEN,
    (OPEN, PROLONG): OPEN,
    (OPEN, CLOSE): CLOSED,
    (OPEN, NEXT): OPEN,
    (OPEN, FINISH): FINISHED,
    (CLOSED, PROLONG): OPEN,
    (CLOSED, REVEAL): CLOSED,
    (CLOSED, NEXT): OPEN,
    (CLOSED, FINISH): FINISHED,
}
"""``next`` after the last item finishes the run instead; ``prolong`` goes no more once the key is shown"""

TOO_LATE = N_("Lựa chọn này đến sau khi câu đã đóng nên không được tính. Hãy chờ câu tiếp theo.")
_ALL_OVER = N_("Lựa chọn này đến sau khi bài trắc nghiệm kết thúc nên không được tính.")
_WHY: dict[str, str] = {
    OPEN: N_("Câu này còn đang mở. Hãy đóng câu trước khi công bố đáp án."),
    CLOSED: N_("Câu này đã đóng."),
    FINISHED: N_("Lượt trắc nghiệm này đã kết thúc."),
}


def step(state: str, name: str) -> str:
    """The state after a step. Raises: Conflict, saying why, where there is no such step."""
    after = TRANSITIONS.get((state, name))
    if after is None:
        late = _ALL_OVER if state == FINISHED else TOO_LATE
        raise Conflict(late if name == RESPOND else _WHY[state])
    return after


def is_over(now: datetime, deadline_at: datetime) -> bool:
    """True after the deadline; an answer at the very moment still counts."""
    return now > deadline_at


Chart = dict[str, tuple[int, ...]]


def chart(choices: Iterable[tuple[int, int, int]], options: int) -> Chart:
    """From (site, option, how many) to site id → how many chose each of ``options`` options."""
    counts: dict[str, list[int]] = {}
    for site, option, how_many in choices:
        counts.setdefault(str(site), [0] * options)[option] += how_many
    return {site: tuple(row) for site, row in counts.items()}


def answered(of: Chart) -> int:
    """How many answers a chart holds."""
    return sum(sum(row) for row in of.values())
