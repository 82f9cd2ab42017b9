"""How every site's line is: what workers measure and what browsers report, one row a line. Pure.

A *line* is one page's (or encoder's) path to or from the server, named by its site, by its way (``up``
to the server, ``down`` from it) and by what it is: ``camera``, ``screen`` and ``encoder`` go up; ``room``
(the operator's page), ``display``, ``desk`` (staff) and ``player`` (both of no site) go down.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from server.desired import Derived
from server.errors import SlowDown
from server.media import messages

REPORT_EVERY_S = 10.0
"""how often pages report (``static/js/media/quality.js``)"""
LEAST_S = 5.0
MINUTE_REPORTS = 6
FORGET_S = 30.0
"""a report older than that says nothing of now"""
CUT_S = 60.0
"""so long it is told that somebody was cut off, or lost"""
EXCESS, SILENT = "excess", "silent"
"""why a session ended (``messages.Closed``): more is sent than one may send, which is the reason of a line
up as well; nothing came any more"""
BANDWIDTH = "bandwidth"
"""``limited`` of a line up: it is too narrow for the picture"""


class Report(msgspec.Struct, frozen=True):
    """What a browser says of one session since its last report (W3C webrtc-stats)."""

    rtt_ms: int
    loss: float
    freezes: int
    """of the worst picture"""
    frozen_ms: int
    limited: str
    """``qualityLimitationReason`` of what it sends: none, cpu, bandwidth or other"""
    line_freezes: int = 0
    """of the freezes, those for which the line can be blamed: packets were lost"""


class Row(msgspec.Struct, frozen=True):
    """One line now; what is not known is None."""

    site: int | None
    way: str
    what: str
    bitrate_bps: int
    loss: float | None
    rtt_ms: int | None
    height_px: int | None
    """of the picture sent; of the stage's where one receives, 0: it gets none"""
    worth_px: int | None = None
    """of what the stage's size there is worth"""
    carries_bps: int | None = None
    reason: str = ""
    """down: of the estimate's last change; up: ``excess`` where more is sent than may be"""
    silent: bool = False
    """nothing comes over it any more; the rest is of before"""
    reduced: bool = False
    """for the line's sake pictures are smaller, or not sent at all"""
    limited: str = "none"
    freezes: int = 0
    """in the last minute, as the browser counts them"""
    frozen_ms: int = 0
    line_freezes: int = 0
    """of these, those for which the line can be blamed"""


@dataclass(slots=True)
class _Reported:
    at_s: float
    reports: deque[Report] = field(default_factory=lambda: deque(maxlen=MINUTE_REPORTS))


