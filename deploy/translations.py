"""Bring ``server/translations/*.po`` in step with the texts of the code, or (``--check``) say what
is missing.

Texts are ``_``/``ngettext``/``pgettext`` in templates, ``N_`` in Python and ``t``/``tn`` in
JavaScript, all in Vietnamese. A text that is gone is dropped; a new one is added without a
translation.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = ROOT / "server" / "translations"
METHODS = [
    ("server/**.py", "python"),
    ("templates/**.html", "jinja2"),
    ("static/js/**.js", "javascript"),
]
KEYWORDS = {
    "_": None,
    "N_": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "t": None,
    "tn": (1, 2),
}
_SKIPPED = ("node_modules", ".venv", "static/vendor", "tests", "build", "deploy")
_SLOT = re.compile(r"%\((\w+)\)[sd]")


def extract() -> Catalog:
    """All texts of the code, with the files that use them (no line numbers: they only churn)."""
    found = Catalog(charset="utf-8")
    rows = extract_from_dir(
        ROOT,
        METHODS,
        {"templates/**.html": {"silent": "false", "extensions": "jinja2.ext.do"}},
        KEYWORDS,
        directory_filter=lambda folder: not Path(folder).name.startswith((".", "_"))
        and not str(Path(folder).relative_to(ROOT)).startswith(_SKIPPED),
    )
    for name, _line, text, _comments, context in rows:
        found.add(text, locations=[(Path(name).as_posix(), None)], context=context)
    return found


def slots(text: object) -> set[str]:
    """The places for values in a text or in both forms of one."""
    forms = [text] if isinstance(text, str) else list(text or ())  # type: ignore[call-overload]
    return {name for form in forms for name in _SLOT.findall(form)}


def missing(texts: Catalog, language: Catalog) -> list[str]:
    """What is wrong with a language: texts without translation, and wrong slots."""
    problems = []
    for message in texts:
        if not message.id:
            continue
        key = message.id if isinstance(message.id, str) else message.id[0]
        held = language.get(key, message.context)
        string = held.string if held is not None and not held.fuzzy else None
        if not string or not (isinstance(string, str) or all(string)):
            problems.append(f"no translation: {key}")
        elif not slots(string) <= slots(message.id):
            problems.append(f"other slots: {key}")
    return problems


def render(texts: Catalog, language: Catalog, code: str) -> bytes:
    """The catalogue of ``code`` with exactly ``texts``, sorted."""
    made = Catalog(locale=code, charset="utf-8", fuzzy=False, project="Điểm Cầu", version="1")
    for message in texts:
        if not message.id:
            continue
        key = message.id if isinstance(message.id, str) else message.id[0]
        held = language.get(key, message.context)
        string = held.string if held is not None else ""
        if isinstance(message.id, tuple) and isinstance(string, str):
            string = (string, string)
        if isinstance(message.id, str) and not isinstance(string, str):
            string = (string or ("",))[0]
        made.add(
            message.id,
            string,
            locations=sorted(set(message.locations)),
            context=message.context,
        )
    out = io.BytesIO()
    write_po(out, made, width=100, sort_output=True, omit_header=False, include_lineno=False)
    # Times in the header would make every run a change.
    kept = [line for line in out.getvalue().splitlines(True) if b"-Date:" not in line]
    return b"".join(kept)


def main() -> int:
    """Update the catalogues, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if behind")
    check = parser.parse_args().check
    texts = extract()
    behind = 0
    for path in sorted(LANGUAGES.glob("*.po")):
        with path.open("rb") as file:
            language = read_po(file, locale=path.stem)
        problems = missing(texts, language)
        behind += len(problems)
        for problem in problems:
            print(f"{path.name}: {problem}")
        if not check:
            path.write_bytes(render(texts, language, path.stem))
    return 1 if behind and check else 0


if __name__ == "__main__":
    sys.exit(main())
