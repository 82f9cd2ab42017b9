"""Languages of pages and messages. Vietnamese is the source; others are gettext catalogues.

``server/translations/{lang}.po`` is read at start, uncompiled: one file is the truth. Messages
that ``static/js`` uses (by their ``#:`` places) are served to the browser as ``/i18n/{lang}.js``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from server import paths
from server.errors import DomainError

SOURCE = "vi"
Forms = str | tuple[str, ...]


def keyed(text: str, context: str | None) -> str:
    """The name of a message in ``Language.messages``, as gettext's own catalogues join the two."""
    return text if context is None else f"{context}\x04{text}"


@dataclass(frozen=True)
class Language:
    """One language: msgid → text, or → (one, many) for counted texts."""

    code: str
    messages: Mapping[str, Forms] = field(default_factory=dict)
    for_browser: Mapping[str, Forms] = field(default_factory=dict)

    def gettext(self, text: str) -> str:
        """``text`` in this language; itself where it has no translation."""
        found = self.messages.get(text, text)
        return found if isinstance(found, str) else found[0]

    def ngettext(self, one: str, many: str, n: int) -> str:
        """The form of a counted text for ``n``. Vietnamese has one form, English two."""
        found = self.messages.get(one, (one, many))
        forms = (found,) if isinstance(found, str) else found
        return forms[0 if n == 1 else -1]

    def pgettext(self, context: str, text: str) -> str:
        """``text`` where it means ``context``: one Vietnamese word may be several elsewhere."""
        found = self.messages.get(keyed(text, context))
        return (
            self.gettext(text) if found is None else found if isinstance(found, str) else found[0]
        )

    def explain(self, error: DomainError) -> str:
        """The sentence of a domain error for a reader of this language."""
        text = self.gettext(error.message)
        values = {
            name: (
                self.format_number(value) if type(value) is int and f"%({name})s" in text else value
            )
            for name, value in error.values.items()
        }
        return text % values if values else text

    def script(self) -> str:
        """The module that hands this language's messages to ``static/js/i18n.js``."""
        return f"globalThis.diemcauMessages={json.dumps(self.for_browser, ensure_ascii=False)};\n"

    def format_number(self, value: int | float) -> str:
        """1.703 in Vietnamese, 1,703 in English."""
        text = f"{value:,}"
        return text.translate(str.maketrans(",.", ".,")) if self.code == SOURCE else text


def format_time(moment: datetime, timezone: str) -> str:
    """08:50 in ``timezone``."""
    return f"{moment.astimezone(ZoneInfo(timezone)):%H:%M}"


def format_date(moment: datetime, timezone: str) -> str:
    """03/06/2023 in ``timezone``."""
    return f"{moment.astimezone(ZoneInfo(timezone)):%d/%m/%Y}"


@functools.cache
def read_languages(folder: Path = paths.TRANSLATIONS) -> dict[str, Language]:
    """Every language by its code, read once; Vietnamese is always there and first."""
    languages = {SOURCE: Language(SOURCE)}
    for path in sorted(folder.glob("*.po")):
        with path.open("rb") as file:
            languages[path.stem] = _language(path.stem, read_po(file, locale=path.stem))
    return languages


def _language(code: str, catalogue: Catalog) -> Language:
    messages: dict[str, Forms] = {}
    for_browser: dict[str, Forms] = {}
    for message in catalogue:
        if not message.id or message.fuzzy:
            continue
        key = keyed(message.id if isinstance(message.id, str) else message.id[0], message.context)
        string = message.string or ""
        text = string if isinstance(string, str) else tuple(string)
        if not text or not all(text):
            continue
        messages[key] = text
        if any(place.startswith("static/js/") for place, _line in message.locations):
            for_browser[key] = text
    return Language(code, messages, for_browser)


def choose(languages: Mapping[str, Language], wished: str | None, accepted: str) -> Language:
    """The language of a reader: their cookie, else what their browser prefers, else Vietnamese.

    ``accepted`` is an Accept-Language header (RFC 9110 section 12.5.4); a browser set to English
    alone is shown English, one that also lists Vietnamese gets the more preferred of the two.
    """
    if wished is not None and wished in languages:
        return languages[wished]
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted.split(",")):
        tag, _, weight = part.strip().partition(";q=")
        code = tag.split("-")[0].lower()
        if code in languages:
            try:
                ranked.append((-float(weight or 1), place, code))
            except ValueError:
                continue
    return languages[min(ranked)[2]] if ranked else languages[SOURCE]
