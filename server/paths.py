"""Where templates, static files and translations lie: inside the package, else the checkout.

A wheel carries ``static/`` and ``templates/`` as data of ``server``; an editable install leaves
them at the root of the checkout.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _data(name: str) -> Path:
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


STATIC = _data("static")
TEMPLATES = _data("templates")
TRANSLATIONS = _PACKAGE / "translations"
