"""Figures of the last minute, from the same metrics that ``/metrics`` shows.

Metrics only count up; what matters to a person is the last minute. A task samples them every few
seconds and keeps a minute of samples.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import REGISTRY, CollectorRegistry

WINDOW_S = 60.0
PERIOD_S = 5.0
LOOP, BATCH, COMMIT = (
    "diemcau_loop_delay_seconds",
    "diemcau_inbox_batch_commands",
    "diemcau_commit_seconds",
)
SOCKETS, QUEUED, CUT_OFF = (
    "diemcau_sockets",
    "diemcau_socket_queued_bytes",
    "diemcau_sockets_cut_off_total",
)
RESYNCS, REFUSED = "diemcau_resyncs_total", "diemcau_commands_refused_total"
_WANTED = (
    *(f"{name}_bucket" for name in (LOOP, BATCH, COMMIT)),
    *(SOCKETS, QUEUED, CUT_OFF, RESYNCS, REFUSED),
)

Values = Mapping[tuple[str, str], float]
"""(name, value of its one label or "") → value"""


@dataclass(frozen=True, slots=True)
class Sample:
    """The metrics at one moment."""

    at_s: float
    values: Values


def sample(at_s: float, registry: CollectorRegistry = REGISTRY) -> Sample:
    """Read the metrics that ``Window`` asks for."""
    restricted = registry.restricted_registry(_WANTED)
    return Sample(
        at_s,
        {
            (each.name, next(iter(each.labels.values()), "")): each.value
            for family in restricted.collect()
            for each in family.samples
        },
    )


@dataclass(frozen=True, slots=True)
class Window:
    """What happened between two samples."""

    before: Values
    after: Values

    def now(self, name: str) -> float:
        """A gauge's value."""
        return self.after.get((name, ""), 0.0)

    def by_label(self, name: str) -> dict[str, int]:
        """How often a counter counted, by its label; without those that did not."""
        grown = {
            label: int(value - self.before.get((name, label), 0.0))
            for (each, label), value in self.after.items()
            if each == name
        }
        return {label: count for label, count in grown.items() if count > 0}

    def quantile(self, histogram: str, share: float) -> float | None:
        """The bound below which that share of what was observed lies, infinite above the last
        bucket; None where nothing was observed."""
        name = f"{histogram}_bucket"
        bounds = sorted(
            (float(label), value - self.before.get((name, label), 0.0))
            for (each, label), value in self.after.items()
            if each == name
        )
        if not bounds or bounds[-1][1] <= 0:
            return None
        wanted = bounds[-1][1] * share
        return next((bound for bound, below in bounds if below >= wanted), math.inf)


class Vitals:
    """Samples of the last minute."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=int(WINDOW_S / PERIOD_S))
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to sample."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def window(self) -> Window:
        """The last minute, or as much of it as this process has lived."""
        now = sample(time.monotonic())
        oldest = self._samples[0] if self._samples else now
        return Window(oldest.values, now.values)

    async def _run(self) -> None:
        while True:
            self._samples.append(sample(time.monotonic()))
            await asyncio.sleep(PERIOD_S)
