"""What workers tell of conferences, as the live facts that pages hear (``protocol.LIVE``)."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Protocol

from server.desired import Derived
from server.downlinks import Reductions
from server.lines import EXCESS, Lines
from server.media import messages


class OnLive(Protocol):
    """Hears fleeting facts (``protocol.LIVE``): for one holder, one site's seats, or all."""

    def __call__(
        self,
        conference_id: int,
        type: str,
        data: Any,
        holder: str | None = None,
        site: int | None = None,
    ) -> None: ...


def nobody(
    conference_id: int, type: str, data: Any, holder: str | None = None, site: int | None = None
) -> None:
    """The ear before the gateway sets its own."""


class Telling:
    """Of all conferences that are open; ``on_live`` is set by the gateway."""

    def __init__(self) -> None:
        self.on_live: OnLive = nobody
        self.lines: dict[int, Lines] = {}
        self._live: dict[int, dict[str, Any]] = {}
        self._reductions: dict[int, Reductions] = {}

    def open(self, conference_id: int) -> None:
        """It takes media."""
        self.lines.setdefault(conference_id, Lines())

    def forget(self, conference_id: int) -> None:
        """It is over."""
        self.lines.pop(conference_id, None)
        self._live.pop(conference_id, None)
        self._reductions.pop(conference_id, None)

    def current(self, conference_id: int) -> dict[str, Any]:
        """The last live facts of a conference, for a page that connects now: type → data."""
        return dict(self._live.get(conference_id, {}))

    def tell(self, conference_id: int, type: str, data: Any, *, keep: bool = False) -> None:
        """Tell all who may hear it; ``keep``: also those who come later."""
        if keep:
            self._live.setdefault(conference_id, {})[type] = data
        self.on_live(conference_id, type, data)

    def tell_again(self, conference_id: int, session: str) -> None:
        """Its page knows nothing of its line, and takes it that all is well."""
        if conference_id in self._reductions:
            self._reductions[conference_id].forget(session)

    def hear(
        self, conference_id: int, derived: Derived | None, message: messages.FromWorker
    ) -> None:
        """What its worker says of a conference; ``derived`` is None once it is over."""
        if isinstance(message, messages.Slots):
            shown = {"session": message.session, "slots": message.slots}
            self.on_live(conference_id, "slots", shown, holder=message.holder)
        elif isinstance(message, messages.Layers):
            layers = {"session": message.session, "rids": message.rids}
            self.on_live(conference_id, "layers", layers, holder=message.holder)
        elif isinstance(message, messages.Closed):
            self._closed(conference_id, derived, message)
        elif derived is None:
            return
        elif isinstance(message, messages.Published):
            self._published(conference_id, message)
        elif isinstance(message, messages.Speaking):
            self.tell(conference_id, "speaking", list(message.sources), keep=True)
        elif isinstance(message, messages.Lines):
            self._uplinks(conference_id, derived, message)
        elif isinstance(message, messages.Downlinks):
            self._downlinks(conference_id, derived, message)

    def _closed(
        self, conference_id: int, derived: Derived | None, message: messages.Closed
    ) -> None:
        """Who holds it; an encoder has no page, so its site's people are told why it was cut off."""
        ended = {"session": message.session, "source": message.source, "reason": message.reason}
        self.on_live(conference_id, "media_closed", ended, holder=message.holder)
        if derived is None or message.source is None or message.reason != EXCESS:
            return
        self.lines[conference_id].closed(message, time.monotonic())
        slug = message.source.removeprefix("site:").removesuffix(":screen")
        if message.holder.startswith("link:") and slug in derived.sites:
            self.on_live(conference_id, "media_closed", ended, site=derived.sites[slug])

    def _published(self, conference_id: int, message: messages.Published) -> None:
        self.lines[conference_id].published(message)
        facts = {
            each.source: {
                "video": each.video,
                "audio": each.audio,
                "alive": each.alive,
                "picture": each.picture,
                "heard": each.heard,
            }
            for each in message.publications
        }
        self.tell(conference_id, "publications", facts, keep=True)

    def _uplinks(self, conference_id: int, derived: Derived, message: messages.Lines) -> None:
        """All uplinks for staff (the gateway chooses by permission), its own for each site."""
        lines, now_s = self.lines[conference_id], time.monotonic()
        lines.uplinks(message)
        facts = {
            source: {
                "bitrate_bps": line.bitrate_bps,
                "loss": line.loss,
                "width": line.width,
                "height": line.height,
                "narrow": lines.is_narrow(source, now_s),
            }
            for source, line in message.lines.items()
        }
        self.tell(conference_id, "lines", facts, keep=True)
        for slug, site_id in derived.sites.items():
            names = (f"site:{slug}", f"site:{slug}:screen")
            if own := {source: fact for source, fact in facts.items() if source in names}:
                self.on_live(conference_id, "lines", own, site=site_id)

    def _downlinks(self, conference_id: int, derived: Derived, message: messages.Downlinks) -> None:
        """Its own line for each page, all sites for staff; only what is news."""
        self.lines[conference_id].downlinks(message)
        reductions = self._reductions.setdefault(conference_id, Reductions())
        for session, told in reductions.take(message.downlinks).items():
            fact = {"session": session, **asdict(told)}
            holder = message.downlinks[session].holder
            self.on_live(conference_id, "downlink", fact, holder=holder)
        sites = reductions.sites(message.downlinks, derived.grants)
        if sites != self._live.get(conference_id, {}).get("downlinks", {}):
            self.tell(conference_id, "downlinks", sites, keep=True)
