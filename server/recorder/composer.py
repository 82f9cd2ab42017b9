"""What one track shows when: cuts among sources at their IDRs, and the card in between.

A cut takes place at the first IDR of the new source; until then the old one goes on as long as it
comes, then the card. All times are µs of the server's clock; ``advance`` is given a horizon before
which everything that will come has come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from server.recorder.card import FRAME_US, Card
from server.recorder.frames import Frame, VideoSource

EARLY_US = 200_000
"""an IDR this long before a cut still belongs to it"""
MOST_US = 1_500_000
"""how long after a cut the old picture may stay"""
STEP_US = 1_000


class Sink(Protocol):
    """Where the composed track goes."""

    def cut(self, at_us: int, source: str | None) -> None:
        """From ``at_us`` on the frames are ``source``'s (None: the card's, or none follow)."""

    def frame(self, at_us: int, data: bytes, key: bool) -> None:
        """A frame shown from ``at_us`` on."""


@dataclass(frozen=True, slots=True)
class Patience:
    """When to ask for a keyframe, and when to give up a picture that stands still."""

    keyframe_us: int = 4_000_000
    """age of the last IDR at which to ask for the next"""
    silence_us: int = 600_000
    """without a frame for this long: ask (an encoder with nothing new then sends one)"""
    least_us: int = 1_200_000
    most_us: int = 4_000_000
    """without a frame for thrice the usual interval, within these bounds: show the card"""


class Composer:
    """Composes one track from ``position_us`` on; without a ``card`` it has pauses instead."""

    def __init__(
        self,
        track: str,
        sink: Sink,
        sources: Mapping[str, VideoSource],
        card: Card | None,
        patience: Patience,
        position_us: int,
    ) -> None:
        self._track, self._sink, self._sources, self._card, self._patience = (
            track,
            sink,
            sources,
            card,
            patience,
        )
        self._shows: deque[tuple[int, str | None]] = deque()
        self.target: str | None = None
        """what is wanted"""
        self._since_us = position_us
        self.showing: str | None = None
        """what is shown, None for the card"""
        self._last_us = position_us
        self._card_index = 0
        if card is not None:
            self._blank(position_us)

    def show(self, at_us: int, source: str | None) -> None:
        """From ``at_us`` on show ``source``."""
        self._shows.append((at_us, source))

    def uses(self, source: str) -> bool:
        """Is this source shown or about to be?"""
        return source in (self.showing, self.target) or any(source == s for _, s in self._shows)

    def advance(self, horizon_us: int) -> None:
        """Give the sink everything up to ``horizon_us``."""
        while steps := [step for step in self._steps() if step[0] <= horizon_us]:
            at_us, action = min(steps, key=lambda step: step[0])
            action(at_us)

    def wanted_keyframes(self, now_us: int) -> Iterator[str]:
        """Sources that must send a keyframe."""
        for since_us, name in [(self._since_us, self.target), *self._shows]:
            if name is None or name == self.showing:
                continue
            source = self._sources.get(name)
            if source is None or source.waiting or source.last_key_us < since_us - EARLY_US:
                yield name
        if self.showing is not None:
            source = self._sources[self.showing]
            if (
                source.waiting
                or now_us - source.last_key_us > self._patience.keyframe_us
                or now_us - source.last_us > self._patience.silence_us
            ):
                yield self.showing

    def _steps(self) -> Iterator[tuple[int, Callable[[int], None]]]:
        """What may come next, each with its time; of equal times the first."""
        if self._shows:
            yield self._shows[0][0], self._apply
        if self.target != self.showing:
            frame = self._next_key()
            if frame is not None:
                yield frame.time_us, self._cut
            if self.showing is not None:
                yield self._since_us + MOST_US, self._blank
        if self.showing is not None:
            source = self._sources[self.showing]
            frames = source.frames[self._track]
            if frames:
                yield frames[0].time_us, self._frame
            elif self._card is not None:
                yield self._last_us + self._stall_us(source), self._blank
        elif self._card is not None:
            yield self._last_us + FRAME_US, self._card_frame

    def _stall_us(self, source: VideoSource) -> int:
        return min(max(3 * source.interval_us, self._patience.least_us), self._patience.most_us)

    def _next_key(self) -> Frame | None:
        """The target's first IDR that belongs to the cut; frames before it are of no use."""
        source = self._sources.get(self.target or "")
        if source is None:
            return None
        frames = source.frames[self._track]
        while frames and not (frames[0].key and frames[0].time_us >= self._since_us - EARLY_US):
            frames.popleft()
        return frames[0] if frames else None

    def _apply(self, at_us: int) -> None:
        _, source = self._shows.popleft()
        if source == self.target:
            return
        self.target, self._since_us = source, at_us
        if source is None and self.showing is not None:
            self._blank(at_us)

    def _cut(self, at_us: int) -> None:
        assert self.target is not None
        self.showing = self.target
        self._sink.cut(max(at_us, self._last_us + STEP_US), self.target)
        self._frame(at_us)

    def _frame(self, at_us: int) -> None:
        assert self.showing is not None
        frame = self._sources[self.showing].frames[self._track].popleft()
        self._emit(at_us, frame.data, frame.key)

    def _blank(self, at_us: int) -> None:
        """Show the card, or nothing where there is none."""
        self.showing = None
        at_us = max(at_us, self._last_us)
        self._since_us = max(self._since_us, at_us) if self.target else self._since_us
        self._card_index = 0
        self._sink.cut(at_us, None)
        if self._card is not None:
            self._card_frame(at_us)

    def _card_frame(self, at_us: int) -> None:
        assert self._card is not None
        index = self._card_index % len(self._card.frames)
        self._card_index += 1
        self._emit(at_us, self._card.frames[index], index == 0)

    def _emit(self, at_us: int, data: bytes, key: bool) -> None:
        self._last_us = max(at_us, self._last_us + STEP_US)
        self._sink.frame(self._last_us, data, key)
