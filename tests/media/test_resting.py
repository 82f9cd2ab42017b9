"""A loop that lets packets gather, by a clock of the test's."""

from __future__ import annotations

import selectors
import socket

import pytest

from server.media import resting
from server.media.resting import OFTEN_S, REST_S, Resting


class Clock:
    """Stands still but for rests, and what a test adds."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.rests: list[float] = []

    def monotonic(self) -> float:
        """As ``time``'s."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """As ``time``'s."""
        self.rests.append(seconds)
        self.now_s += seconds


def test_it_rests_while_it_is_woken_all_the_time_and_only_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(resting, "time", clock)
    ours, theirs = socket.socketpair()
    with ours, theirs, Resting() as selector:
        selector.register(ours, selectors.EVENT_READ)

        def wake(after_s: float, timeout: float | None = None) -> list[float]:
            """By a byte; the rests that were taken before it was seen."""
            clock.now_s += after_s
            clock.rests.clear()
            theirs.send(b"x")
            assert [key.fd for key, _ in selector.select(timeout)] == [ours.fileno()]
            ours.recv(10)
            return list(clock.rests)

        assert wake(0) == [], "the first time"
        assert wake(OFTEN_S) == [], "now and then"
        assert wake(REST_S / 2) == [], "at once after something came alone"
        for _ in range(3):
            assert wake(REST_S / 4) == [pytest.approx(REST_S * 3 / 4)]
        assert wake(0, timeout=0) == [], "the loop has work"
        assert wake(0, timeout=60) == [pytest.approx(REST_S)]
        assert wake(3 * REST_S) == [], "it was long enough at work"
        assert wake(0) == [], "and not woken often any more"
        assert wake(0) == [pytest.approx(REST_S)]
        clock.rests.clear()
        assert selector.select(REST_S / 2) == [], "a timer that is due meanwhile"
        assert clock.rests == [pytest.approx(REST_S)]


def test_a_loop_that_rests_is_one() -> None:
    loop = resting.loop()
    try:
        heard: list[str] = []
        loop.call_later(0, heard.append, "a timer")
        loop.call_later(0, loop.stop)
        loop.run_forever()
        assert heard == ["a timer"]
    finally:
        loop.close()
