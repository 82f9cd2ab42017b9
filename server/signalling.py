"""SDP to and from the media workers: sessions of a conference's seats are negotiated."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

from server import turn
from server.config import Config
from server.desired import Derived
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
from server.lines import Report, Row
from server.media import messages
from server.media.faults import Fault
from server.permissions import Actor, Permission, Target, may
from server.protocol import ReportMedia
from server.steering import Steering

ANSWER_TIMEOUT_S = 5.0
"""a worker that was killed is there again within 2 s, which is worth waiting for; one that hangs is not: who
asks by HTTP has a timeout of its own"""


class Unusable(DomainError):
    """A description that cannot be worked with, and why (RFC 9725: 406 or 422)."""

    def __init__(self, fault: Fault, about: str = "") -> None:
        super().__init__(fault.sentence, about=about)
        self.code, self.status = fault.code, fault.status


_REFUSALS: dict[str, Callable[[], DomainError]] = {
    "forbidden": Forbidden,
    "not_found": NotFound,
    "busy": partial(SlowDown, retry_after_s=messages.SILENCE_S),
}
_FAULTS = {fault.code: fault for fault in Fault}


def _why(refused: messages.Refused) -> DomainError:
    fault = _FAULTS.get(refused.code)
    return Unusable(fault, refused.about) if fault else _REFUSALS.get(refused.code, Invalid)()


class Signalling:
    """Negotiates sessions for seats, with the worker that their conference lives on."""

    def __init__(self, config: Config, steering: Steering) -> None:
        self._config = config
        self.steering = steering

    def ice_servers(self, holder: str) -> list[dict[str, str]]:
        """TURN servers for ``holder``'s page, as ``RTCIceServer`` objects; made anew each time."""
        servers = turn.ice_servers(self._config, holder, time.time())
        return [asdict(server) for server in servers]

    async def publish(self, actor: Actor, source: str, sdp: str) -> tuple[str, str]:
        """Offer to publish the actor's own ``camera`` or ``screen``; → (session, answer).

        Raises: Conflict while the conference takes no media, Forbidden, Invalid, Unusable,
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
        """WHEP: the player's offer for one source; → (session, answer).

        Raises: as ``publish``, NotFound where the source is of a site that there is not.
        """
        derived = await self._place(actor)
        if source.startswith("site:") and source.removeprefix("site:") not in derived.sites:
            raise NotFound()
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

    async def offer(self, actor: Actor, session: str) -> str:
        """The offer that a session over HTTP was made by. Raises: as ``publish``, NotFound."""
        derived = await self._place(actor)
        described = messages.Describe(0, session, actor.holder)
        return (await self._ask(derived.slug, described))[1]

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
            self.steering.telling.tell_again(actor.conference_id, session)

    async def expect(self, actor: Actor, sources: Sequence[str]) -> None:
        """These sources may soon be on stage. Raises: as ``publish``."""
        derived = await self._place(actor)
        request = messages.Expect(0, derived.slug, actor.holder, tuple(sources))
        await self._ask(derived.slug, request)

    def report(self, actor: Actor, said: ReportMedia) -> None:
        """What a page's browser counts of one of its sessions. Raises: SlowDown."""
        derived = self.steering.derived.get(actor.conference_id or 0)
        grant = derived.grants.get(actor.holder) if derived is not None else None
        if grant is not None and actor.conference_id is not None:
            report = Report(
                *(said.rtt_ms, said.loss, said.freezes, said.frozen_ms, said.limited),
                said.line_freezes,
            )
            lines = self.steering.telling.lines[actor.conference_id]
            lines.report(grant, said.session, actor.holder, report, time.monotonic())

    def lines(self, actor: Actor) -> list[Row]:
        """The lines that ``actor`` may see: all, or its own site's."""
        conference_id = actor.conference_id
        derived = self.steering.derived.get(conference_id or 0)
        if derived is None or conference_id is None:
            return []
        rows = self.steering.telling.lines[conference_id].rows(derived, time.monotonic())
        target = partial(Target, conference_id)
        return [row for row in rows if may(actor, Permission.SEE_LINES, target(row.site))]

    async def _place(self, actor: Actor) -> Derived:
        """The actor's conference with the actor's grant in force."""
        if actor.conference_id is None:
            raise Forbidden()
        await self.steering.settled(actor.conference_id)
        derived = self.steering.derived.get(actor.conference_id)
        if derived is None or actor.holder not in derived.grants:
            # A seat that was opened a moment ago: its grant has not been derived yet.
            self.steering.refresh(actor.conference_id)
            await self.steering.settled(actor.conference_id)
            derived = self.steering.derived.get(actor.conference_id)
        if derived is None:
            raise Conflict(N_("Hội nghị chưa mở hoặc đã kết thúc, nên chưa có hình và tiếng."))
        if actor.holder not in derived.grants:
            raise Forbidden()
        return derived

    async def _ask(self, slug: str, request: messages.ToWorker) -> tuple[str, str]:
        link = self.steering.link(slug)
        answer = None if link is None else await link.ask(request, ANSWER_TIMEOUT_S)
        if answer is None:
            raise Unavailable(
                N_("Máy chủ hình và tiếng đang khởi động lại. Hãy thử lại."), retry_after_s=1.0
            )
        if isinstance(answer, messages.Refused):
            raise _why(answer)
        return answer.session, answer.sdp
