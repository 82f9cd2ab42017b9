"""Which worker each conference lives on. Pure: it is told of loads, ends and conferences.

A conference stays where it is while that worker lives, for moving costs every room a reconnection.
When a worker ends its conferences go to those that are left, at once; where none is left they wait
for the first that comes.
"""

from __future__ import annotations

CPU_STEP = 0.1
"""share of a core: loads that differ by less are the same, and the smaller number of seats decides,
which also spreads what opens before anybody sends"""


class Placement:
    """For ``workers`` workers, by index; a conference by its slug."""

    def __init__(self, workers: int) -> None:
        self._cpu = [0.0] * workers
        self._standing = [False] * workers
        self._fallen: set[int] = set()
        self._places: dict[str, int] = {}
        self._seats: dict[str, int] = {}

    def place(self, slug: str, seats: int) -> int:
        """Where it lives, with so many seats; a new one goes to the least loaded."""
        self._seats[slug] = seats
        if slug not in self._places:
            self._places[slug] = self._least_loaded()
        return self._places[slug]

    def of(self, slug: str) -> int | None:
        """Where it lives, if that is known."""
        return self._places.get(slug)

    def carried(self, slug: str, worker: int) -> bool:
        """A worker says that it carries this one: shall it? The first to say so keeps it."""
        return self._places.setdefault(slug, worker) == worker

    def leave(self, slug: str) -> None:
        """It is over."""
        self._places.pop(slug, None)
        self._seats.pop(slug, None)

    def loaded(self, worker: int, cpu: float) -> None:
        """What a worker reports: the share of a core that it takes."""
        self._cpu[worker] = cpu

    def rose(self, worker: int) -> list[str]:
        """A worker is there: the conferences that moved to it since their own had ended.

        One that has not come yet keeps its own: at the beginning workers come one after another.
        """
        self._standing[worker] = True
        self._fallen.discard(worker)
        self._cpu[worker] = 0.0
        moved = [slug for slug, place in self._places.items() if place in self._fallen]
        self._places.update(dict.fromkeys(moved, worker))
        return moved

    def fell(self, worker: int) -> list[str]:
        """A worker is gone: the conferences that moved to others."""
        self._standing[worker] = False
        self._fallen.add(worker)
        if not any(self._standing):
            return []
        moved = [slug for slug, place in self._places.items() if place == worker]
        for slug in moved:
            del self._places[slug]
        for slug in moved:
            self._places[slug] = self._least_loaded()
        return moved

    def _least_loaded(self) -> int:
        living = [index for index, up in enumerate(self._standing) if up]
        return min(living or range(len(self._standing)), key=self._load)

    def _load(self, worker: int) -> tuple[int, int]:
        seats = (1 + self._seats.get(s, 0) for s, place in self._places.items() if place == worker)
        return int(self._cpu[worker] / CPU_STEP), sum(seats)
