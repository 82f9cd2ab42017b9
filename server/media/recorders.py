"""Every recorder of this machine: a recording is written by the same one, whichever worker feeds it.

A conference that moves to another worker thus goes on in the very files that were open, and no two
processes ever write one recording.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from server.media import messages
from server.media.control import RecorderLink


class Recorders:
    """A link to each; ``paths`` are in the same order in every worker.

    ``on_connect(is_its)`` is called for each connection, to say everything again that concerns the
    recordings for which ``is_its(recording id)``.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        on_connect: Callable[[Callable[[str], bool]], None],
        on_message: Callable[[messages.FromRecorder], None],
    ) -> None:
        self._links = [
            RecorderLink(path, partial(on_connect, partial(self._is_its, index)), on_message)
            for index, path in enumerate(paths)
        ]

    def start(self) -> None:
        """Connect to all, and keep connected."""
        for link in self._links:
            link.start()

    async def stop(self) -> None:
        """Send what is left and disconnect."""
        await asyncio.gather(*(link.stop() for link in self._links))

    def send(self, message: msgspec.Struct) -> None:
        """To the recorder of the recording that the message is about."""
        if len(self._links) == 1:  # the rule: its packets are not to cost a checksum each
            self._links[0].send(message)
            return
        if isinstance(message, messages.Packets | messages.Show | messages.Finish):
            recording = message.recording
        else:
            assert isinstance(message, messages.Record)
            recording = message.recording.id
        self._links[self._of(recording)].send(message)

    def _of(self, recording: str) -> int:
        return zlib.crc32(recording.encode()) % len(self._links)

    def _is_its(self, index: int, recording: str) -> bool:
        return self._of(recording) == index
