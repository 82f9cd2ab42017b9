"""What every handler shares: the services, the visitor behind a request, templates, cookies."""

from __future__ import annotations

import functools
import hmac
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jinja2
from aiohttp import web

from server import i18n, paths
from server.config import Config
from server.db.engine import Database
from server.errors import DomainError
from server.i18n import Language
from server.web.hashing import Hashing

if TYPE_CHECKING:
    from server.inbox import Inbox
    from server.signalling import Signalling

COOKIE_LASTS_S = 400 * 86400
"""The longest that browsers keep a cookie (RFC 6265bis section 5.5)."""
SIGN_IN, DEVICE, LANG = "sign_in", "device", "lang"
DEFAULT_TIMEZONE = "Asia/Ho_Chi_Minh"


@dataclass(frozen=True, slots=True)
class Account:
    """Who is signed in, for templates and handlers."""

    id: int
    username: str
    name: str
    is_organiser: bool
    must_change: bool


@dataclass(slots=True)
class Visitor:
    """The browser behind a request: known by its cookies, never by its address."""

    device: str
    is_new: bool
    language: Language
    account: Account | None = None
    cookies: dict[str, str] = field(default_factory=dict)


@dataclass
class Site:
    """The services of the web process and the templates in every language."""

    config: Config
    database: Database
    inbox: Inbox
    signalling: Signalling
    languages: Mapping[str, Language] = field(default_factory=i18n.read_languages)
    hashing: Hashing = field(default_factory=Hashing)
    runtime: str | None = None

    def template(self, language: Language, name: str) -> jinja2.Template:
        """A template whose fixed texts are in ``language``."""
        return _environment(language.code).get_template(name)

    def csrf(self, device: str) -> str:
        """The token that a form of this browser must carry: HMAC of its cookie."""
        key = self.config.secret_key.encode()
        return hmac.new(key, b"csrf:" + device.encode(), "sha256").hexdigest()


SITE = web.AppKey("site", Site)
VISITOR = web.RequestKey("visitor", Visitor)


class _Undefined(jinja2.StrictUndefined):
    """A missing value may be tested for, and never be shown by mistake."""

    def __bool__(self) -> bool:  # type: ignore[override]
        return False


@functools.cache
def _environment(code: str) -> jinja2.Environment:
    language = i18n.read_languages()[code]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(paths.TEMPLATES),
        autoescape=True,
        undefined=_Undefined,
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        language.gettext, language.ngettext, newstyle=True, pgettext=language.pgettext
    )
    environment.globals |= {
        "lang": language.code,
        "format_time": i18n.format_time,
        "format_date": i18n.format_date,
        "format_number": language.format_number,
    }
    return environment


def now() -> datetime:
    """The server's clock, UTC."""
    return datetime.now(UTC)


def new_device() -> str:
    """A random name for a browser that has none yet."""
    return secrets.token_urlsafe(18)


def site_of(request: web.Request) -> Site:
    """The services, also in a sub-application."""
    return request.config_dict[SITE]


def visitor_of(request: web.Request) -> Visitor:
    """Who the middleware found behind the request."""
    return request[VISITOR]


def render(
    request: web.Request,
    name: str,
    *,
    status: int = 200,
    error: DomainError | None = None,
    again: str | None = None,
    **context: Any,
) -> web.Response:
    """A page. ``error`` becomes the template's ``error``, a sentence in the reader's language, and
    ``retry_after_s``, how long to wait, where it says so. ``here`` is the address that shows this page
    again; where it answers a form that is ``again``, unless too much was typed to be lost."""
    site, visitor = site_of(request), visitor_of(request)
    token = site.csrf(visitor.device)
    timezone = context.pop("time_zone", DEFAULT_TIMEZONE)
    text = site.template(visitor.language, name).render(
        csrf=token,
        csrf_token=token,
        account=visitor.account,
        config=site.config,
        now=now(),
        path=request.path,
        here=request.path_qs if request.method in ("GET", "HEAD") else again,
        time_zone=timezone,
        error=visitor.language.explain(error) if error else None,
        retry_after_s=error.retry_after_s if error else None,
        **context,
    )
    response = web.Response(
        text=text, content_type="text/html", status=error.status if error else status
    )
    response.headers["Cache-Control"] = "no-store"
    if error is not None:
        tell_when(response, error)
    return response


def tell_when(response: web.Response, error: DomainError) -> None:
    """Retry-After (RFC 9110 section 10.2.3) where ``error`` says how long to wait."""
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))


def see_other(location: str) -> web.Response:
    """303 after a form: reloading the next page repeats nothing."""
    return web.Response(status=303, headers={"Location": location})


def set_cookie(request: web.Request, response: web.StreamResponse, name: str, value: str) -> None:
    """A cookie of ours: HttpOnly, SameSite=Lax, Secure under HTTPS."""
    response.set_cookie(
        name,
        value,
        path="/",
        max_age=COOKIE_LASTS_S,
        httponly=True,
        samesite="Lax",
        secure=is_secure(request),
    )


def base_url(request: web.Request) -> str:
    """Scheme and host that this reader's browser used, or PUBLIC_URL."""
    config = site_of(request).config
    return config.public_url or f"{request.scheme}://{request.host}"


def is_secure(request: web.Request) -> bool:
    """True where this browser came by HTTPS, ours or that of a trusted proxy."""
    return request.scheme == "https" or site_of(request).config.secure


def same(given: str, expected: str) -> bool:
    """Compare secrets in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())
