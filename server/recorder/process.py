"""The recorder process: a Unix stream socket for workers, and one thread for each recording.

The loop only moves messages, so that packets never wait for the disk; a recording's thread takes
them from its bounded queue, writes, and reports. A connection may come and go: recordings go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from server.media import messages
from server.recorder.recording import Recording

log = logging.getLogger(__name__)

TICK_S = 0.05
REPORT_US = 1_000_000
PATIENCE_US = 5_000_000
"""so long a recording that begins anew waits for what the worker has kept"""
RETRY_S = 2.0
"""from a failure to the next try"""
MAX_QUEUE = 20_000
"""messages; a disk that hangs for longer loses packets, not memory"""
MAX_WRITE_BYTES = 1 << 20
Send = Callable[[messages.Recorded | messages.Keyframe], None]


def now_us() -> int:
    """The server's wall clock."""
    return time.time_ns() // 1000


def _finish_of(wanted: messages.Recording) -> messages.Finish | None:
    """How one ends that is known to have ended: at that moment, however late that is told."""
    return None if wanted.end_us is None else messages.Finish(wanted.id, wanted.end_us)


class Scribe(threading.Thread):
    """Writes one recording; ``send`` may be called from this thread.

    When the disk refuses (full, gone) it says so and tries again until it is stopped; what is on
    disk by then stays, and the gap becomes the card.
    """

    def __init__(self, record: messages.Record, font_path: Path | None, send: Send) -> None:
        self.wanted, self._until_us = record.recording, record.until_us
        super().__init__(name=f"recording {self.wanted.id}", daemon=True)
        self._font_path, self._send = font_path, send
        self._begun_us = now_us()
        self._queue: queue.SimpleQueue[messages.Show | messages.Media | messages.Finish | None]
        self._queue = queue.SimpleQueue()
        self._shows: dict[str, messages.Show] = {}
        """the latest of each track, and the end if it was said: to begin again with"""
        self._finish = _finish_of(self.wanted)
        self._stopped = False
        self._duration_ms = 0
        self._reported_us = 0
        self._known_us = 0
        """all messages until then are taken: where the disk or the machine was slow, nothing is late"""
        self.done = False
        """the recording has ended: it takes nothing any more"""
        self.start()

    def put(self, message: messages.Show | messages.Media | messages.Finish) -> None:
        """Hand over a message; media is dropped when far too much waits."""
        if not isinstance(message, messages.Media) or self._queue.qsize() < MAX_QUEUE:
            self._queue.put(message)

    def stop(self) -> None:
        """Write what is whole, and end the thread."""
        self._queue.put(None)

    def run(self) -> None:
        """The thread: until the recording has ended or is left."""
        failed = False
        while not (self.done or self._stopped):
            try:
                self._write()
            except Exception as error:
                # Any exception: a fresh beginning from what is on disk mends a broken state too.
                if not failed or not isinstance(error, OSError):
                    log.exception("recording %s fails; tried again until it works", self.wanted.id)
                failed = True
                self._report("failed")
                self._take_for(RETRY_S, None)

    def _write(self) -> None:
        """Begin or go on from what is on disk."""
        with contextlib.closing(Recording(self.wanted, self._font_path)) as recording:
            self._go_on(recording)

    def _go_on(self, recording: Recording) -> None:
        for show in self._shows.values():
            recording.show(show)
        if self._finish is not None:
            recording.finish(self._finish.at_us)
        while not (recording.ended or self._stopped):
            self._take_for(TICK_S, recording)
            recording.advance(min(now_us(), self._known_us))
            self._duration_ms = recording.duration_ms
            for source in recording.keyframes(now_us()):
                self._send(messages.Keyframe(source, recording.id))
            if now_us() - self._reported_us >= REPORT_US and not recording.ended:
                recording.save()
                self._report("recording")
        self._duration_ms = recording.duration_ms
        if recording.ended:
            self.done = True
            self._report("ended")
        else:
            recording.stop()

    def _report(self, state: str) -> None:
        self._reported_us = now_us()
        self._send(messages.Recorded(self.wanted.id, state, self._duration_ms))

    def _is_told(self) -> bool:
        """What the worker had kept for us is here, or will not come any more."""
        return self._known_us >= self._until_us or now_us() - self._begun_us > PATIENCE_US

    def _take_for(self, seconds: float, recording: Recording | None) -> None:
        """Take messages for a while, or until the end; media is lost while there is no recording."""
        until = time.monotonic() + seconds
        while not self._stopped and (left := until - time.monotonic()) > 0:
            if self._queue.empty() and self._is_told():
                self._known_us = now_us()
            try:
                message = self._queue.get(timeout=left)
            except queue.Empty:
                return
            if message is None:
                self._stopped = True
            elif isinstance(message, messages.Media):
                self._known_us = max(self._known_us, min(message.at_us, now_us()))
                if recording is not None:
                    recording.media(message)
            elif isinstance(message, messages.Show):
                self._shows[message.track] = message
                if recording is not None:
                    recording.show(message)
            else:
                self._finish = message
                if recording is not None:
                    recording.finish(message.at_us)
                if self._is_told():
                    self._known_us = now_us()
                    return


