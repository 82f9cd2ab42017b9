"""Which Chromium plays the people: the headless shell.

It is the same engine without windows, tabs and menus, which software draws even where nobody sees
them: tests of pages take a quarter to two fifths less CPU than with the whole browser.
"""

from __future__ import annotations

import shutil

CHROMIUM = shutil.which("chromium-headless-shell")
"""Debian's program of that name; None where it is not installed."""
