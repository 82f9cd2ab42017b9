"""Frames to fragments to segments on disk: ``{name}-00001.m4s`` … and ``{name}.m3u8``.

A fragment is appended whole, so that a killed process loses none; each second of them is synced, and a
segment is before it is listed. A segment begins at an IDR (but for an encoder that gives none
in time) and is listed once it is whole. A frame's duration is known when the next comes, so the last
one stays open; where it stands for long, ``{name}.tail`` holds what the next fragment would be by now.
After a crash the file is cut back to its last whole fragment, the tail appended, and listed as it is.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import FileIO
from itertools import islice
from pathlib import Path

from server.recorder import fmp4
from server.recorder.fmp4 import AAC_SAMPLES, AUDIO_HZ, VIDEO_HZ, Fragment, Run, Sample
from server.recorder.playlist import Playlist, extinf, publish, sync_folder

FRAGMENT = VIDEO_HZ // 5
"""ticks from which on what has come makes a fragment"""
HELD = VIDEO_HZ // 4
"""ticks after which what is no fragment yet is kept in the tail; with ten frames a second it never is"""
CALM = 3 * VIDEO_HZ // 2
"""for both, where a crash would leave out nothing but the card"""
SYNC = VIDEO_HZ
"""ticks of fragments that a machine without power may lose: to sync costs as much as a hundred packets"""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long segments are, in seconds."""

    segment_s: float = 4.0
    """from here on the next IDR begins a new one"""
    most_s: float = 9.5
    """here it ends in any case"""
    target_s: int = 10


