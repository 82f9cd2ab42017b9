"""Static files and messages for scripts: strong ETags by content, compressed where it helps."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from server import paths
from server.errors import NotFound
from server.web.site import site_of

_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_COMPRESSED = {".js", ".css", ".svg", ".json", ".txt"}
MIN_COMPRESSED_BYTES = 512
REVALIDATE = "no-cache"
"""Modules import each other by plain names, so each use asks; the answer is mostly 304."""
LONG = "public, max-age=604800"
"""Fonts and vendored builds change with a release only."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as it is sent."""

    stamp: tuple[float, int]
    etag: str
    plain: bytes
    compressed: bytes | None
    content_type: str


class Files:
    """Files below one folder, kept in memory once read; a changed file is read again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._held: dict[str, Stored] = {}

    def get(self, name: str) -> Stored:
        """Raises: NotFound, also for names that lead out of the folder."""
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder) or not path.is_file():
            raise NotFound()
        status = path.stat()
        stamp = (status.st_mtime, status.st_size)
        held = self._held.get(name)
        if held is None or held.stamp != stamp:
            held = self._held[name] = store(path.read_bytes(), path.suffix, stamp)
        return held


def store(plain: bytes, suffix: str, stamp: tuple[float, int] = (0.0, 0)) -> Stored:
    """Prepare content for sending: hash and compress it once."""
    compressed = None
    if suffix in _COMPRESSED and len(plain) >= MIN_COMPRESSED_BYTES:
        compressed = gzip.compress(plain, 9, mtime=0)
    kind = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    return Stored(stamp, hashlib.sha256(plain).hexdigest()[:20], plain, compressed, kind)


def send(request: web.Request, stored: Stored, caching: str) -> web.Response:
    """The content, or 304 where the browser has it (RFC 9110 section 13.1.2)."""
    headers = {"ETag": f'"{stored.etag}"', "Cache-Control": caching, "Vary": "Accept-Encoding"}
    known = request.if_none_match or ()
    if any(tag.value in (stored.etag, "*") for tag in known):
        return web.Response(status=304, headers=headers)
    body = stored.plain
    if stored.compressed is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
        body, headers["Content-Encoding"] = stored.compressed, "gzip"
    charset = "utf-8" if stored.content_type.startswith("text/") else None
    return web.Response(
        body=body, content_type=stored.content_type, charset=charset, headers=headers
    )


_FILES = Files(paths.STATIC)


async def static(request: web.Request) -> web.Response:
    """A file of ``static/``."""
    name = request.match_info["name"]
    return send(request, _FILES.get(name), LONG if name.endswith(".woff2") else REVALIDATE)


async def messages(request: web.Request) -> web.Response:
    """The catalogue of one language, for ``static/js/i18n.js``."""
    language = site_of(request).languages.get(request.match_info["lang"])
    if language is None:
        raise NotFound()
    return send(request, store(language.script().encode(), ".js"), REVALIDATE)


async def icon(request: web.Request) -> web.Response:
    """What browsers ask for on their own."""
    return send(request, _FILES.get("icon.svg"), LONG)


routes = [
    web.get(r"/static/{name:[A-Za-z0-9_./-]+}", static),
    web.get(r"/i18n/{lang:[a-z]+}.js", messages),
    web.get("/favicon.ico", icon),
]
