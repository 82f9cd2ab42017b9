"""What counts as attendance, and what a spreadsheet may hold."""

from __future__ import annotations

from collections.abc import Mapping

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def changed_counts(announced: Mapping[int, int], counted: Mapping[int, int]) -> dict[int, int]:
    """Site → present, for the sites whose announced count is no longer true."""
    return {
        site: counted.get(site, 0)
        for site, before in announced.items()
        if counted.get(site, 0) != before
    }


def safe_cell(text: str) -> str:
    """``text`` so that no spreadsheet takes it for a formula, even after saving as CSV."""
    return "'" + text if text.startswith(_FORMULA_STARTS) else text
