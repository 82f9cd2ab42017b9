"""Who is heard, by the audio level that each packet carries (RFC 6464). Pure.

Levels are in -dBov: 0 is the loudest, 127 is silence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

SPEAKS_BELOW = 45.0
"""louder than -45 dBov: speech; rooms hum below that"""
SILENT_ABOVE = 55.0
HOLD_S = 0.8
"""a pause between words does not end speaking"""
RISE_S = 0.1
FALL_S = 0.6
HELD_S = 4.0
"""so slowly falls what a voice keeps its place by: words and their pauses differ by more than rooms do"""
DIGITAL_SILENCE = 127
MUTE_S = 3.0
"""nothing but digital silence for so long: the microphone is off, since even a still room hums"""
MARGIN_DB = 8.0
"""by so much must another be louder to displace one of the loudest"""
UNTOLD = SPEAKS_BELOW + MARGIN_DB
"""taken of sound that comes without levels, as encoders send it: it goes before rooms that are silent,
and even where it is heard already gives way to whoever speaks"""


class Loudness:
    """The steadied level of one source; quick to rise, slow to fall."""

    def __init__(self) -> None:
        self._level = self._held = 127.0
        self._at_s: float | None = None
        self._speaks = False
        self._loud_at_s = float("-inf")
        self._heard_at_s: float | None = None
        """the latest packet that was more than digital silence, or else the first"""

    def hear(self, level: int, now_s: float) -> None:
        """A packet with ``level`` (0 to 127, in -dBov) has come."""
        elapsed_s = min(1.0, now_s - self._at_s) if self._at_s is not None else 0.02
        self._at_s = now_s
        self._level = _steadied(self._level, level, elapsed_s, FALL_S)
        self._held = _steadied(self._held, level, elapsed_s, HELD_S)
        if self._level < SPEAKS_BELOW:
            self._loud_at_s = now_s
        if level < DIGITAL_SILENCE or self._heard_at_s is None:
            self._heard_at_s = now_s

    @property
    def told(self) -> bool:
        """Has any level come?"""
        return self._at_s is not None

    def mute(self, now_s: float) -> bool:
        """Has nothing come for a while but digital silence? False where levels are not told."""
        return self._heard_at_s is not None and now_s - self._heard_at_s > MUTE_S

    def level(self, now_s: float) -> float:
        """The steadied level; silence once packets have stopped for a second."""
        return self._level if self._at_s is not None and now_s - self._at_s < 1.0 else 127.0

    def held_level(self, now_s: float) -> float:
        """By which it keeps its place among the loudest: how loud it was of late, as long as it speaks."""
        return self._held if self.speaks(now_s) else self.level(now_s)

    def speaks(self, now_s: float) -> bool:
        """Is this source heard now?"""
        level = self.level(now_s)
        if level < SPEAKS_BELOW:
            self._speaks = True
        elif level > SILENT_ABOVE and now_s - self._loud_at_s > HOLD_S:
            self._speaks = False
        return self._speaks


def _steadied(steady: float, level: int, elapsed_s: float, fall_s: float) -> float:
    constant_s = RISE_S if level < steady else fall_s
    return steady + (level - steady) * (1 - math.exp(-max(elapsed_s, 0.001) / constant_s))


def loudest(levels: Mapping[str, float], kept: Sequence[str], count: int) -> list[str]:
    """The ``count`` loudest of ``levels`` (-dBov by name), where those in ``kept`` stay unless
    another is louder by ``MARGIN_DB``; loudest first, ties in the order given."""

    def rank(name: str) -> float:
        return levels[name] - (MARGIN_DB if name in kept else 0.0)

    return sorted(levels, key=rank)[:count]


def place(present: Sequence[str | None], wanted: Iterable[str]) -> list[str | None]:
    """Put ``wanted`` into slots so that whoever is in one already stays there."""
    names = list(wanted)
    slots = [name if name in names else None for name in present]
    waiting = [name for name in names if name not in slots]
    for i, name in enumerate(slots):
        if name is None and waiting:
            slots[i] = waiting.pop(0)
    return slots
