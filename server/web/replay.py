"""The replay page and the files of a recording, for those who may see it.

One may see it by a seat of its conference, by an appointment (signed in), or by a viewer's token
(header, or the cookie that the viewer's link set).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from aiohttp import web
from sqlalchemy.orm import Session

from server.conferences.models import Conference
from server.errors import NotFound, Unauthenticated
from server.permissions import Actor, Permission, Reach, reach
from server.recordings import replayed
from server.recordings.markers import markers
from server.recordings.models import Recording
from server.web.actors import Keys, actors, keys_of, one_who_may
from server.web.site import render, site_of, visitor_of

TYPES = {
    "m3u8": "application/vnd.apple.mpegurl",
    "m4s": "video/iso.segment",
    "mp4": "video/mp4",
    "json": "application/json",
}
FILE = r"(?:presentation-\d{4}/)?[A-Za-z0-9][A-Za-z0-9_-]{0,80}\.(?:m3u8|m4s|mp4|json)"
_ID = r"[A-Za-z0-9_-]{1,64}"
_FINISHED = "private, max-age=86400"
"""Segments of a recording that has ended do not change; everything else may."""


def _open(session: Session, recording_id: str, keys: Keys) -> tuple[Recording, Conference, Actor]:
    """The recording, for one who may see it. Raises: NotFound, Unauthenticated."""
    recording = session.get(Recording, recording_id)
    if recording is None:
        raise NotFound()
    asked = (session, keys, recording.conference_id, recording.id)
    actor = one_who_may(Permission.SEE_REPLAY, *asked)
    if actor is None:
        raise NotFound() if any(actors(*asked)) else Unauthenticated()
    conference = session.get_one(Conference, recording.conference_id)
    session.expunge_all()
    return recording, conference, actor


async def _opened(request: web.Request) -> tuple[Recording, Conference, Actor]:
    recording_id = request.match_info["recording"]
    return await site_of(request).database.read(_open, recording_id, keys_of(request))


async def page(request: web.Request) -> web.Response:
    """The replay page; to who is not known, the ways in."""
    try:
        recording, conference, actor = await _opened(request)
    except Unauthenticated:
        return render(request, "replay/closed.html", status=Unauthenticated.status)
    base = f"/replay/{recording.id}"
    boot: dict[str, Any] = {
        "recording": recording.id,
        "master": f"{base}/master.m3u8",
        "native": f"{base}/native.m3u8",
        "timeline": f"{base}/timeline.json",
        "live": recording.ended_at is None,
        "zero_at": recording.zero_at.isoformat().replace("+00:00", "Z"),
        "title": conference.title,
        "conference": conference.slug,
        "timezone": conference.timezone,
        "lang": visitor_of(request).language.code,
        "role": actor.role.value,
        "journal": f"{base}/journal.json",
    }
    boot["markers"] = await site_of(request).database.read(_markers, recording)
    return render(
        request,
        "replay/replay.html",
        time_zone=conference.timezone,
        recording=recording,
        conference=conference,
        markers=boot["markers"],
        timeline_url=boot["timeline"],
        staff=reach(actor.role, Permission.SEE_REPORTS) > Reach.NONE,
        boot=boot,
    )


_KINDS = {"agenda": "agenda", "question": "question", "quiz": "activity"}


def _markers(session: Session, recording: Recording) -> list[dict[str, Any]]:
    """As the page takes them: ``kind``, ``at_ms``, ``end_ms`` (None while it lasts), ``text``,
    ``id``, ``written``."""
    return [
        {
            "kind": _KINDS[each.kind],
            "at_ms": each.at_ms,
            "end_ms": each.end_ms,
            "text": each.title,
            "id": each.id,
            "written": each.written,
        }
        for each in markers(session, recording)
    ]


async def journal(request: web.Request) -> web.Response:
    """``journal.json``: the events that those who watch may see, and the markers made of them."""
    recording, _conference, _actor = await _opened(request)
    database = site_of(request).database
    events = await database.read(replayed.told, recording)
    body = {"events": events, "markers": await database.read(_markers, recording)}
    return web.json_response(body, headers={"Cache-Control": "private, no-cache"})


async def file(request: web.Request) -> web.StreamResponse:
    """A playlist, segment or clip; byte ranges as players ask for them."""
    recording, _conference, _actor = await _opened(request)
    name = request.match_info["file"]
    path: Path = site_of(request).config.recordings_dir / recording.id / name
    if not re.fullmatch(FILE, name) or not path.is_file():
        raise NotFound()
    kind = name.rpartition(".")[2]
    response = web.FileResponse(path)
    response.content_type = TYPES[kind]
    growing = kind != "m4s" or recording.ended_at is None
    response.headers["Cache-Control"] = "private, no-cache" if growing else _FINISHED
    return response


routes = [
    web.get(f"/replay/{{recording:{_ID}}}", page),
    web.get(f"/replay/{{recording:{_ID}}}/journal.json", journal),
    web.get(f"/replay/{{recording:{_ID}}}/{{file:.+}}", file),
]
