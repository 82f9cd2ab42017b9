"""The floor (who is heard), the stage (who is seen large) and raised hands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.conferences.facts import floor_requested
from server.conferences.loading import conference_of, site_of
from server.conferences.models import Conference, FloorRequest, Site
from server.conferences.rules import LIVE, OPEN, site_slug_of, spoken_s
from server.db.journal import Emit
from server.db.outcome import Actions, Outcome
from server.errors import N_, Conflict, NotFound
from server.permissions import Actor
from server.protocol import (
    DeclineRequest,
    FloorGiven,
    FloorRequestClosed,
    FloorTaken,
    GiveFloor,
    Present,
    RequestFloor,
    ShowOnStage,
    StagePresented,
    StageShown,
    TakeFloor,
    WithdrawRequest,
)

Closing = Literal["granted", "withdrawn", "declined"]
_ONLINE = N_("Điểm “%(name)s” chỉ xem, không phát hình và tiếng.")


def holders(session: Session, conference_id: int) -> Sequence[Site]:
    """The sites that hold the floor, longest first."""
    query = select(Site).where(Site.conference_id == conference_id, Site.floor_since.is_not(None))
    return session.scalars(query.order_by(Site.floor_since, Site.id)).all()


def waiting(session: Session, conference_id: int) -> Sequence[FloorRequest]:
    """The raised hands, in the order in which they were raised."""
    query = select(FloorRequest).where(
        FloorRequest.conference_id == conference_id, FloorRequest.outcome.is_(None)
    )
    return session.scalars(query.order_by(FloorRequest.requested_at, FloorRequest.id)).all()


def _waiting_of(session: Session, site: Site) -> FloorRequest | None:
    query = select(FloorRequest).where(
        FloorRequest.site_id == site.id, FloorRequest.outcome.is_(None)
    )
    return session.scalar(query)


def _close(request: FloorRequest, outcome: Closing, now: datetime) -> Emit:
    request.outcome = outcome
    request.closed_at = now
    event = FloorRequestClosed(id=request.id, outcome=outcome)
    return Emit(event, site_id=request.site_id)


def _take(site: Site, now: datetime) -> Emit:
    assert site.floor_since is not None
    held_s = (now - site.floor_since).total_seconds()
    site.spoken_s = spoken_s(site.spoken_s, held_s)
    site.floor_since = None
    event = FloorTaken(id=site.id, floor_since=None, spoken_s=site.spoken_s)
    return Emit(event, site_id=site.id)


def _show(conference: Conference, source: str | None) -> list[Emit]:
    if conference.stage == source:
        return []
    conference.stage = source
    return [Emit(StageShown(stage=source))]


def _present(conference: Conference, source: str | None) -> list[Emit]:
    if conference.presentation == source:
        return []
    conference.presentation = source
    return [Emit(StagePresented(presentation=source))]


def clear(session: Session, conference: Conference, now: datetime) -> list[Emit]:
    """Take the floor from all, empty the stage, decline the raised hands."""
    emits = [_take(site, now) for site in holders(session, conference.id)]
    emits += _show(conference, None) + _present(conference, None)
    emits += [_close(request, "declined", now) for request in waiting(session, conference.id)]
    return emits


def _check_source(session: Session, conference: Conference, source: str | None) -> None:
    """Raises: NotFound where no such site exists, Conflict where it only watches."""
    if source is None:
        return
    query = select(Site).where(
        Site.conference_id == conference.id, Site.slug == site_slug_of(source)
    )
    site = session.scalar(query)
    if site is None:
        raise NotFound(N_("Không tìm thấy điểm cầu này."))
    _check_publishes(site)


def _check_publishes(site: Site) -> None:
    if site.kind == "online":
        raise Conflict(_ONLINE, name=site.name)


def show_on_stage(session: Session, actor: Actor, command: ShowOnStage, now: datetime) -> Outcome:
    conference = conference_of(session, actor, OPEN)
    _check_source(session, conference, command.source)
    return Outcome(emits=_show(conference, command.source))


def present(session: Session, actor: Actor, command: Present, now: datetime) -> Outcome:
    conference = conference_of(session, actor, OPEN)
    _check_source(session, conference, command.source)
    return Outcome(emits=_present(conference, command.source))


def give_floor(session: Session, actor: Actor, command: GiveFloor, now: datetime) -> Outcome:
    conference = conference_of(session, actor, OPEN)
    site = site_of(session, actor, command.site)
    _check_publishes(site)
    emits: list[Emit] = []
    if command.alone:
        others = [s for s in holders(session, conference.id) if s.id != site.id]
        emits += [_take(other, now) for other in others]
    if site.floor_since is None:
        site.floor_since = now
        emits.append(Emit(FloorGiven(id=site.id, floor_since=now), site_id=site.id))
    request = _waiting_of(session, site)
    if request is not None:
        emits.append(_close(request, "granted", now))
    if command.stage:
        emits += _show(conference, f"site:{site.slug}")
    return Outcome(emits=emits)


def take_floor(session: Session, actor: Actor, command: TakeFloor, now: datetime) -> Outcome:
    """Taking it from a site that does not hold it changes nothing."""
    conference_of(session, actor, OPEN)
    site = site_of(session, actor, command.site)
    return Outcome(emits=[] if site.floor_since is None else [_take(site, now)])


def request_floor(session: Session, actor: Actor, command: RequestFloor, now: datetime) -> Outcome:
    """Result ``{"request": id}``."""
    conference = conference_of(session, actor, {LIVE})
    site = site_of(session, actor, actor.site_id)
    _check_publishes(site)
    if site.floor_since is not None:
        raise Conflict(N_("Điểm cầu của bạn đang được phát biểu."))
    if _waiting_of(session, site) is not None:
        raise Conflict(N_("Điểm cầu của bạn đã xin phát biểu và đang chờ."))
    request = FloorRequest(
        conference_id=conference.id,
        site_id=site.id,
        reason=command.reason.strip(),
        requested_at=now,
    )
    session.add(request)
    session.flush()
    return Outcome({"request": request.id}, [Emit(floor_requested(request), site_id=site.id)])


def withdraw_request(
    session: Session, actor: Actor, command: WithdrawRequest, now: datetime
) -> Outcome:
    conference_of(session, actor, OPEN)
    request = _waiting_of(session, site_of(session, actor, actor.site_id))
    if request is None:
        raise Conflict(N_("Điểm cầu của bạn không có yêu cầu phát biểu nào đang chờ."))
    return Outcome(emits=[_close(request, "withdrawn", now)])


def decline_request(
    session: Session, actor: Actor, command: DeclineRequest, now: datetime
) -> Outcome:
    conference_of(session, actor, OPEN)
    request = session.get(FloorRequest, command.request)
    if request is None or request.conference_id != actor.conference_id:
        raise NotFound(N_("Không tìm thấy yêu cầu phát biểu này."))
    if request.outcome is not None:
        raise Conflict(N_("Yêu cầu phát biểu này đã được xử lý."))
    return Outcome(emits=[_close(request, "declined", now)])


ACTIONS: Actions = {
    ShowOnStage: (None, show_on_stage),
    Present: (None, present),
    GiveFloor: (None, give_floor),
    TakeFloor: (None, take_floor),
    RequestFloor: (None, request_floor),
    WithdrawRequest: (None, withdraw_request),
    DeclineRequest: (None, decline_request),
}
