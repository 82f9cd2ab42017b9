"""The benchmarks run: their lines are well formed. How fast anything is, is not asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FIELDS = {"name", "value", "unit", "peer_value", "ratio", "ran_on"}
PROMISED = {
    "phones.fanout_cpu",
    "phones.fanout_p99",
    "phones.burst_cpu",
    "phones.burst_p99",
    "phones.memory",
}


@pytest.mark.alone
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_nothing_acknowledged_is_lost(database: str) -> None:
    """Five deaths under load; the long form has a hundred."""
    script = ROOT / "benchmarks" / "durability.py"
    small = ("--rounds", "5", "--phones", "40", "--database", database)
    ended = subprocess.run(
        [sys.executable, str(script), *small], capture_output=True, text=True, timeout=280
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    line = json.loads(ended.stdout)
    assert FIELDS <= line.keys() and line["name"] == "durability.lost"
    assert (line["value"], line["rounds"], line["database"]) == (0, 5, database)
    assert line["doubled"] == line["answered_otherwise"] == line["disorder"] == 0
    assert line["acknowledged"] > 5 * 40, "there was a load"
    assert line["commands"]["question.ask"] > 30 and line["commands"]["attendance.check_in"] > 30


@pytest.mark.alone
def test_phones_beside_node() -> None:
    script = ROOT / "benchmarks" / "phones.py"
    small = ("--phones", "12", "--events", "3", "--rounds", "2", "--idle", "0.5", "--spread", "0.2")
    ended = subprocess.run(
        [sys.executable, str(script), *small], capture_output=True, text=True, timeout=280
    )
    assert ended.returncode == 0, ended.stderr
    lines = {line["name"]: line for line in map(json.loads, ended.stdout.splitlines())}
    assert PROMISED <= lines.keys()
    for name, line in lines.items():
        assert FIELDS <= line.keys() and line["unit"] and line["phones"] == 12, name
        assert isinstance(line["value"], float) and line["value"] >= 0, name
        assert isinstance(line["peer_value"], float) and line["peer_value"] >= 0, name
        if line["peer_value"]:
            assert line["ratio"] == pytest.approx(
                line["value"] / line["peer_value"], rel=0.1, abs=0.01
            )
