"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): encoders publish, players watch, over HTTP.

The same negotiation as that of seat pages. The server is ICE-lite with all its candidates in the
answer, so trickled candidates (RFC 8840) are taken and not needed; a fragment with new
credentials is an ICE restart.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Iterator
from functools import partial

from aiohttp import web

from server.errors import N_, Conflict, DomainError, Forbidden, Invalid, NotFound
from server.media.faults import MAX_ABOUT, Fault
from server.media.sdp import MAX_BYTES
from server.people.links import note_use
from server.permissions import Actor, Permission
from server.signalling import Unusable
from server.turn import ice_servers
from server.web.bearer import require_bearer
from server.web.site import Site, now, site_of

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
_WATCHED = re.compile(r"stage|screen|site:[a-z0-9-]{1,60}")
_CREDENTIAL = re.compile(r"^a=ice-(ufrag|pwd):(.*)$", re.MULTILINE)
_FRAGMENT_LINE = re.compile(r"^a=(?:ice-ufrag:|candidate:|end-of-candidates)", re.MULTILINE)
_UFRAG, _PWD = (re.compile(rf"[A-Za-z0-9+/]{{{least},256}}") for least in (4, 22))
"""RFC 8839 section 5.4"""
_NOT_PUBLISHED = N_(
    "Tham số source=%(about)s không có: để gửi, hãy dùng source=camera (máy quay, cũng là mặc định) hoặc "
    "source=screen (trình chiếu)."
)
_NOT_WATCHED = N_(
    "Tham số source=%(about)s không có: để xem, hãy dùng source=stage (sân khấu, cũng là mặc định), "
    "source=screen (trình chiếu) hoặc source=site: và tên ngắn của điểm cầu, chẳng hạn source=site:hue."
)
_RESTART_LINES = re.compile(r"^a=(?:ice-ufrag:|ice-pwd:|candidate:|end-of-candidates)")


class WrongType(DomainError):
    """A body of another media type (RFC 9110 section 15.5.16)."""

    code = "media_type"
    status = 415
    message = N_("Nội dung gửi lên phải là %(type)s.")


class Precondition(DomainError):
    """``If-Match`` is missing (428) or of an older ICE session (412); RFC 9725 section 4.3.2."""

    code = "precondition"
    status = 412
    message = N_("Phiên đã thay đổi (If-Match không khớp).")


def credentials(sdp: str) -> dict[str, str]:
    """``ufrag`` and ``pwd``, the first of each, of a description or fragment."""
    found: dict[str, str] = {}
    for name, value in _CREDENTIAL.findall(sdp):
        found.setdefault(name, value.strip())
    return found


def etag_of(sdp: str) -> str:
    """The ETag of an ICE session: of the client's credentials."""
    made = repr(sorted(credentials(sdp).items())).encode()
    return hashlib.sha256(made).hexdigest()[:16]


def renewed(offer: str, fragment: str) -> str:
    """``offer`` with the ICE credentials of ``fragment`` in every section, without candidates."""
    new = credentials(fragment)
    lines = []
    for line in offer.splitlines():
        if line.startswith("a=ice-ufrag:"):
            lines += [f"a=ice-ufrag:{new['ufrag']}", f"a=ice-pwd:{new['pwd']}"]
        elif not _RESTART_LINES.match(line):
            lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def fragment_of(answer: str) -> str:
    """The ICE part of an answer, as the body that answers a restart (RFC 8840 section 9)."""
    wanted = (
        "a=ice-lite",
        "a=ice-options",
        "a=group:BUNDLE",
        "a=ice-ufrag",
        "a=ice-pwd",
        "m=",
        "a=mid",
        "a=candidate",
    )
    lines, media = [], 0
    for line in answer.splitlines():
        media += line.startswith("m=")
        if media <= 1 and line.startswith((*wanted, "a=end-of-candidates")):
            lines.append(line)
    return "\r\n".join(lines) + "\r\n"


async def _body(request: web.Request, media_type: str) -> str:
    if request.content_type != media_type:
        raise WrongType(type=media_type)
    size = request.content_length or 0
    data = b"" if size > MAX_BYTES else await request.read()
    size = max(size, len(data))
    if size > MAX_BYTES:
        raise Unusable(Fault.SDP_SIZE, f"bytes: {size} > {MAX_BYTES}")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Unusable(Fault.SDP_HEAD) from None


def turn_links(site: Site, holder: str) -> list[str]:
    """``Link`` headers for the TURN server (RFC 9725 section 4.6)."""
    return [
        f'<{each.urls}>; rel="ice-server"; username="{each.username}"; '
        f'credential="{each.credential}"; credential-type="password"'
        for each in ice_servers(site.config, holder, time.time())
    ]


def _created(
    request: web.Request, actor: Actor, session: str, offer: str, answer: str
) -> web.Response:
    response = web.Response(status=201, body=answer.encode(), content_type=SDP)
    response.headers["Location"] = f"{request.path.rstrip('/')}/{session}"
    response.headers["ETag"] = f'"{etag_of(offer)}"'
    response.headers["Accept-Patch"] = FRAGMENT
    for link in turn_links(site_of(request), actor.holder):
        response.headers.add("Link", link)
    return response