class Lines:
    """Of one conference."""

    def __init__(self) -> None:
        self.freezes: dict[str, tuple[int, int]] = {}
        """by own source of the site ("" for none): how many since the beginning, and ms of them"""
        self._uplinks: Mapping[str, messages.Line] = {}
        self._downlinks: Mapping[str, messages.Downlink] = {}
        self._published: dict[str, messages.Publication] = {}
        self._reported: dict[str, _Reported] = {}
        self._bad: set[str] = set()
        """sessions over whose line something was lost or withheld since their last report"""
        self._narrow: set[str] = set()
        """the same: where pictures waited for the line, which loses nothing meanwhile"""
        self._cut: dict[str, tuple[messages.Closed, float]] = {}
        """source → who was cut off for sending too much, or lost, and until when that is told"""

    def published(self, message: messages.Published) -> None:
        """What is being published now."""
        self._published = {each.source: each for each in message.publications}
        self._uplinks = {s: line for s, line in self._uplinks.items() if s in self._published}
        self._prune()

    def uplinks(self, message: messages.Lines) -> None:
        """The worker's measurement of what is sent to it."""
        self._uplinks = message.lines

    def downlinks(self, message: messages.Downlinks) -> None:
        """The worker's estimates of its receivers' lines."""
        self._downlinks = message.downlinks
        for session, line in message.downlinks.items():
            if line.loss or line.reduced or line.reason == "silence":
                self._bad.add(session)
            if line.narrow:
                self._narrow.add(session)
        self._prune()

    def closed(self, message: messages.Closed, now_s: float) -> None:
        """A session has ended by itself."""
        follower = self._published.get(message.source or "")
        if follower is not None and follower.session != message.session:
            return  # it comes by another session already
        if message.reason in (EXCESS, SILENT) and message.source is not None:
            self._cut[message.source] = message, now_s + CUT_S

    def report(
        self, grant: messages.Grant, session: str, holder: str, said: Report, now_s: float
    ) -> None:
        """A page's report; one of a session that is not its own (any more) is let be.

        Raises: SlowDown where it comes too often.
        """
        if session not in self._sessions(holder):
            return
        reported = self._reported.get(session)
        if reported is not None and now_s - reported.at_s < LEAST_S:
            raise SlowDown(retry_after_s=REPORT_EVERY_S)
        if reported is None:
            reported = self._reported[session] = _Reported(now_s)
        reported.at_s = now_s
        line = self._downlinks.get(session)
        if session in self._narrow:
            said = msgspec.structs.replace(said, line_freezes=said.freezes)
        elif line is not None and line.loss is not None and session not in self._bad:
            # To the browser, what was lost on its way to the server is missing as well.
            said = msgspec.structs.replace(said, line_freezes=0)
        self._bad.discard(session)
        self._narrow.discard(session)
        reported.reports.append(said)
        count, ms = self.freezes.get(grant.own or "", (0, 0))
        self.freezes[grant.own or ""] = (count + said.freezes, ms + said.frozen_ms)

    def is_narrow(self, source: str, now_s: float) -> bool:
        """Whether who sends says that the line keeps the picture smaller; of who says nothing, no."""
        published = self._published.get(source)
        said = self._said(published.session, now_s) if published else None
        return said is not None and said.limited == BANDWIDTH

    def rows(self, derived: Derived, now_s: float) -> Iterator[Row]:
        """Every line, in the order of the sites."""
        sites = {f"site:{slug}": site_id for slug, site_id in derived.sites.items()}
        for source, line in self._uplinks.items():
            site_id = sites.get(source.removesuffix(":screen"))
            if source in self._published and site_id is not None:
                yield self._up(site_id, self._published[source], line, now_s)
        for source, (closed, until_s) in self._cut.items():
            site_id = sites.get(source.removesuffix(":screen"))
            if now_s < until_s and site_id is not None and source not in self._uplinks:
                what = _sender(source, closed.holder)
                reason = closed.reason if closed.reason == EXCESS else ""
                yield Row(site_id, "up", what, 0, None, None, None, reason=reason, silent=True)
        for session, downlink in self._downlinks.items():
            grant = derived.grants.get(downlink.holder)
            if grant is not None:
                site_id = sites.get(grant.own) if grant.own is not None else None
                what = _receiver(downlink.holder, grant, site_id)
                yield self._down(site_id, what, session, downlink, now_s)

    def _up(
        self, site_id: int, published: messages.Publication, line: messages.Line, now_s: float
    ) -> Row:
        said = self._said(published.session, now_s)
        return Row(
            site=site_id,
            way="up",
            what=_sender(published.source, published.holder),
            bitrate_bps=line.bitrate_bps,
            loss=line.loss,
            rtt_ms=said.rtt_ms if said else None,
            height_px=line.height if published.picture else 0,
            reason=EXCESS if line.excess else "",
            silent=not published.alive,
            reduced=said is not None and said.limited == BANDWIDTH,
            limited=said.limited if said else "none",
        )

    def _down(
        self, site_id: int | None, what: str, session: str, line: messages.Downlink, now_s: float
    ) -> Row:
        said = self._said(session, now_s)
        stage = line.slots.get("stage")
        minute = self._reported[session].reports if said else ()
        return Row(
            site=site_id,
            way="down",
            what=what,
            bitrate_bps=line.sent_bps,
            loss=line.loss if line.loss is not None else said.loss if said else None,
            rtt_ms=line.rtt_ms if line.rtt_ms is not None else said.rtt_ms if said else None,
            height_px=stage.height_px if stage else None,
            worth_px=stage.worth_px if stage else None,
            carries_bps=line.carries_bps,
            reason=line.reason,
            silent=line.reason == "silence",
            reduced=line.reduced,
            freezes=sum(each.freezes for each in minute),
            frozen_ms=sum(each.frozen_ms for each in minute),
            line_freezes=sum(each.line_freezes for each in minute),
        )

    def _said(self, session: str, now_s: float) -> Report | None:
        reported = self._reported.get(session)
        return reported.reports[-1] if reported and now_s - reported.at_s < FORGET_S else None

    def _sessions(self, holder: str) -> set[str]:
        found = {s for s, downlink in self._downlinks.items() if downlink.holder == holder}
        return found | {p.session for p in self._published.values() if p.holder == holder}

    def _prune(self) -> None:
        """Only sessions that are; so there are never more than workers allow."""
        standing = self._downlinks.keys() | {p.session for p in self._published.values()}
        self._bad &= standing
        self._narrow &= standing
        self._reported = {s: told for s, told in self._reported.items() if s in standing}


def _sender(source: str, holder: str) -> str:
    if source.endswith(":screen"):
        return "screen"
    return "encoder" if holder.startswith("link:") else "camera"


def _receiver(holder: str, grant: messages.Grant, site_id: int | None) -> str:
    if holder.startswith("link:"):
        return "player"
    if site_id is None:
        return "desk"
    return "room" if grant.publish else "display"
