"""Who is heard, by the levels of their packets."""

from __future__ import annotations

import math
import random

from server.media import levels


def test_loudness_is_steady() -> None:
    loudness = levels.Loudness()
    now_s = 0.0
    for _ in range(50):
        loudness.hear(25, now_s)
        now_s += 0.02
    assert loudness.speaks(now_s)
    for _ in range(15):  # a pause between words
        loudness.hear(90, now_s)
        now_s += 0.02
    assert loudness.speaks(now_s)
    for _ in range(100):
        loudness.hear(90, now_s)
        now_s += 0.02
    assert not loudness.speaks(now_s)


def test_a_microphone_is_off_where_nothing_but_digital_silence_comes() -> None:
    loudness = levels.Loudness()
    assert not loudness.mute(60.0), "levels were never told"
    for at_s in (0.0, 1.0, 2.0, 3.0):
        loudness.hear(127, at_s)
    assert not loudness.mute(3.0)
    assert loudness.mute(3.1)
    loudness.hear(126, 3.2)
    assert not loudness.mute(3.2), "even a still room hums"


def test_the_loudest_stay_unless_clearly_beaten() -> None:
    heard = {"a": 40.0, "b": 30.0, "c": 36.0, "d": 20.0}
    assert levels.loudest(heard, [], 3) == ["d", "b", "c"]
    assert levels.loudest(heard, ["a", "b", "d"], 3) == ["d", "b", "a"]
    assert levels.place(["x", None, "b"], ["b", "d", "c"]) == ["d", "c", "b"]


class Talk:
    """Rooms that hold the floor; levels by packets of 20 ms, and who is heard, looked at each 200 ms."""

    def __init__(self, rooms: str) -> None:
        self._rooms = {name: levels.Loudness() for name in rooms}
        self._randoms = {name: random.Random(name) for name in rooms}
        self._pause_until = dict.fromkeys(rooms, 0)
        self._packets = 0
        self.heard: list[str] = []
        self.changes = 0

    def go_on(self, seconds: float, **base: float) -> set[str]:
        """With words as loud as ``base`` (in -dBov) and pauses between them; the others are silent."""
        for _ in range(round(seconds * 50)):
            self._packets += 1
            for name, room in self._rooms.items():
                room.hear(self._level(name, base.get(name)), self._packets * 0.02)
            if self._packets % 10 == 0:
                self._listen(self._packets * 0.02)
        return set(self.heard[:3])

    def _level(self, name: str, base: float | None) -> int:
        chance = self._randoms[name]
        if self._packets > self._pause_until[name] + chance.randrange(60, 200):
            self._pause_until[name] = self._packets + chance.randrange(5, 25)
        if base is None or self._packets < self._pause_until[name]:
            return 70
        return round(base + chance.gauss(0, 6) + 6 * math.sin(self._packets / 5))

    def _listen(self, now_s: float) -> None:
        held = {name: room.held_level(now_s) for name, room in self._rooms.items()}
        heard = levels.loudest(held, self.heard[:3], len(held))
        self.changes += bool(self.heard) and set(heard[:3]) != set(self.heard[:3])
        self.heard = heard


def test_of_many_who_talk_at_once_the_same_are_heard_through_their_pauses() -> None:
    talk = Talk("abcdef")
    talk.go_on(2, a=25, b=25, c=25, d=25, e=25, f=25)
    talk.changes = 0
    talk.go_on(50, a=25, b=25, c=25, d=25, e=25, f=25)
    assert talk.changes <= 2


def test_who_falls_silent_gives_way_and_who_is_louder_is_heard_at_once() -> None:
    talk = Talk("abcd")
    assert talk.go_on(10, a=25, b=25, c=25) == set("abc")
    assert talk.go_on(1, a=25, b=25, c=25, d=60) == set("abc"), "d whispers"
    assert "d" in talk.go_on(2, a=25, b=25, d=25), "c has nothing to say any more"
    assert talk.go_on(10, a=25, b=25, d=25) == set("abd")
    assert "c" in talk.go_on(0.6, a=25, b=25, c=8, d=25)
