"""Real Chromium pages at bad lines come back: the benchmark's short form. No figure is asserted.

Three lines, of both legs. Of the others blocked UDP is in ``test_browser.py``, loss in bursts in
``test_forwarding.py`` and a lossy uplink in ``test_line.py``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
LINES = ["receiver.narrowing", "receiver.nothing", "publisher.reordering"]


async def test_pictures_and_sound_come_back_from_bad_lines() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "benchmarks" / "networks.py"), "--seconds", "1"),
        *("--rounds", "1", "--window", "960", "540", "--only", *LINES),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    rows = {row["name"]: row for row in map(json.loads, out.splitlines())}
    for name in LINES:
        assert rows[f"networks.{name}.returned"]["value"] is not None, errors.decode()
        assert {"unit", "peer_value", "ratio", "ran_on"} <= set(rows[f"networks.{name}.returned"])