async def publish(request: web.Request) -> web.Response:
    """``POST /whip/{conference}[?source=screen]``: publish the camera of the token's site."""
    actor = await require_bearer(request, Permission.PUBLISH)
    source = request.query.get("source", "camera")
    if source not in ("camera", "screen"):
        raise Invalid(_NOT_PUBLISHED, about=source[:MAX_ABOUT])
    offer = await _body(request, SDP)
    session, answer = await site_of(request).signalling.publish(actor, source, offer)
    await _note_use(request, actor)
    return _created(request, actor, session, offer, answer)


async def watch(request: web.Request) -> web.Response:
    """``POST /whep/{conference}?source=stage``: watch one source."""
    actor = await require_bearer(request, Permission.RECEIVE)
    source = request.query.get("source", "stage")
    if not _WATCHED.fullmatch(source):
        raise Invalid(_NOT_WATCHED, about=source[:MAX_ABOUT])
    offer = await _body(request, SDP)
    session, answer = await site_of(request).signalling.watch(actor, source, offer)
    await _note_use(request, actor)
    return _created(request, actor, session, offer, answer)


async def _note_use(request: web.Request, actor: Actor) -> None:
    with contextlib.suppress(DomainError):  # media goes on while the database is away
        await site_of(request).inbox.transact(partial(note_use, bearer=actor, now=now()))


async def patch(request: web.Request) -> web.Response:
    """Trickle (204) or ICE restart (200 with the server's new credentials)."""
    actor = await _holder(request)
    signalling, session = site_of(request).signalling, request.match_info["session"]
    with _of_this_holder():
        offer = await signalling.offer(actor, session)
    fragment = await _body(request, FRAGMENT)
    if not _FRAGMENT_LINE.search(fragment):
        raise Unusable(Fault.FRAGMENT)
    given = credentials(fragment)
    restarts = "ufrag" in given and given != credentials(offer)
    _check_match(request, etag_of(offer), restarts)
    if not restarts:
        return web.Response(status=204)
    if not _UFRAG.fullmatch(given["ufrag"]) or not _PWD.fullmatch(given.get("pwd", "")):
        raise Unusable(Fault.CREDENTIALS)
    offer = renewed(offer, fragment)
    _, answer = await signalling.restart(actor, session, offer)
    response = web.Response(status=200, body=fragment_of(answer).encode(), content_type=FRAGMENT)
    response.headers["ETag"] = f'"{etag_of(offer)}"'
    return response


@contextlib.contextmanager
def _of_this_holder() -> Iterator[None]:
    """A session of somebody else, or of a conference that is over: for this holder there is none."""
    try:
        yield
    except (Forbidden, Conflict):
        raise NotFound() from None


def _check_match(request: web.Request, etag: str, restarts: bool) -> None:
    match = request.headers.get("If-Match")
    if match is None:
        error = Precondition(N_("Thiếu If-Match."))
        error.status = 428
        raise error
    # A restart may say "*"; candidates must name the ICE session that they belong to.
    tags = [tag.strip() for tag in match.split(",")]
    if f'"{etag}"' not in tags and not (restarts and tags == ["*"]):
        raise Precondition()


async def _holder(request: web.Request) -> Actor:
    whip = request.path.startswith("/whip/")
    return await require_bearer(request, Permission.PUBLISH if whip else Permission.RECEIVE)


async def delete(request: web.Request) -> web.Response:
    """End the session; one that has ended, by whatever, is no error."""
    actor = await _holder(request)
    with _of_this_holder(), contextlib.suppress(Conflict):
        await site_of(request).signalling.close(actor, request.match_info["session"])
    return web.Response(status=200)


async def options(request: web.Request) -> web.Response:
    """What may be sent, also from pages of other servers, and the ICE servers for who shows a token
    (RFC 9725 section 4.6)."""
    response = web.Response(status=204)
    of_session = "session" in request.match_info
    allowed = "PATCH, DELETE" if of_session else "POST"
    response.headers["Allow"] = response.headers["Access-Control-Allow-Methods"] = (
        f"OPTIONS, {allowed}"
    )
    response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, If-Match"
    response.headers["Access-Control-Max-Age"] = "3600"
    if of_session:
        response.headers["Accept-Patch"] = FRAGMENT
    else:
        response.headers["Accept-Post"] = SDP
    if "Authorization" in request.headers:
        actor = await _holder(request)
        for link in turn_links(site_of(request), actor.holder):
            response.headers.add("Link", link)
    return response


routes = [
    web.post("/whip/{conference}", publish),
    web.post("/whep/{conference}", watch),
    *(web.options(f"/{kind}/{{conference}}", options) for kind in ("whip", "whep")),
    *(web.options(f"/{kind}/{{conference}}/{{session}}", options) for kind in ("whip", "whep")),
    *(web.patch(f"/{kind}/{{conference}}/{{session}}", patch) for kind in ("whip", "whep")),
    *(web.delete(f"/{kind}/{{conference}}/{{session}}", delete) for kind in ("whip", "whep")),
]
