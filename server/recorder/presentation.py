"""The presentation: one clip (a folder with its own init and playlist) each time something is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from server.recorder import fmp4
from server.recorder.segments import Pace, Segments
from server.recorder.timeline import Timeline

PACE = Pace(segment_s=8.0, most_s=19.0, target_s=20)
"""a screen's keyframes are large: few of them"""


class Presentation:
    """Writes the clips of one recording and lists them in its time line."""

    def __init__(self, folder: Path, timeline: Timeline) -> None:
        self._folder, self._timeline = folder, timeline
        self._clip: Segments | None = None
        self._entry: dict[str, Any] = {}
        self._zero_us = 0
        self._repair()

    def _repair(self) -> None:
        """End the clip that a crash left open."""
        for entry in self._timeline.presentation:
            folder = (self._folder / entry["playlist"]).parent
            if not (folder / "clip.m3u8").exists():
                continue
            clip = Segments(folder, "clip", b"", None, PACE)
            if not clip.ended:
                clip.finish(clip.end)
                entry["end_ms"] = entry["start_ms"] + clip.end // 90

    def cut(self, at_us: int, source: str | None) -> None:
        """The clip at hand ends; another begins with the next frame."""
        self.finish(at_us)

    def frame(self, at_us: int, data: bytes, key: bool) -> None:
        """A frame of the clip, shown from ``at_us`` on."""
        if self._clip is None:
            self._begin(at_us, fmp4.leading_parameters(data))
        assert self._clip is not None
        self._clip.frame(_ticks(at_us - self._zero_us), data, key)

    def _begin(self, at_us: int, parameters: bytes) -> None:
        name = f"presentation-{len(self._timeline.presentation) + 1:04}"
        self._zero_us = at_us
        self._clip = Segments(self._folder / name, "clip", parameters, None, PACE)
        at_ms = (at_us - self._timeline.zero_us) // 1000
        self._entry = {"start_ms": at_ms, "end_ms": at_ms, "playlist": f"{name}/clip.m3u8"}
        self._timeline.presentation.append(self._entry)
        self._timeline.publish()

    def finish(self, at_us: int) -> None:
        """End the clip at hand, if any, at ``at_us``."""
        if self._clip is None:
            return
        self._clip.finish(_ticks(at_us - self._zero_us))
        self._entry["end_ms"] = self._entry["start_ms"] + self._clip.end // 90
        self._clip = None
        self._timeline.publish()

    def save(self) -> None:
        """Note how much of the clip at hand can be played by now."""
        if self._clip is not None:
            self._entry["end_ms"] = self._entry["start_ms"] + self._clip.listed // 90

    def keep(self, at_us: int) -> None:
        """No frame comes before ``at_us``: have on disk what stands until then."""
        if self._clip is not None:
            self._clip.keep(_ticks(at_us - self._zero_us))

    def stop(self, at_us: int) -> None:
        """Leave the clip at ``at_us``; ``_repair`` ends it."""
        if self._clip is not None:
            self._clip.stop(_ticks(at_us - self._zero_us))


def _ticks(us: int) -> int:
    return us * 9 // 100