class Segments:
    """Writes one track of picture, with sound if ``asc`` is given, into ``folder``.

    Times are ticks of 1/90,000 s since time zero. Raises: OSError when the disk refuses.
    """

    def __init__(
        self, folder: Path, name: str, parameters: bytes, asc: bytes | None, pace: Pace
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._name, self._asc, self._pace = folder, name, asc, pace
        if not (folder / "init.mp4").exists():
            publish(folder / "init.mp4", fmp4.init(parameters, asc))
        self._playlist = Playlist.load(folder / f"{name}.m3u8", pace.target_s, "init.mp4")
        self._native: Playlist | None = None
        if asc is not None:
            self._native = Playlist.load(folder / "native.m3u8", pace.target_s, None)
        self._file: FileIO | None = None
        self._fragments: list[Fragment] = []
        self._samples: list[Sample] = []
        self._open: tuple[int, bytes, bool] | None = None
        self._audio: deque[bytes] = deque()
        self._number = self._count = 0
        self._tail = folder / f"{name}.tail"
        self._tail_end = self._synced = 0
        self.end = 0
        """up to here all is written"""
        self.audio_frames = 0
        """AAC frames on disk"""
        self._repair()
        self._segment_start = self._start = self.end
        self._playlist.publish()
        if self._native:
            self._native.publish()

    @property
    def ended(self) -> bool:
        """Is it finished?"""
        return self._playlist.ended

    @property
    def listed(self) -> int:
        """Up to here players can have it."""
        return self._segment_start

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._name}-{number:05}.m4s"

    def _repair(self) -> None:
        """Find the end of what was written before, cutting off what is not whole."""
        for path in sorted(self._folder.glob(f"{self._name}-*.m4s"), reverse=True):
            self._fragments = fmp4.scan(path)
            if not self._fragments:
                path.unlink()
                continue
            last = self._fragments[-1]
            os.truncate(path, last.offset + last.size)
            self._number = int(path.stem.rpartition("-")[2])
            self.end, self.audio_frames = last.end, (last.audio_end or 0) // AAC_SAMPLES
            break
        if self._playlist.lists(self._path(self._number).name):
            self._fragments = []
        self._take_tail()
        self._end_segment()

    def _take_tail(self) -> None:
        """Append the tail, if it goes on where the fragments end."""
        held = fmp4.scan(self._tail) if self._tail.exists() else []
        if held and held[0].start == self.end:
            self._append(self._tail.read_bytes(), held[0])

    def sound(self, frame: bytes) -> None:
        """Append the next AAC frame."""
        self._audio.append(frame)

    def frame(self, at: int, data: bytes, key: bool) -> int:
        """Append a frame of picture that is shown from ``at`` on; the first is an IDR.

        Returns when it is shown: ``at``, or a little later where it would go back in time.
        """
        if self._open is None:
            at = self._start  # the first frame begins where the last fragment ended
        else:
            at = max(at, self._open[0] + VIDEO_HZ // 1000)
            self._close(at)
            split = key and at - self._segment_start >= self._pace.segment_s * VIDEO_HZ
            split = split or at - self._segment_start >= self._pace.most_s * VIDEO_HZ
            if key or split:
                self._flush()
            if split:
                self._end_segment()
        self._open = (at, data, key)
        return at

    def finish(self, at: int) -> None:
        """End at ``at``: the last frame lasts until then, and the playlist ends."""
        if self._open is not None:
            self._close(max(at, self._open[0] + VIDEO_HZ // 1000))
            self._flush()
        self._end_segment()
        self._tail.unlink(missing_ok=True)
        for playlist in (self._playlist, self._native):
            if playlist is not None:
                playlist.ended = True
                playlist.publish()

    def stop(self, at: int) -> None:
        """Leave it at ``at``, so that it can be taken up again."""
        if self._open is not None:
            self._close(max(at, self._open[0] + VIDEO_HZ // 1000))
            self._flush()
        self._close_file()

    def keep(self, at: int, *, calm: bool = False) -> None:
        """No frame comes before ``at``: have on disk what stands until then; where it is ``calm``, later."""
        if self._open is not None and self._open[0] - self._start >= (CALM if calm else FRAGMENT):
            self._flush()
        if self._open is None or at - max(self._start, self._tail_end) < (CALM if calm else HELD):
            return
        start, data, key = self._open
        if at > start:
            samples = [*self._samples, Sample(data, at - start, key)]
            publish(self._tail, fmp4.fragment(self._count + 1, self._runs(samples)))
            self._tail_end = at

    def _close(self, at: int) -> None:
        assert self._open is not None
        start, data, key = self._open
        self._samples.append(Sample(data, at - start, key))
        self._open = None

    def _flush(self) -> None:
        """Append the frames at hand as one fragment."""
        runs = self._runs(self._samples)
        self._count += 1
        first = self._samples[0]
        parameters = fmp4.leading_parameters(first.data) if first.key else b""
        audio_end = runs[1].end if len(runs) > 1 else None
        data = fmp4.fragment(self._count, runs)
        self._append(data, Fragment(0, len(data), self._start, runs[0].end, audio_end, parameters))
        for _ in range(len(runs[1].samples) if len(runs) > 1 else 0):
            self._audio.popleft()
        self._samples, self._start = [], self.end

    def _append(self, data: bytes, fragment: Fragment) -> None:
        """Append a fragment and sync it; it lies where the others of its segment end."""
        if self._file is None:
            self._number += not self._fragments
            self._file = self._path(self._number).open("ab", buffering=0)
            sync_folder(self._folder)
        _write(self._file, data)
        offset = sum(item.size for item in self._fragments)
        self._fragments.append(replace(fragment, offset=offset))
        self.end = fragment.end
        if self.end - self._synced >= SYNC:
            os.fsync(self._file.fileno())
            self._synced = self.end
        if fragment.audio_end is not None:
            self.audio_frames = fragment.audio_end // AAC_SAMPLES

    def _runs(self, samples: Sequence[Sample]) -> list[Run]:
        """These frames, and the sound that begins before they end."""
        picture = Run(fmp4.VIDEO, self._start, samples)
        if self._asc is None:
            return [picture]
        wanted = -(-picture.end * AUDIO_HZ // (VIDEO_HZ * AAC_SAMPLES)) - self.audio_frames
        frames = islice(self._audio, max(0, wanted))
        sound = [Sample(frame, AAC_SAMPLES, True) for frame in frames]
        return [picture, Run(fmp4.AUDIO, self.audio_frames * AAC_SAMPLES, sound)]

    def _close_file(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _end_segment(self) -> None:
        self._close_file()
        if self._fragments:
            self._list_segment()
        self._fragments, self._segment_start = [], self.end

    def _list_segment(self) -> None:
        name = self._path(self._number).name
        ticks = self._fragments[-1].end - self._fragments[0].start
        self._playlist.append(extinf(ticks, VIDEO_HZ), name)
        self._playlist.publish()
        if self._native is not None:
            self._list_native(self._native, name)
            self._native.publish()

    def _list_native(self, playlist: Playlist, name: str) -> None:
        """List the same fragments as ``avc1``: a map and a discontinuity for each set of parameters."""
        maps = [line for line in playlist.entries if line.startswith("#EXT-X-MAP")]
        current = maps[-1] if maps else ""
        piece: list[Fragment] = []
        for item in self._fragments:
            entry = self._map(item.parameters) if item.parameters else current
            if entry != current:
                _append_piece(playlist, piece, name)
                playlist.append(*(["#EXT-X-DISCONTINUITY"] if current else []), entry)
                current, piece = entry, []
            piece.append(item)
        _append_piece(playlist, piece, name)

    def _map(self, parameters: bytes) -> str:
        """The map line of these parameter sets; writes their init segment."""
        uri = f"native-{hashlib.sha256(parameters).hexdigest()[:16]}.mp4"
        path = self._folder / uri
        if not path.exists():
            publish(path, fmp4.init(parameters, self._asc, b"avc1"))
        return f'#EXT-X-MAP:URI="{uri}"'


def _append_piece(playlist: Playlist, piece: list[Fragment], name: str) -> None:
    if piece:
        size = sum(item.size for item in piece)
        playlist.append(
            extinf(piece[-1].end - piece[0].start, VIDEO_HZ),
            f"#EXT-X-BYTERANGE:{size}@{piece[0].offset}",
            name,
        )


def _write(file: FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
