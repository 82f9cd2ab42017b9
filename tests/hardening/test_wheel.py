"""The wheel alone, in an environment of its own, runs the demo from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("server", "static", "templates", "setup.cfg", "setup.py", "pyproject.toml", "README.md")
PATIENCE_S = 60.0
NEEDED = (
    "/static/css/base.css",
    "/static/icon.svg",
    "/static/js/connection.js",
    "/static/vendor/lucide/icons.svg",
    "/i18n/en.js",
    "/sign-in",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of a copy: the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, folder)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "made", "."]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return next((folder / "made").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment: the wheel, and this one's third-party packages."""
    place = tmp_path_factory.mktemp("clean")
    run = [sys.executable, "-m"]
    subprocess.run([*run, "venv", "--without-pip", str(place)], check=True)
    # Lines of a .pth file add folders without the .pth files in them: no editable install here.
    packages = next(place.glob("lib/python*/site-packages"))
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ["pip", "--python", str(place / "bin/python"), "install", "--quiet", "--no-deps"]
    # It would else take the checkout's, seen through others.pth, for an older one to remove.
    subprocess.run([*run, *install, "--no-index", "--ignore-installed", str(wheel)], check=True)
    return place / "bin"


@pytest.fixture
def empty() -> Iterator[Path]:
    """An empty folder with a short name, for Unix sockets lie below it."""
    with tempfile.TemporaryDirectory(prefix="dcw-") as folder:
        yield Path(folder)


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of this process's: no PYTHONPATH, no configuration, no cache."""
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
    }


def _get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(c) for c in children] + [d for c in children for d in _descendants(int(c))]


def test_the_package_comes_from_the_wheel(installed: Path, empty: Path) -> None:
    shown = subprocess.run(
        [str(installed / "python"), "-c", "import server.paths as p; print(p.__file__, p.STATIC)"],
        cwd=empty,
        env=_environment(empty),
        capture_output=True,
        text=True,
        check=True,
    )
    for path in shown.stdout.split():
        assert path.startswith(str(installed.parent)), path


def test_everything_that_the_server_reads_is_in_the_wheel(installed: Path) -> None:
    package = next(installed.parent.glob("lib/python*/site-packages/server"))
    for name in ("static", "templates"):
        ours = {path.relative_to(ROOT) for path in (ROOT / name).rglob("*") if path.is_file()}
        theirs = {path.relative_to(package) for path in (package / name).rglob("*")}
        assert ours and ours <= theirs
    assert (package / "translations/en.po").is_file()
    assert (package / "db/migrations/script.py.mako").is_file()
    assert not any("tests" in path.parts for path in package.parent.glob("*"))


def test_the_demo_runs_from_an_empty_folder(installed: Path, empty: Path) -> None:
    environment, work = _environment(empty), empty / "work"
    work.mkdir()
    log = empty / "log"
    with log.open("wb") as errors:
        demo = subprocess.Popen(
            [str(installed / "diemcau"), "demo", "--port", "0", "--simulate", "1"],
            cwd=work,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        assert demo.stdout
        line = demo.stdout.readline()
        assert line, log.read_text()
        told = json.loads(line)
        base = told["base_url"]
        deadline = time.monotonic() + PATIENCE_S
        while _get(base + "/healthz")[0] != 200:
            assert demo.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        for role, url in told["urls"].items():
            status, page = _get(url)
            assert status == 200 and b'name="csrf"' in page, role
        font = next((ROOT / "static/vendor").rglob("*.woff2")).relative_to(ROOT)
        for path in (*NEEDED, f"/{font}"):
            status, content = _get(base + path)
            assert status == 200 and content, path
        family = _descendants(demo.pid)
        assert len(family) >= 4, "web, worker, recorder, simulation"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(PATIENCE_S) == 0, log.read_text()
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait()
        if demo.stdout:
            demo.stdout.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in family)
    assert not list(work.iterdir()), "nothing is written to where one stands"
    assert not list((empty / "tmp").iterdir()), "the demo's own folder is gone"
    assert "Traceback" not in log.read_text()
