"""Tests of compiled code where there is none."""

from __future__ import annotations

import shutil

import pytest

from server.media import native


def needs_built() -> None:
    """Where there is a compiler, what was not built is a failure."""
    if native.library() is None and shutil.which("cc") is None:
        pytest.skip("no compiler, so nothing compiled")
