"""What is made once for many is byte for byte what each would get alone."""

from __future__ import annotations

import pytest

from server.db.journal import Published
from server.live.sockets import Alike, event_message
from server.permissions import Permission
from tests.cast import START


def answered(seq: int, words: int) -> Published:
    data = {"words": "x" * words}
    return Published(1, seq, START, "activity.answered", data, Permission.SEE_RESPONSE, 1, seq)


@pytest.mark.parametrize("words", [0, *range(20, 28), 200, *range(65_430, 65_438)])
def test_events_that_differ_in_their_number_alone_are_those_that_one_would_get(words: int) -> None:
    alike = Alike(answered(8, words))
    for seq in (8, 9, 10, 11, 99, 100, 9, 10**9):
        alone = event_message("events", [answered(seq, words).wire()])
        made = alike.message(seq)
        assert (made.text, made.frame) == (alone.text, alone.frame)
