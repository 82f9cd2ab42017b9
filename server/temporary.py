"""Temporary folders that do not outlive their process, even where it is killed.

Whoever makes one holds a lock (flock(2)) on a file in it, which the kernel lets go of when the
process ends however it may; the next one to make a folder removes those that nobody holds.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "diemcau-"
_LOCK = "lock"

_held: dict[Path, int] = {}
"""folder → descriptor of its lock; not inherited by children"""


def make(about: str = "") -> Path:
    """A new folder of this user alone, removed by ``remove`` or at the end of the process."""
    _sweep()
    while True:
        # A short path: the name of a Unix socket in it holds 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix=PREFIX + about))
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        if _take(lock) and (folder / _LOCK).exists():
            break
        os.close(lock)  # somebody swept between the file and its lock
    if not _held:
        atexit.register(_remove_all)
    _held[folder] = lock
    return folder


def remove(folder: Path) -> None:
    """Remove it with all it holds."""
    shutil.rmtree(folder, ignore_errors=True)
    if (lock := _held.pop(folder, None)) is not None:
        os.close(lock)


def _remove_all() -> None:
    for folder in list(_held):
        remove(folder)


def _sweep() -> None:
    """Remove what killed processes of this user left behind."""
    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue  # another program's, or just gone
        try:
            if _take(lock):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
