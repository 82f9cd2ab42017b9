"""SDP and desired state, to and from the media workers.

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
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import structlog

from server import turn
from server.config import Config
from server.desired import Derived, derive, open_conferences
from server.errors import (
    N_,
    Conflict,
    DomainError,
    Forbidden,
    Invalid,
    NotFound,
    SlowDown,
    Unavailable,
)
from server.lines import Lines, Report, Row
from server.media import messages
from server.permissions import Actor, Permission, Target, may
from server.placement import Placement
from server.protocol import ReportMedia
from server.telling import Telling
from server.worker_link import WorkerLink

log = structlog.get_logger("signalling")

ANSWER_TIMEOUT_S = 10.0
CONNECT_GRACE_S = 1.0
"""How long start waits for workers to tell which conferences they carry already."""


class NoCodec(DomainError):
    """The offer and the server have no codec in common (RFC 9725: 406)."""

    code = "codec"
    status = 406
    message = N_("Thiết bị này không có bộ mã hoá hình ảnh mà máy chủ nhận được (H.264, VP8).")


_REFUSALS: dict[str, type[DomainError]] = {
    "forbidden": Forbidden,
    "not_found": NotFound,
    "invalid": Invalid,
    "busy": SlowDown,
    "codec": NoCodec,
}


class Reader(Protocol):
    """What is needed of ``db.engine.Database``."""

    async def read(self, function: Any, *arguments: Any) -> Any:
        """Run ``function(session, *arguments)`` in a thread of the pool."""


class Signalling:
    """Keeps each open conference's worker in step, and negotiates sessions for its seats.

    ``controls`` are the workers' control sockets.
    """

    def __init__(self, config: Config, database: Reader, controls: Sequence[str]) -> None:
        self._config = config
        self._database = database
        self.telling = Telling()
        self.links = [WorkerLink(p, self._heard, self._connected, self._ended) for p in controls]
        self._derived: dict[int, Derived] = {}
        self._ids: dict[str, int] = {}
        self._placement = Placement(len(controls))
        self._over: dict[str, Derived] = {}
        """conferences that have ended, until their recording has, whichever worker is left for it"""
        self.loads: list[messages.Load | None] = [None] * len(controls)
        """of each worker, as last told; None while it is gone"""
        self._refreshing: dict[int, asyncio.Task[None]] = {}
        self._stale: set[int] = set()
        self._revision = 0

    # --- life ---

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

    async def stop(self) -> None:
        """Disconnect. The workers go on with the last desired state."""
        for task in self._refreshing.values():
            task.cancel()
        await asyncio.gather(*self._refreshing.values(), return_exceptions=True)
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
                    derive, conference_id, datetime.now(UTC), self._config.recordings_dir
                )
            except Exception:
                # The old document stays in force; the next change or request derives again.
                log.exception("desired state not derived", conference=conference_id)
                return
            self._adopt(conference_id, derived)

    def _adopt(self, conference_id: int, derived: Derived | None) -> None:
        before = self._derived.get(conference_id)
        if derived is None:
            if before is not None:
                del self._derived[conference_id]
                self.telling.forget(conference_id)
                self._end(before)
            return
        self._derived[conference_id] = derived
        self._ids[derived.slug] = conference_id
        self.telling.open(conference_id)
        if before is None or before != derived:
            self._send(derived)

    def _send(self, derived: Derived) -> None:
        """The document, to the worker that the conference lives on."""
        if self.links:
            place = self._placement.place(derived.slug, len(derived.grants))
            self.links[place].send(derived.document(self._next_revision()))

    def _end(self, derived: Derived) -> None:
        """It is over. Its worker ends the recording too; the next one if this one dies of it."""
        if derived.recording is not None:
            self._over[derived.slug] = derived
        self._forget(derived.slug)
        if derived.recording is None:
            self._placement.leave(derived.slug)

    def _forget(self, slug: str) -> None:
        place = self._placement.of(slug)
        if place is not None:
            self.links[place].send(messages.Forget(slug))

    def _next_revision(self) -> int:
        # Microseconds of the clock, so that a restarted web goes on above the last revision.
        self._revision = max(self._revision + 1, time.time_ns() // 1000)
        return self._revision

    # --- requests ---

    def ice_servers(self, holder: str) -> list[dict[str, str]]:
        """TURN servers for ``holder``'s page, as ``RTCIceServer`` objects; made anew each time."""
        servers = turn.ice_servers(self._config, holder, time.time())
        return [asdict(server) for server in servers]

    async def publish(self, actor: Actor, source: str, sdp: str) -> tuple[str, str]:
        """Offer to publish the actor's own ``camera`` or ``screen``; → (session, answer).

        Raises: Conflict while the conference takes no media, Forbidden, Invalid, NoCodec,
        Unavailable.
        """
        derived = await self._place(actor)
        grant = derived.grants.get(actor.holder)
        if grant is None or grant.own is None or not grant.publish:
            raise Forbidden()
        name = grant.own if source == "camera" else f"{grant.own}:screen"
        request = messages.Publish(0, derived.slug, actor.holder, name, sdp)
        return await self._ask(derived.slug, request)

    async def receive(self, actor: Actor, wall: int, audio: bool) -> tuple[str, str]:
        """Receive by slots; → (session, the server's offer). Raises: as ``publish``."""
        derived = await self._place(actor)
        request = messages.Receive(0, derived.slug, actor.holder, wall, audio)
        return await self._ask(derived.slug, request)

    async def watch(self, actor: Actor, source: str, sdp: str) -> tuple[str, str]:
        """WHEP: the player's offer for one source; → (session, answer). Raises: as ``publish``."""
        derived = await self._place(actor)
        request = messages.Watch(0, derived.slug, actor.holder, source, sdp)
        return await self._ask(derived.slug, request)

    async def accept(self, actor: Actor, session: str, sdp: str) -> tuple[str, str]:
        """The page's answer to an offer of ours. Raises: as ``publish``."""
        derived = await self._place(actor)
        return await self._ask(derived.slug, messages.Accept(0, session, actor.holder, sdp))

    async def restart(self, actor: Actor, session: str, sdp: str = "") -> tuple[str, str]:
        """ICE restart; → (session, answer or new offer). Raises: as ``publish``, NotFound."""
        derived = await self._place(actor)
        return await self._ask(derived.slug, messages.Restart(0, session, actor.holder, sdp))

    async def close(self, actor: Actor, session: str) -> tuple[str, str]:
        """End a session; one that is gone already is no error."""
        derived = await self._place(actor)
        return await self._ask(derived.slug, messages.Close(0, session, actor.holder))

    async def view(self, actor: Actor, session: str, heights_px: dict[str, int]) -> None:
        """How high a page shows its slots; it is told anew of them and of its line.

        Raises: as ``publish``, NotFound.
        """
        derived = await self._place(actor)
        request = messages.View(0, session, actor.holder, heights_px)
        await self._ask(derived.slug, request)
        if actor.conference_id is not None:
            self.telling.tell_again(actor.conference_id, session)

    def report(self, actor: Actor, said: ReportMedia) -> None:
        """What a page's browser counts of one of its sessions. Raises: SlowDown."""
        derived = self._derived.get(actor.conference_id or 0)
        grant = derived.grants.get(actor.holder) if derived is not None else None
        if grant is not None and actor.conference_id is not None:
            report = Report(said.rtt_ms, said.loss, said.freezes, said.frozen_ms, said.limited)
            lines = self.telling.lines[actor.conference_id]
            lines.report(grant, said.session, actor.holder, report, time.monotonic())

    def lines(self, actor: Actor) -> list[Row]:
        """The lines that ``actor`` may see: all, or its own site's."""
        conference_id = actor.conference_id
        derived = self._derived.get(conference_id or 0)
        if derived is None or conference_id is None:
            return []
        rows = self.telling.lines[conference_id].rows(derived, time.monotonic())
        target = partial(Target, conference_id)
        return [row for row in rows if may(actor, Permission.SEE_LINES, target(row.site))]

    def all_lines(self) -> Iterator[tuple[Derived, Lines]]:
        """Of every open conference, for the metrics."""
        for conference_id, lines in self.telling.lines.items():
            yield self._derived[conference_id], lines

    async def _place(self, actor: Actor) -> Derived:
        """The actor's conference with the actor's grant in force."""
        if actor.conference_id is None:
            raise Forbidden()
        await self.settled(actor.conference_id)
        derived = self._derived.get(actor.conference_id)
        if derived is None or actor.holder not in derived.grants:
            # A seat that was opened a moment ago: its grant has not been derived yet.
            self.refresh(actor.conference_id)
            await self.settled(actor.conference_id)
            derived = self._derived.get(actor.conference_id)
        if derived is None:
            raise Conflict(N_("Hội nghị chưa mở hoặc đã kết thúc, nên chưa có hình và tiếng."))
        if actor.holder not in derived.grants:
            raise Forbidden()
        return derived

    async def _ask(self, slug: str, request: messages.ToWorker) -> tuple[str, str]:
        place, answer = self._placement.of(slug), None
        if place is not None:
            answer = await self.links[place].ask(request, ANSWER_TIMEOUT_S)
        if answer is None:
            raise Unavailable(
                N_("Máy chủ hình và tiếng đang khởi động lại. Hãy thử lại."), retry_after_s=1.0
            )
        if isinstance(answer, messages.Refused):
            raise _REFUSALS.get(answer.code, Invalid)()
        return answer.session, answer.sdp

    # --- what workers tell ---

    def standing(self) -> list[bool]:
        """Which workers are connected, by index."""
        return [link.connected.is_set() for link in self.links]

    def _connected(self, link: WorkerLink) -> None:
        """A worker is there (again): it gets the desired state of what lives on it."""
        worker = self.links.index(link)
        moved = self._placement.rose(worker)
        known = [d.slug for d in (*self._derived.values(), *self._over.values())]
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
        for conference_id, derived in self._derived.items():
            if derived.slug in slugs:
                self._send(derived)
            if derived.slug in rejoin:
                self.telling.tell(conference_id, "publications", {}, keep=True)
                self.telling.tell(conference_id, "media_ready", {})
        for derived in self._over.values():
            if derived.slug in slugs:
                self._send(derived)
                self._forget(derived.slug)

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
        conference_id = self._ids.get(message.conference)
        if conference_id is None or self._placement.of(message.conference) not in (None, worker):
            return
        self.telling.hear(conference_id, self._derived.get(conference_id), message)

    def _recorded(self, message: messages.Recorded) -> None:
        for slug, over in list(self._over.items()):
            if (
                message.state == "ended"
                and over.recording
                and over.recording.id == message.recording
            ):
                del self._over[slug]
                self._placement.leave(slug)
        for conference_id, derived in self._derived.items():
            if derived.recording is not None and derived.recording.id == message.recording:
                data = {"state": message.state, "duration_ms": message.duration_ms}
                self.telling.tell(conference_id, "recording", data, keep=True)
