"""What reaches the log, whatever the format."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAILS = """
import structlog
from server import logs
logs.configure({format!r}, "info")
def sign_in(password):
    raise LookupError("broken")
try:
    sign_in("a secret" + " word")
except LookupError:
    structlog.get_logger("x").exception("request failed")
"""


@pytest.mark.parametrize("format_", ["console", "json"])
def test_a_traceback_shows_no_variables(format_: str) -> None:
    script = FAILS.format(format=format_)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "broken" in ran.stderr and "sign_in" in ran.stderr
    assert "a secret word" not in ran.stderr


SERVES = """
from server import logs
logs.configure({format!r}, "info")
from server.live.sockets import make_server
make_server().eio.logger.error("another protocol")
"""


@pytest.mark.parametrize("format_", ["console", "json"])
def test_what_the_socket_library_says_is_logged_once(format_: str) -> None:
    script = SERVES.format(format=format_)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    (line,) = ran.stderr.splitlines()
    assert "another protocol" in line and line.startswith("{") == (format_ == "json")
