"""Uploaded rosters that wait to be confirmed: one file each in the data folder, gone after a time.

What is confirmed is exactly what was previewed, since both read the same file.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path

import msgspec

from server.errors import N_, NotFound
from server.web.roster_preview import Preview
from server.web.spreadsheets import Table

LASTS_S = 2 * 3600
_ID = re.compile(r"[A-Za-z0-9_-]{22}")


class Upload(msgspec.Struct):
    """A table as it came, and its preview."""

    conference_id: int
    filename: str
    default_site: str
    table: Table
    preview: Preview


class Uploads:
    """The folder of waiting uploads."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "uploads"

    def keep(self, upload: Upload, upload_id: str | None = None) -> str:
        """Write ``upload`` and give its id; old ones are swept away."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._sweep()
        upload_id = upload_id or secrets.token_urlsafe(16)
        path = self._folder / f"{upload_id}.json"
        new = path.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(upload))
        new.replace(path)
        return upload_id

    def find(self, upload_id: str, conference_id: int) -> Upload:
        """Raises: NotFound where it is unknown, expired or another conference's."""
        try:
            if not _ID.fullmatch(upload_id):
                raise FileNotFoundError
            path = self._folder / f"{upload_id}.json"
            if time.time() - path.stat().st_mtime > LASTS_S:
                raise FileNotFoundError
            upload = msgspec.json.decode(path.read_bytes(), type=Upload)
        except (FileNotFoundError, msgspec.DecodeError) as error:
            raise NotFound(
                N_("Bản xem trước đã hết hạn hoặc đã được nhập. Hãy tải tệp lên lại.")
            ) from error
        if upload.conference_id != conference_id:
            raise NotFound()
        return upload

    def forget(self, upload_id: str) -> None:
        """Remove what was imported."""
        (self._folder / f"{upload_id}.json").unlink(missing_ok=True)

    def _sweep(self) -> None:
        for path in self._folder.iterdir():
            try:
                if time.time() - path.stat().st_mtime > LASTS_S:
                    path.unlink()
            except FileNotFoundError:  # another request sweeps too
                continue
