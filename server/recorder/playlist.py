"""HLS playlists (RFC 8216), written whole and atomically; they grow by whole segments only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ENDED = "#EXT-X-ENDLIST"


def publish(path: Path, content: str | bytes) -> None:
    """Replace a file atomically and durably; text as UTF-8."""
    draft = path.with_name(path.name + ".tmp")
    with draft.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def master(playlist: str) -> str:
    """The master playlist: one variant; CODECS is the highest profile and level that may come."""
    return (
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-STREAM-INF:BANDWIDTH=4000000,"
        f'CODECS="avc3.640028,mp4a.40.2",RESOLUTION=1280x720\n{playlist}\n'
    )


@dataclass(slots=True)
class Playlist:
    """An EVENT playlist at ``path``; ``entries`` are the lines of its segments."""

    path: Path
    target_s: int
    """EXT-X-TARGETDURATION, fixed beforehand"""
    map_uri: str | None
    entries: list[str]
    ended: bool = False

    @classmethod
    def load(cls, path: Path, target_s: int, map_uri: str | None) -> Playlist:
        """Take up the playlist at ``path``, or begin one."""
        playlist = cls(path, target_s, map_uri, [])
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            playlist.entries = lines[len(playlist._head()) :]
            if ENDED in playlist.entries:
                playlist.entries.remove(ENDED)
                playlist.ended = True
        return playlist

    def lists(self, uri: str) -> bool:
        """Is this segment listed?"""
        return uri in self.entries

    def append(self, *lines: str) -> None:
        """Add lines of a segment; ``publish`` shows them."""
        self.entries += lines

    def publish(self) -> None:
        """Write it."""
        end = [ENDED] if self.ended else []
        publish(self.path, "\n".join([*self._head(), *self.entries, *end]) + "\n")

    def _head(self) -> list[str]:
        head = [
            "#EXTM3U",
            "#EXT-X-VERSION:7",
            f"#EXT-X-TARGETDURATION:{self.target_s}",
            "#EXT-X-MEDIA-SEQUENCE:1",
            "#EXT-X-PLAYLIST-TYPE:EVENT",
        ]
        return [*head, f'#EXT-X-MAP:URI="{self.map_uri}"'] if self.map_uri else head


def extinf(ticks: int, rate_hz: int) -> str:
    """A segment's duration line."""
    return f"#EXTINF:{ticks / rate_hz:.5f},"
