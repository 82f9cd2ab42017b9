"""Folders of processes that were killed go at the next start; those in use stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from server import temporary

HOLD = """
import sys
from server import temporary
print(temporary.make("demo-"), flush=True)
sys.stdin.read()
"""


def holder(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process with a folder, until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env={"TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    folder = Path(process.stdout.readline().strip())
    (folder / "recordings").mkdir()
    (folder / "recordings" / "big").write_bytes(b"x" * 1000)
    return process, folder


def test_what_is_in_use_stays_and_what_was_killed_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    foreign = tmp_path / "diemcau-of-somebody-else"
    foreign.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "lock").touch()
    (tmp_path / "diemcau-link").symlink_to(outside)
    killed, stale = holder(tmp_path)
    living, used = holder(tmp_path)
    killed.kill()
    killed.communicate()
    own = temporary.make()
    assert not stale.exists()
    assert (used / "recordings" / "big").exists() and own.exists()
    assert foreign.exists() and (outside / "lock").exists()
    living.communicate("")
    assert living.returncode == 0 and not used.exists(), "gone at an orderly end"
    temporary.remove(own)
    assert not own.exists()
