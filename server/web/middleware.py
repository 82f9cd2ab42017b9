"""What holds for every request: errors in the reader's language, headers, CSRF, rates.

Order, outermost first: ``forwarded`` (a module of its own), ``headers`` (security headers, access
log), ``visitor`` (cookies → ``Visitor``), ``errors`` (anything raised → a page or JSON), ``forms``
(Origin, CSRF, rates).
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from prometheus_client import Counter, Histogram
from sqlalchemy.orm import Session

from server import i18n
from server.errors import (
    N_,
    Broken,
    DomainError,
    Forbidden,
    Invalid,
    NotFound,
    SlowDown,
    Unauthenticated,
    Unavailable,
)
from server.people import accounts
from server.web import site as shared
from server.web.bearer import token_of
from server.web.charsets import only_utf_8, require_utf_8
from server.web.entry import local
from server.web.rates import Rates
from server.web.site import DEVICE, LANG, SIGN_IN, VISITOR, Account, Visitor, site_of

log = structlog.get_logger("http")

BODY_WITHIN_S = 300.0
"""For a whole form or upload: 20 MB over a line of half a megabit a second."""

KEPT_BYTES = 64 * 1024
"""A form that came too soon is offered to be sent again, up to this."""
_KEPT = web.RequestKey("kept", list[tuple[str, str]])
_WHY = web.RequestKey("why", dict[str, object])
"""what was refused, for the log"""
_SECRETS = frozenset({"password", "old", "new", "again", "pin", "code"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REQUESTS = Counter("diemcau_http_requests_total", "HTTP requests", ["method", "status"])
DURATION = Histogram("diemcau_http_request_seconds", "Time to answer an HTTP request")

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' data:; media-src 'self' blob:; worker-src 'self' blob:; connect-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self), "
    "fullscreen=(self), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "diemcau",
}
_FOR_ANY_ORIGIN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Location, ETag, Link, Accept-Patch, Retry-After",
}
"""for what a bearer token opens, and no cookie: pages of other servers may publish and play"""
LONGEST_TEXT, LONGEST_TEXT_OF_STRANGER = 20_000, 1_000
"""Characters of a form's field. Normal forms of Unicode take time by the square of how many marks follow
one another, and hold up everybody: 20,000 of them a quarter of a second, 80,000 five."""
_HSTS = "max-age=31536000"
_SECRET_PATH = re.compile(r"^/join/[^/]+")
_BEARER_PATHS = ("/whip/", "/whep/")
_FOR_ANYBODY = ("/static/", "/i18n/", "/favicon.ico", "/socket.io/", "/healthz", "/metrics")
"""Who asks for these does not matter: they are answered while the database is away, too."""
_QUIET_PATHS = (*_FOR_ANYBODY, "/replay/")
_UNPARSABLE = N_("Yêu cầu không hợp lệ.")
_CROSS_SITE = N_("Biểu mẫu này đến từ một trang khác. Hãy mở lại trang và thử lại.")
_EXPIRED_FORM = N_("Biểu mẫu đã cũ hoặc trình duyệt chặn cookie. Hãy tải lại trang và thử lại.")
_METHOD = N_("Trang này không nhận yêu cầu kiểu này.")
_METHOD_OF_MEDIA = N_(
    "Địa chỉ này không nhận %(method)s, chỉ nhận %(allowed)s. Nó không phải trang để mở bằng trình duyệt: "
    "hãy dán vào bộ mã hóa (WHIP) hoặc trình phát (WHEP), cùng với mã truy cập."
)
_DATABASE_AWAY = N_(
    "Cơ sở dữ liệu không trả lời. Lệnh mới bị hoãn; những gì đã được xác nhận không mất. "
    "Xem cơ sở dữ liệu còn chạy và đĩa của nó còn chỗ không."
)
_TOO_SLOW = N_("Dữ liệu gửi lên quá chậm. Hãy kiểm tra mạng rồi thử lại.")
_NO_PAGE = N_("Địa chỉ này không có trang nào. Hãy xem lại đường dẫn.")
_TOO_FAST = N_("Thao tác quá nhanh.")  # the page counts the seconds
_TOO_LARGE = N_("Tệp gửi lên quá lớn: nhiều nhất là %(most)s MB. Chưa có gì được nhập.")


def masked(path: str) -> str:
    """A path for the log: the secret of a link is left out."""
    return _SECRET_PATH.sub("/join/…", path)


@web.middleware
async def headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Security headers on everything, and one line of the log."""
    began = time.monotonic()
    response = await handler(request)
    if not response.prepared:
        finish_headers(request, response)
    REQUESTS.labels(request.method, str(response.status)).inc()
    DURATION.observe(time.monotonic() - began)
    if response.status >= 400 or not request.path.startswith(_QUIET_PATHS):
        log.info(
            "request",
            method=request.method,
            path=masked(request.path),
            status=response.status,
            ms=round((time.monotonic() - began) * 1000, 1),
            **request.get(_WHY, {}),
        )
    return response