class Recorder:
    """All recordings of this process, and who hears of each."""

    def __init__(self, font_path: Path | None = None) -> None:
        self._font_path = font_path
        self._scribes: dict[str, Scribe] = {}
        self._listeners: dict[str, asyncio.StreamWriter] = {}
        self._loop = asyncio.get_running_loop()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One worker's connection, until it ends or says nonsense."""
        decoder = messages.Decoder(messages.ToRecorder)
        try:
            while data := await reader.read(1 << 18):
                for message in decoder.feed(data):
                    self._handle(message, writer)
        except (ValueError, msgspec.ValidationError, ConnectionError) as error:
            log.warning("a worker's connection ends: %s", type(error).__name__)
        finally:
            for recording in [id for id, other in self._listeners.items() if other is writer]:
                del self._listeners[recording]
            writer.close()

    def _handle(self, message: msgspec.Struct, writer: asyncio.StreamWriter) -> None:
        if isinstance(message, messages.Record):
            self._record(message, writer)
        elif isinstance(message, messages.Media | messages.Show | messages.Finish):
            scribe = self._scribes.get(message.recording)
            # A worker that hangs or was cut off may wake up when another one has taken over.
            feeds = self._listeners.get(message.recording) is writer
            if feeds and scribe is not None and not scribe.done:
                scribe.put(message)

    def _record(self, record: messages.Record, writer: asyncio.StreamWriter) -> None:
        name = record.recording.id
        self._listeners[name] = writer
        scribe = self._scribes.get(name)
        if scribe is None or scribe.done:
            self._scribes[name] = Scribe(record, self._font_path, self._send)
        elif (finish := _finish_of(record.recording)) is not None:
            scribe.put(finish)

    def _send(self, message: messages.Recorded | messages.Keyframe) -> None:
        """From any thread: report to the worker that feeds the recording."""
        try:
            self._loop.call_soon_threadsafe(self._write, message)
        except RuntimeError:
            log.debug("the loop is closed; nobody listens")

    def _write(self, message: messages.Recorded | messages.Keyframe) -> None:
        writer = self._listeners.get(message.recording)
        if writer is None or writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() > MAX_WRITE_BYTES:
            writer.transport.abort()
            return
        writer.write(messages.encode(message))

    async def stop(self) -> None:
        """Leave every recording so that it can be taken up again."""
        for scribe in self._scribes.values():
            scribe.stop()
        for scribe in self._scribes.values():
            await asyncio.to_thread(scribe.join, 5)


async def run(path: Path, font_path: Path | None = None) -> None:
    """Serve at ``path`` until SIGTERM or SIGINT."""
    path.unlink(missing_ok=True)
    recorder = Recorder(font_path)
    server = await asyncio.start_unix_server(recorder.serve, path, limit=1 << 20)
    path.chmod(0o600)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with server:
        await stopped.wait()
        await recorder.stop()
