"""The documentation names what there is: settings, commands, roles, files."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from server.__main__ import main
from server.config import PREFIX, SETTINGS
from server.permissions import Role

ROOT = Path(__file__).parent.parent
DEPLOYMENT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def run_help(*words: str) -> str:
    """What ``diemcau … --help`` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        main([*words, "--help"])
    return printed.getvalue()


def commands() -> list[str]:
    """The names in ``diemcau --help``."""
    found = re.findall(r"^    ([a-z]+(?:-[a-z]+)*)(?:\s|$)", run_help(), re.MULTILINE)
    assert "serve" in found
    return found


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_setting_has_a_row(name: str) -> None:
    rows = [line for line in DEPLOYMENT.splitlines() if line.startswith(f"| `{PREFIX}")]
    assert any(f"`{PREFIX}{name}`" in row.split("|")[1] for row in rows)


def test_no_setting_is_made_up() -> None:
    for page in PAGES:
        named = set(re.findall(rf"\b{PREFIX}([A-Z_]*[A-Z])\b", page.read_text(encoding="utf-8")))
        assert named <= {*SETTINGS, "CONFIG"}, page


def test_every_command_and_option_has_a_row() -> None:
    for command in commands():
        rows = [
            line for line in DEPLOYMENT.splitlines() if line.startswith(f"| `diemcau {command}")
        ]
        assert rows, command
        options = set(re.findall(r"--[a-z][a-z-]+", run_help(command))) - {"--help"}
        assert options <= set(re.findall(r"--[a-z][a-z-]+", " ".join(rows))), command


@pytest.mark.parametrize("role", list(Role))
def test_every_role_has_a_row(role: Role) -> None:
    assert re.search(rf"^\| `{role.value}` \|", DEPLOYMENT, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    missing = [target for target in local if not (page.parent / target).exists()]
    assert not missing


def test_every_picture_is_used_and_small() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert f"pictures/{picture.name})" in text, f"{picture.name} is shown nowhere"
        assert picture.stat().st_size < 400_000
