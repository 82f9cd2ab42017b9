"""A submitted form: its fields read with care, what is wrong said beside them, one command sent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime, time
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from aiohttp import web
from aiohttp.web_request import FileField

from server.errors import N_, DomainError, Invalid
from server.i18n import SOURCE, Language
from server.people.names import nfc
from server.permissions import Actor
from server.protocol import Command
from server.web.site import site_of, visitor_of

T = TypeVar("T")

MAX_LINE = 300
_REQUIRED = N_("Hãy điền mục này.")
_LONG = N_("Dài quá %(most)d ký tự.")
_CHOICE = N_("Hãy chọn một trong các mục có sẵn.")
_MOMENT = N_("Hãy nhập ngày và giờ.")
_DATE = N_("Hãy nhập ngày.")
_TIME = N_("Hãy nhập giờ.")
_NUMBER = N_("Hãy nhập một số từ %(least)d đến %(most)d.")


D = TypeVar("D", bound=date)
YEARS = range(2000, 2101)
"""Years that a conference may lie in: far enough from where dates overflow."""


def _plausible(day: D) -> D:
    if day.year not in YEARS:
        raise ValueError(day)
    return day


def whole(text: str) -> int | None:
    """A number of up to 15 digits, as ids are; None for anything else (``int`` takes far more)."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


class Form:
    """What was typed, and what is wrong with it. Without a request: an empty form.

    Reading a wrong field gives an empty value and notes a sentence; look at ``ok`` at the end.
    """

    def __init__(
        self,
        values: Mapping[str, str] | None = None,
        files: Mapping[str, FileField] | None = None,
        language: Language | None = None,
    ) -> None:
        self.values = dict(values or {})
        self.files = dict(files or {})
        self.errors: dict[str, str] = {}
        self.refusal: str | None = None
        """why the whole was refused"""
        self.status = 200
        self._language = language or Language(SOURCE)

    @classmethod
    async def read(cls, request: web.Request) -> Form:
        """The form in the body of ``request``."""
        values: dict[str, str] = {}
        files: dict[str, FileField] = {}
        for name, value in (await request.post()).items():
            if isinstance(value, FileField):
                files[name] = value
            elif isinstance(value, str):
                values[name] = value
        return cls(values, files, visitor_of(request).language)

    # --- for templates ---

    def value(self, name: str, default: str = "") -> str:
        """What was typed."""
        return self.values.get(name, default)

    def error(self, name: str) -> str | None:
        """The sentence to show at a field."""
        return self.errors.get(name)

    @property
    def ok(self) -> bool:
        """True where nothing is wrong so far."""
        return not self.errors and self.refusal is None

    # --- reading ---

    def wrong(self, name: str, message: str, /, **values: object) -> None:
        """Note what is wrong with a field."""
        text = self._language.gettext(message)
        self.errors.setdefault(name, text % values if values else text)
        self.status = max(self.status, 400)

    def refuse(self, error: DomainError) -> None:
        """Note that the whole was refused."""
        self.refusal = self._language.explain(error)
        self.status = error.status

    def line(self, name: str, *, required: bool = True, most: int = MAX_LINE) -> str:
        """One line of text, trimmed, in normal form C."""
        return self._text(name, nfc(self.value(name)), required, most)

    def text(self, name: str, *, required: bool = True, most: int = 2000) -> str:
        """Text of several lines."""
        lines = (nfc(line) for line in self.value(name).splitlines())
        return self._text(name, "\n".join(lines).strip(), required, most)

    def _text(self, name: str, text: str, required: bool, most: int) -> str:
        if required and not text:
            self.wrong(name, _REQUIRED)
        if len(text) > most:
            self.wrong(name, _LONG, most=most)
            return ""
        return text

    def choice(self, name: str, allowed: Collection[str]) -> str:
        """One of ``allowed``."""
        value = self.value(name)
        if value not in allowed:
            self.wrong(name, _CHOICE)
        return value

    def number(self, name: str, least: int, most: int) -> int:
        """A whole number."""
        try:
            number = int(self.value(name))
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            self.wrong(name, _NUMBER, least=least, most=most)
            return least
        return number

    def id(self, name: str) -> int:
        """The id of something chosen by a button. Raises: Invalid."""
        value = self.value(name)
        number = whole(value)
        if number is None or number == 0:
            raise Invalid()
        return number

    def moment(self, name: str, timezone: str) -> datetime:
        """A ``datetime-local`` (HTML, local date and time strings) in ``timezone``."""
        return self._parsed(
            name,
            lambda text: _plausible(
                datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)
            ),
            _MOMENT,
            datetime.now(UTC),
        )

    def date(self, name: str) -> date:
        """A date."""
        return self._parsed(
            name, lambda text: _plausible(date.fromisoformat(text)), _DATE, date(2000, 1, 1)
        )

    def time(self, name: str) -> time:
        """A time of day."""
        return self._parsed(name, time.fromisoformat, _TIME, time())

    def _parsed(self, name: str, parse: Callable[[str], T], message: str, default: T) -> T:
        try:
            return parse(self.value(name).strip())
        except (ValueError, OverflowError):
            self.wrong(name, message)
            return default

    # --- sending ---

    async def send(
        self, request: web.Request, actor: Actor, command: Command
    ) -> dict[str, Any] | None:
        """Submit ``command`` unless something is wrong; None where it was not done, with the
        reason noted. The form's hidden ``key`` makes a second click return the first answer."""
        if not self.ok:
            return None
        try:
            return await submit(request, actor, command, self.value("key") or None)
        except DomainError as error:
            self.refuse(error)
            return None


async def submit(
    request: web.Request, actor: Actor, command: Command, key: str | None = None
) -> dict[str, Any]:
    """Check ``command`` as strictly as one from the wire and put it into the inbox.

    Raises: DomainError.
    """
    try:
        built = msgspec.to_builtins(command)
        command = msgspec.convert(built, type(command))
    except msgspec.ValidationError as error:
        raise Invalid() from error
    if key is not None:
        # The same form sent again with other contents is another command.
        mark = f"{command.type}:{msgspec.json.encode(built, order='sorted')!r}"
        key = f"{key[:40]}:{hashlib.sha256(mark.encode()).hexdigest()[:32]}"
    return await site_of(request).inbox.submit(actor, command, key)
