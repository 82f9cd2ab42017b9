"""Media requests: they touch no table and are answered by the media worker."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from server.permissions import Permission as P
from server.protocol.base import MediaRequest
from server.protocol.values import Source

Sdp = Annotated[str, Meta(min_length=1, max_length=200_000)]
Session = Annotated[str, Meta(min_length=1, max_length=80)]


class PublishMedia(MediaRequest, frozen=True, kw_only=True):
    """Publish this seat's site; ``sdp`` is an offer. Result ``{"session", "sdp"}`` (the answer)."""

    type = "media.publish"
    permission = P.PUBLISH
    source: Literal["camera", "screen"]
    sdp: Sdp


class ReceiveMedia(MediaRequest, frozen=True, kw_only=True):
    """Receive by slots; result ``{"session", "sdp"}`` (the server's offer). Mids are ``stage``,
    ``presentation``, ``wall0`` …, ``audio0`` … ``audio2``."""

    type = "media.receive"
    permission = P.RECEIVE
    wall: Annotated[int, Meta(ge=0, le=64)] = 0
    audio: bool = True


class AcceptMedia(MediaRequest, frozen=True, kw_only=True):
    """The page's answer to the offer of ``media.receive`` or of a restart of it."""

    type = "media.accept"
    permission = P.RECEIVE
    session: Session
    sdp: Sdp


class RestartMedia(MediaRequest, frozen=True, kw_only=True):
    """ICE restart: of a published session ``sdp`` is the new offer, the result holds the answer;
    for a received one ``sdp`` is empty and the result holds the server's new offer."""

    type = "media.restart"
    permission = P.SEE_CONFERENCE
    session: Session
    sdp: Annotated[str, Meta(max_length=200_000)] = ""


class CloseMedia(MediaRequest, frozen=True, kw_only=True):
    type = "media.close"
    permission = P.SEE_CONFERENCE
    session: Session


Mid = Annotated[str, Meta(min_length=1, max_length=16)]
Pixels = Annotated[int, Meta(ge=0, le=10_000)]


class ViewMedia(MediaRequest, frozen=True, kw_only=True):
    """How high (in device pixels) a receiving page shows its slots, by mid; 0: not to be seen. What
    is not named gets what is usual. Result ``{}``; ``slots`` follows, and ``downlink`` unless all is
    well: a page that comes back says this again, for it has missed what was told meanwhile."""

    type = "media.view"
    permission = P.RECEIVE
    session: Session
    heights: Annotated[dict[Mid, Pixels], Meta(max_length=80)]


class ExpectMedia(MediaRequest, frozen=True, kw_only=True):
    """These sources may soon be on stage: for 20 s their publishers send the largest picture they
    have, though nobody looks at it yet, so that the cut is to a sharp one. Result ``{}``."""

    type = "media.expect"
    permission = P.DIRECT
    sources: Annotated[list[Source], Meta(max_length=4)]


class ListenMedia(MediaRequest, frozen=True, kw_only=True):
    """Whether this page can play its room's sound now (``presence`` says whether it shall; until
    then ``listens`` of the handshake holds); ``here``: somebody asks for it to be this page, among
    those of its role. Result ``{}``."""

    type = "media.listen"
    permission = P.RECEIVE
    listens: bool
    here: bool = False


class ReportMedia(MediaRequest, frozen=True, kw_only=True):
    """What the browser counts of one of this page's sessions since the last report, every 10 s and
    at most every 5 (W3C webrtc-stats). Result ``{}``."""

    type = "media.report"
    permission = P.RECEIVE
    session: Session
    rtt_ms: Annotated[int, Meta(ge=0, le=60_000)]
    loss: Annotated[float, Meta(ge=0, le=1)]
    freezes: Annotated[int, Meta(ge=0, le=1000)] = 0
    frozen_ms: Annotated[int, Meta(ge=0, le=60_000)] = 0
    line_freezes: Annotated[int, Meta(ge=0, le=1000)] = 0
    limited: Literal["none", "cpu", "bandwidth", "other"] = "none"


class SeeLines(MediaRequest, frozen=True, kw_only=True):
    """How the lines are that one may see; result ``{"lines": [{site, way, what, bitrate_bps, loss,
    rtt_ms, height_px, worth_px, carries_bps, reason, silent, reduced, limited, freezes,
    frozen_ms, line_freezes}]}``, ``way`` up or down; freezes are those of the last minute, line_freezes
    those of them for which this line can be blamed, and of what is silent all the rest is of before.
    """

    type = "media.lines"
    permission = P.SEE_LINES
