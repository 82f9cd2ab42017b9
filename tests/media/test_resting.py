"""A loop that lets packets gather, by a clock of the test's."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator

import pytest

from server.media import resting
from server.media.reading import MAX_BATCH, Compiled, Plain
from server.media.resting import OFTEN_S, REST_S, Resting
from tests.media.built import needs_built
from tests.media.relayed import PICTURE, Line, packet_of

WAYS = [Plain, Compiled]


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


def test_what_is_done_with_at_once_gives_the_loop_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(resting, "time", clock)
    ours, theirs = socket.socketpair()
    mine, others = socket.socketpair()
    with ours, theirs, mine, others, Resting() as selector:
        for each in (ours, mine):
            selector.register(each, selectors.EVENT_READ)
        looked: list[bytes] = []

        def look(now_s: float) -> bool:
            """Only what is in capitals is somebody's."""
            assert now_s == clock.now_s
            looked.append(ours.recv(1))
            return looked[-1].isupper()

        selector.attend(ours.fileno(), look, lambda: False)
        theirs.send(b"abCd")
        assert [key.fd for key, _ in selector.select(60)] == [ours.fileno()]
        assert looked == [b"a", b"b", b"C"]
        assert [key.fd for key, _ in selector.select(0)] == [ours.fileno()], "the loop has work"
        assert len(looked) == 3
        assert selector.select(REST_S / 2) == [], "a timer is due"
        assert looked.pop() == b"d"
        theirs.send(b"e")
        others.send(b"x")
        fds = {key.fd for key, _ in selector.select()}
        assert fds == {ours.fileno(), mine.fileno()} and len(looked) == 3


@pytest.mark.parametrize("read", WAYS)
def test_a_flood_is_read_without_a_rest(
    monkeypatch: pytest.MonkeyPatch, read: type[Plain | Compiled]
) -> None:
    """More than is read at once within one rest: nobody's media wait for it in a buffer that is full."""
    if read is Compiled:
        needs_built()
    clock = Clock()
    monkeypatch.setattr(resting, "time", clock)
    ours, stranger = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    with ours, stranger, Resting() as selector:
        ours.setblocking(False)
        ours.bind(("127.0.0.1", 0))
        selector.register(ours, selectors.EVENT_READ)
        reader = read(ours)
        selector.attend(ours.fileno(), lambda now_s: True, lambda: reader.behind)
        for _ in range(MAX_BATCH + 1):
            stranger.sendto(b"x", ours.getsockname())

        def turn() -> int:
            """How many are read in it."""
            assert selector.select(60)
            return sum(1 for _ in reader.read(clock.now_s))

        for _ in range(2):
            selector.select(60)  # woken all the time: it rests
        assert (turn(), clock.rests) == (MAX_BATCH, [pytest.approx(REST_S)])
        clock.rests.clear()
        assert (turn(), clock.rests) == (1, [])
        stranger.sendto(b"x", ours.getsockname())
        assert (turn(), clock.rests) == (1, [pytest.approx(REST_S)])


LONG_S = 0.1


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Whose pictures go on by themselves; rests are long enough to be seen."""
    needs_built()
    monkeypatch.setattr(resting, "REST_S", LONG_S)
    monkeypatch.setattr(resting, "OFTEN_S", 1000.0)
    made = Line()
    made.relays[PICTURE].arm(0, made.lanes[PICTURE])
    yield made
    made.close()


def test_compiled_code_rests_alike_and_python_hears_of_what_is_its_own_alone(line: Line) -> None:
    mine, others = socket.socketpair()
    due_s = float("inf")
    with mine, others, Resting() as selector:
        for each in (line.ours, mine):
            selector.register(each, selectors.EVENT_READ)
        fd = line.ours.fileno()
        selector.attend(
            *(fd, lambda now_s: pytest.fail("Python looks"), lambda: line.reader.behind),
            lambda pace, epoll, end_s: line.reader.rest(pace, epoll, end_s, due_s),
        )

        def fds(timeout: float | None = None) -> set[int]:
            return {key.fd for key, _ in selector.select(timeout)}

        for number in (1, 2):
            line.send(packet_of(PICTURE, number, 100, 0))
        assert (fds(0.02), line.reader.untold) == (set(), 2), "until a timer is due"
        line.theirs.sendto(b"strange", line.ours.getsockname())
        assert fds() == {fd}, "once, though it was read already"
        assert [data for data, _ in line.read(0.0)] == [b"strange"]
        woken_s = selector._pace.woken_s
        for number in (3, 4):
            line.send(packet_of(PICTURE, number, 100, 0))
        assert (fds(LONG_S / 2), line.reader.untold) == (set(), 4)
        assert selector._pace.woken_s >= woken_s + LONG_S, "after a rest"
        line.send(packet_of(PICTURE, 5, 100, 0))
        others.send(b"x")
        assert fds() >= {mine.fileno()} and mine.recv(9) == b"x"
        line.send(packet_of(PICTURE, 6, 100, 0))
        due_s = 0.0
        assert (fds(), line.reader.untold) == (set(), 6), "somebody waits for that"
        assert fds(0) == set(), "the loop has work"
