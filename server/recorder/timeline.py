"""``timeline.json``: what a recording shows when, for the pages that play it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.recorder.playlist import publish


@dataclass(slots=True)
class Timeline:
    """Times in ms since ``zero_us`` (server wall clock); ``publish`` writes it atomically."""

    path: Path
    zero_us: int
    duration_ms: int = 0
    """what is on disk"""
    ended: bool = False
    presentation: list[dict[str, Any]] = field(default_factory=list)
    """clips: ``start_ms``, ``end_ms``, ``playlist`` (relative to the folder)"""
    stage: list[dict[str, Any]] = field(default_factory=list)
    """``start_ms``, ``end_ms``, ``source``; None is the card"""

    @classmethod
    def load(cls, path: Path, zero_us: int) -> Timeline:
        """Take up the time line at ``path``, or begin one."""
        timeline = cls(path, zero_us)
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            timeline.zero_us = stored["zero_us"]
            timeline.duration_ms, timeline.ended = stored["duration_ms"], stored["ended"]
            timeline.presentation, timeline.stage = stored["presentation"], stored["stage"]
        return timeline

    def cut(self, at_ms: int, source: str | None) -> None:
        """From ``at_ms`` on the stage shows ``source``."""
        if self.stage and self.stage[-1]["source"] == source:
            return
        self.close(at_ms)
        self.stage.append({"start_ms": at_ms, "end_ms": at_ms, "source": source})

    def close(self, at_ms: int) -> None:
        """What is on stage lasts until ``at_ms`` at least."""
        if self.stage:
            self.stage[-1]["end_ms"] = at_ms

    def publish(self) -> None:
        """Write it."""
        content = {
            "zero_us": self.zero_us,
            "duration_ms": self.duration_ms,
            "ended": self.ended,
            "presentation": self.presentation,
            "stage": self.stage,
        }
        publish(self.path, json.dumps(content, ensure_ascii=False) + "\n")