def finish_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set what every response carries."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.path.startswith("/join/"):
        # The Referer would hold the token; "no-referrer" would empty the form's Origin.
        response.headers["Referrer-Policy"] = "strict-origin"
    if request.path.startswith(_BEARER_PATHS):
        response.headers.update(_FOR_ANY_ORIGIN)
    if shared.is_secure(request):
        response.headers["Strict-Transport-Security"] = _HSTS


def _account(session: Session, token: str) -> Account | None:
    try:
        row = accounts.account_of_sign_in(session, token, shared.now())
    except Unauthenticated:
        return None
    return Account(row.id, row.username, row.name, row.is_organiser, row.must_change)


@web.middleware
async def visitor(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who asks: device, language, account. A new browser gets a name."""
    site = site_of(request)
    device = request.cookies.get(DEVICE, "")
    is_new = not re.fullmatch(r"[A-Za-z0-9_-]{16,64}", device)
    language = i18n.choose(
        site.languages, request.cookies.get(LANG), request.headers.get("Accept-Language", "")
    )
    found = Visitor(shared.new_device() if is_new else device, is_new, language)
    request[VISITOR] = found
    token = request.cookies.get(SIGN_IN)
    if token and not request.path.startswith(_FOR_ANYBODY):
        try:
            found.account = await site.database.read(_account, token)
        except Unavailable as error:
            if request.path == "/admin":  # what /healthz tells everybody, and what to do
                error = Unavailable(_DATABASE_AWAY, retry_after_s=error.retry_after_s)
            return _told(request, error)
    response = await handler(request)
    if is_new and response.content_type == "text/html" and not response.prepared:
        shared.set_cookie(request, response, DEVICE, found.device)
    return response


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong is told in the reader's language, with nothing of the inside."""
    try:
        return await handler(request)
    except DomainError as error:
        return _told(request, error)
    except web.HTTPRedirection:
        raise
    except web.HTTPException as error:
        told = _of_http(request, error)
        response = _told(request, told)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except ConnectionResetError:
        return web.Response(status=400)  # read by nobody: they have gone
    except Exception:
        log.exception("request failed", method=request.method, path=masked(request.path))
        return _told(request, Broken())


def _dumps(body: object) -> str:
    return json.dumps(body, ensure_ascii=False)


def _of_http(request: web.Request, error: web.HTTPException) -> DomainError:
    if error.status == 404:
        return NotFound(_NO_PAGE)
    if error.status == 413:
        told = Invalid(_TOO_LARGE, most=site_of(request).config.upload_limit_mb)
    elif isinstance(error, web.HTTPMethodNotAllowed) and request.path.startswith(_BEARER_PATHS):
        allowed = ", ".join(sorted(error.allowed_methods))
        told = Invalid(_METHOD_OF_MEDIA, method=error.method, allowed=allowed)
    else:
        told = Invalid(_METHOD if error.status == 405 else _UNPARSABLE)
    told.status = error.status
    return told


def _told(request: web.Request, error: DomainError) -> web.Response:
    language = shared.visitor_of(request).language
    request[_WHY] = {k: v for k, v in error.values.items() if k == "about"} | {"error": error.code}
    if "text/html" in request.headers.get("Accept", ""):
        response = shared.render(
            request,
            "error.html",
            error=error,
            code=error.code,
            status_code=error.status,
            sent=request.method == "POST",
            back=_before(request),
            kept=request.get(_KEPT, []),
            address=request.path_qs,
        )
    else:
        body = {"error": error.code, "message": language.explain(error)}
        if error.retry_after_s is not None:
            body["retry_after_s"] = error.retry_after_s  # type: ignore[assignment]
        response = web.json_response(body, status=error.status, dumps=_dumps)
        shared.tell_when(response, error)
    if error.status == 401 and request.path.startswith(_BEARER_PATHS):
        response.headers["WWW-Authenticate"] = 'Bearer realm="diemcau"'  # RFC 6750 section 3
    return response


def _before(request: web.Request) -> str | None:
    """The address to try again: of this page, or of the one whose form was sent, where it is ours."""
    if request.method != "POST":
        return request.path_qs
    referer = request.headers.get("Referer", "")
    if not is_own_origin(request, referer):
        return None
    came_from = urlsplit(referer)
    query = f"?{came_from.query}" if came_from.query else ""
    return local(came_from.path + query, "") or None


def forms(rates: Rates) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Refuse a state-changing request from another site, without our token, or too often."""
    only_utf_8()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if "%00" in request.raw_path:  # no browser sends NUL, and PostgreSQL takes none
            raise NotFound()
        bearer = request.path.startswith(_BEARER_PATHS)
        if request.method == "POST" and request.path.startswith("/socket.io/"):
            try:
                async with asyncio.timeout(BODY_WITHIN_S):
                    return await handler(request)
            except TimeoutError as error:
                raise Invalid(_TOO_SLOW) from error
        if request.method in ("GET", "HEAD", "OPTIONS") or request.path.startswith("/socket.io/"):
            return await handler(request)
        found = shared.visitor_of(request)
        who = token_of(request) or "" if bearer else found.device
        wait_s = rates.take(who, request.remote or "")
        if wait_s > 0:
            request[_KEPT] = [] if bearer else await _kept(request, found)
            raise SlowDown(_TOO_FAST, retry_after_s=wait_s)
        if not bearer:
            await _require_own_form(request, found)
        return await handler(request)

    return check


async def _kept(request: web.Request, found: Visitor) -> list[tuple[str, str]]:
    """What was typed into a form that came too soon, to be sent again from the page that says so.

    Nothing where it is not our own form, long, or holds a file or a secret, which no page repeats.
    """
    if not 0 < (request.content_length or 0) <= KEPT_BYTES:
        return []
    try:
        await _require_own_form(request, found)
    except DomainError:
        return []
    form = await request.post()
    fields = [(name, value) for name, value in form.items() if isinstance(value, str)]
    if _SECRETS & form.keys() or len(fields) < len(form):
        return []
    return [(name, value) for name, value in fields if name != "csrf"]


async def _require_own_form(request: web.Request, found: Visitor) -> None:
    _require_same_origin(request)
    await _require_token(request, found)


def _require_same_origin(request: web.Request) -> None:
    """Fetch Metadata and RFC 6454: browsers say where a form comes from."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden(_CROSS_SITE)
    origin = request.headers.get("Origin")
    if origin is not None and not is_own_origin(request, origin):
        raise Forbidden(_CROSS_SITE)


def is_own_origin(request: web.Request, origin: str) -> bool:
    """True where ``origin`` is this server's, as the browser reached it or as configured."""
    public = site_of(request).config.public_url
    try:
        host = urlsplit(origin).netloc
    except ValueError:  # no browser sends "http://["
        return False
    return host == request.host or (public is not None and origin == public)


async def _require_token(request: web.Request, found: Visitor) -> None:
    require_utf_8(request)
    try:
        # Here also where the header has the token: handlers then find a form that can be read.
        async with asyncio.timeout(BODY_WITHIN_S):
            form = await request.post()
    except TimeoutError as error:
        raise Invalid(_TOO_SLOW) from error
    except (ValueError, LookupError, AssertionError, RuntimeError, BadHttpMessage) as error:
        # No form: not of the encoding it names (or that there is), or parts cut or without names.
        raise Invalid(_UNPARSABLE) from error
    longest = LONGEST_TEXT if found.account is not None else LONGEST_TEXT_OF_STRANGER
    for text in form.values():
        if isinstance(text, str) and ("\0" in text or len(text) > longest):
            raise Invalid(_UNPARSABLE)
    value = form.get("csrf", "")
    given = request.headers.get("X-CSRF-Token", value if isinstance(value, str) else "")
    if found.is_new or not shared.same(given, site_of(request).csrf(found.device)):
        raise Forbidden(_EXPIRED_FORM)
