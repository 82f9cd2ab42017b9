"""Which media worker does what: each open conference's desired state, and what comes back.

For each conference web derives one document (``media.messages.Desired``) from the database and
sends it to the worker that the conference lives on, again after every change and after every
reconnect: that is how either side recovers. What a seat may do in media (its *grant*) follows
from the one table of permissions; workers never see roles.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import structlog

from server.desired import Derived, derive, open_conferences, over, takes_media, unfinished
from server.lines import Lines
from server.media import messages
from server.placement import Placement
from server.telling import Telling
from server.worker_link import WorkerLink

log = structlog.get_logger("steering")

CONNECT_GRACE_S = 1.0
"""How long start waits for workers to tell which conferences they carry already."""
AGAIN_S = 1.0
"""from a desired state that could not be derived to the next try"""
UNFINISHED = timedelta(days=30)
"""Recordings of conferences that ended so long ago are looked after when web starts."""


class Reader(Protocol):
    """What is needed of ``db.engine.Database``."""

    async def read(self, function: Any, *arguments: Any) -> Any:
        """Run ``function(session, *arguments)`` in a thread of the pool."""


class Steering:
    """Keeps each open conference's worker in step. ``controls`` are the workers' control sockets."""

    def __init__(self, database: Reader, controls: Sequence[str], recordings_dir: Path) -> None:
        self._database = database
        self._recordings_dir = recordings_dir
        self.telling = Telling()
        self.links = [WorkerLink(p, self._heard, self._connected, self._ended) for p in controls]
        self.derived: dict[int, Derived] = {}
        """what is wanted of each open conference"""
        self._ids: dict[str, int] = {}
        self._placement = Placement(len(controls))
        self._over: dict[str, Derived] = {}
        """conferences that have ended, until their recording has, whichever worker is left for it"""
        self.loads: list[messages.Load | None] = [None] * len(controls)
        """of each worker, as last told; None while it is gone"""
        self._refreshing: dict[int, asyncio.Task[None]] = {}
        self._stale: set[int] = set()
        self._asking: dict[str, asyncio.Task[None]] = {}
        """of conferences that a worker carries and we do not know: are they over?"""
        self._early: dict[str, list[tuple[WorkerLink, messages.FromWorker]]] = {}
        """what was said of these meanwhile: when web starts, workers introduce theirs before it knows any"""
        self._loaded = asyncio.Event()
        self._again: dict[int, asyncio.TimerHandle] = {}
        self._revision = 0

    async def start(self) -> None:
        """Connect, learn what the workers carry, and bring every open conference in step."""
        for link in self.links:
            link.start()
        waits = [link.connected.wait() for link in self.links]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_GRACE_S):
                await asyncio.gather(*waits)
            await asyncio.sleep(0.05)  # their reports of what they carry follow at once
        for conference_id in await self._database.read(open_conferences):
            self.refresh(conference_id)
        await self.settled()
        since = datetime.now(UTC) - UNFINISHED
        for ended in await self._database.read(unfinished, since, self._recordings_dir):
            log.warning("a recording was not ended, ended now", conference=ended.slug)
            self._end(ended)
        self._loaded.set()

    async def stop(self) -> None:
        """Disconnect. The workers go on with the last desired state."""
        for timer in self._again.values():
            timer.cancel()
        tasks = [*self._refreshing.values(), *self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(link.stop() for link in self.links))

    # --- desired state ---

    def refresh(self, conference_id: int) -> None:
        """Derive and send the desired state soon; calls while one is under way are joined."""
        self._stale.add(conference_id)
        task = self._refreshing.get(conference_id)
        if task is None or task.done():
            self._refreshing[conference_id] = asyncio.create_task(self._refresh(conference_id))

    async def settled(self, conference_id: int | None = None) -> None:
        """Wait until the refreshes asked for so far (of one conference) are done."""
        ids = list(self._refreshing) if conference_id is None else [conference_id]
        tasks = [self._refreshing[one] for one in ids if one in self._refreshing]
        await asyncio.gather(*(asyncio.shield(task) for task in tasks))

    async def _refresh(self, conference_id: int) -> None:
        while conference_id in self._stale:
            self._stale.discard(conference_id)
            try:
                derived = await self._database.read(
                    derive, conference_id, datetime.now(UTC), self._recordings_dir
                )
            except Exception:
                # The old document stays in force meanwhile.
                log.warning("desired state not derived", conference=conference_id, exc_info=True)
                later = asyncio.get_running_loop().call_later
                self._again[conference_id] = later(AGAIN_S, self.refresh, conference_id)
                return
            self._adopt(conference_id, derived)

    def _adopt(self, conference_id: int, derived: Derived | None) -> None:
        before = self.derived.get(conference_id)
        if derived is None:
            if before is not None:
                del self.derived[conference_id], self._ids[before.slug]
                self.telling.forget(conference_id)
                if before.recording is None:
                    self._forget(before.slug)
                    self._placement.leave(before.slug)
                else:
                    self._end(over(before.slug, before.recording, datetime.now(UTC)))
            return
        self.derived[conference_id] = derived
        self._ids[derived.slug] = conference_id
        self.telling.open(conference_id)
        if before is None or before != derived:
            self._send(derived)
        for link, message in self._early.pop(derived.slug, ()):
            self._heard(link, message)

    def _send(self, derived: Derived) -> None:
        """The document, to the worker that the conference lives on."""
        if self.links:
            place = self._placement.place(derived.slug, len(derived.grants))
            self.links[place].send(derived.document(self._next_revision()))

    def _end(self, derived: Derived) -> None:
        """It is over. Its worker ends the recording too; the next one if this one dies of it."""
        self._over[derived.slug] = derived
        self._send(derived)
        self._forget(derived.slug)

    def _forget(self, slug: str) -> None:
        link = self.link(slug)
        if link is not None:
            link.send(messages.Forget(slug))

    def _next_revision(self) -> int:
        # Microseconds of the clock, so that a restarted web goes on above the last revision.
        self._revision = max(self._revision + 1, time.time_ns() // 1000)
        return self._revision

    def link(self, slug: str) -> WorkerLink | None:
        """To the worker that a conference lives on, where that is known."""
        place = self._placement.of(slug)
        return None if place is None else self.links[place]

    def all_lines(self) -> Iterator[tuple[Derived, Lines]]:
        """Of every open conference, for the metrics."""
        for conference_id, lines in self.telling.lines.items():
            yield self.derived[conference_id], lines

    # --- what workers tell ---

    def standing(self) -> list[bool]:
        """Which workers are connected, by index."""
        return [link.connected.is_set() for link in self.links]

    def _connected(self, link: WorkerLink) -> None:
        """A worker is there (again): it gets the desired state of what lives on it."""
        worker = self.links.index(link)
        moved = self._placement.rose(worker)
        known = [d.slug for d in (*self.derived.values(), *self._over.values())]
        own = [slug for slug in known if self._placement.of(slug) == worker]
        self._settle(own, rejoin=own if link.reconnects else moved)

    def _ended(self, link: WorkerLink) -> None:
        """A worker is gone: what lived on it goes on elsewhere at once, if there is another."""
        self.loads[self.links.index(link)] = None
        moved = self._placement.fell(self.links.index(link))
        if moved:
            log.warning("conferences move to other workers", conferences=moved)
        self._settle(moved, rejoin=moved)

    def _settle(self, slugs: Sequence[str], rejoin: Sequence[str]) -> None:
        """Send these anew to where they live now, and have the rooms of some of them ``rejoin``."""
        for conference_id, derived in self.derived.items():
            if derived.slug in slugs:
                self._send(derived)
            if derived.slug in rejoin:
                self.telling.tell(conference_id, "publications", {}, keep=True)
                self.telling.tell(conference_id, "speaking", [], keep=True)
                self.telling.tell(conference_id, "media_ready", {})
        for derived in list(self._over.values()):
            if derived.slug in slugs:
                self._end(derived)

    def _heard(self, link: WorkerLink, message: messages.FromWorker) -> None:
        if isinstance(message, messages.Recorded):
            self._recorded(message)
            return
        if isinstance(message, messages.Answered | messages.Refused):
            return
        worker = self.links.index(link)
        if isinstance(message, messages.Load):
            self._placement.loaded(worker, message.cpu)
            self.loads[worker] = message
            return
        if isinstance(message, messages.Published):
            # What a worker carries already stays there when web starts anew; one that was taken
            # for dead when its conferences moved lets go of them.
            if not self._placement.carried(message.conference, worker):
                link.send(messages.Forget(message.conference, moved=True))
            self._doubt(message.conference)
        conference_id = self._ids.get(message.conference)
        if conference_id is None and message.conference in self._asking:
            self._early.setdefault(message.conference, []).append((link, message))
        if conference_id is None or self._placement.of(message.conference) not in (None, worker):
            return
        self.telling.hear(conference_id, self.derived.get(conference_id), message)

    def _doubt(self, slug: str) -> None:
        """A worker carries a conference that we do not know: it may have ended without us."""
        if slug not in self._ids and slug not in self._over and slug not in self._asking:
            self._asking[slug] = asyncio.create_task(self._let_go(slug))

    async def _let_go(self, slug: str) -> None:
        try:
            await self._loaded.wait()
            is_open = await self._database.read(takes_media, slug)
            if not (is_open or slug in self._ids or slug in self._over):
                self._forget(slug)
                self._placement.leave(slug)
        except Exception:
            log.exception("not known whether it is over", conference=slug)
        finally:
            del self._asking[slug]
            self._early.pop(slug, None)

    def _recorded(self, message: messages.Recorded) -> None:
        for slug, ended in list(self._over.items()):
            recording = ended.recording
            if message.state == "ended" and recording and recording.id == message.recording:
                del self._over[slug]
                self._placement.leave(slug)
        for conference_id, derived in self.derived.items():
            if derived.recording is not None and derived.recording.id == message.recording:
                data = {"state": message.state, "duration_ms": message.duration_ms}
                self.telling.tell(conference_id, "recording", data, keep=True)
