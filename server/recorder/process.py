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
from functools import partial
from pathlib import Path

import msgspec

from server.media import messages
from server.recorder.recording import Recording

log = logging.getLogger(__name__)

QUIET_S = 0.5
"""what came longer ago is told by now: the worker notes it within 0.2 s, and gathers it for 0.3 s"""
REST_S = 2.0
"""where neither picture nor sound is recorded, only the card"""
REPORT_US = 1_000_000
SAVE_US = 5_000_000
"""from one writing of the time line to the next while nothing is cut: players get the picture in
segments as long, and to sync a file costs as much as a hundred packets"""
PATIENCE_US = 5_000_000
"""so long a recording that begins anew waits for what the worker has kept"""
RETRY_S = 2.0
"""from a failure to the next try"""
MAX_QUEUE = 200
"""messages, of packets some three a second; a disk that hangs for longer loses packets, not memory"""
READ_BYTES = 1 << 18
MAX_WRITE_BYTES = 1 << 20
Send = Callable[[messages.Recorded | messages.Keyframe], None]


def now_us() -> int:
    """The server's wall clock."""
    return time.time_ns() // 1000


def _finish_of(wanted: messages.Recording) -> messages.Finish | None:
    """How one ends that is known to have ended: at that moment, however late that is told."""
    return None if wanted.end_us is None else messages.Finish(wanted.id, wanted.end_us)


Told = messages.Show | messages.Finish | messages.Packets


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
        self._queue: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        self._shows: dict[str, messages.Show] = {}
        """the latest of each track, and the end if it was said: to begin again with"""
        self._finish = _finish_of(self.wanted)
        self._stopped = False
        self._duration_ms = 0
        self._reported_us = self._saved_us = 0
        self._known_us = 0
        """all that came until then is taken: where the disk or the machine was slow, nothing is late"""
        self.done = False
        """the recording has ended: it takes nothing any more"""
        self.start()

    def put(self, message: Told) -> None:
        """Hand over a message; media is dropped when far too much waits."""
        if not isinstance(message, messages.Packets) or self._queue.qsize() < MAX_QUEUE:
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
                self._lose_for(RETRY_S)

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
            self._take(recording)
            recording.advance(self._known_us)
            self._duration_ms = recording.duration_ms
            for source in recording.keyframes(self._known_us):
                self._send(messages.Keyframe(source, recording.id))
            if now_us() - self._saved_us >= SAVE_US:
                self._saved_us = now_us()
                recording.save()
            if now_us() - self._reported_us >= REPORT_US and not recording.ended:
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

    def _lose_for(self, seconds: float) -> None:
        """Wait for so long, or until the end; media is lost."""
        until = time.monotonic() + seconds
        while not self._stopped and time.monotonic() < until:
            self._take(None)

    def _take(self, recording: Recording | None) -> None:
        """Wait for something to come, and take what waits; of very much only some, to write in between."""
        rests = recording is not None and self._finish is None and recording.rests(self._known_us)
        wait_s = REST_S if rests else QUIET_S
        until = time.monotonic() + QUIET_S
        while not self._stopped and time.monotonic() < until:
            try:
                message = self._queue.get(timeout=wait_s)
            except queue.Empty:
                if self._is_told():
                    self._known_us = max(self._known_us, now_us() - int(QUIET_S * 1_000_000))
                return
            wait_s = 0
            if message is None:
                self._stopped = True
            else:
                self._hear(message, recording)

    def _hear(self, message: Told, recording: Recording | None) -> None:
        if isinstance(message, messages.Packets):
            self._known_us = max(self._known_us, min(message.until_us, now_us()))
            if recording is not None:
                for media in message.media:
                    recording.media(media)
        elif isinstance(message, messages.Show):
            self._shows[message.track] = message
            if recording is not None:
                recording.show(message)
        else:
            self._finish = message
            if self._is_told():
                self._known_us = max(self._known_us, message.at_us)
            if recording is not None:
                recording.finish(message.at_us)


class Connection(asyncio.BufferedProtocol):
    """One worker's, until it ends or says nonsense; one buffer for all that it says."""

    transport: asyncio.Transport

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._decoder = messages.Decoder(messages.ToRecorder)
        self._buffer = memoryview(bytearray(READ_BYTES))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It begins."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So much was read."""
        try:
            for message in self._decoder.feed(self._buffer[:nbytes]):
                self._recorder.handle(message, self)
        except (ValueError, msgspec.ValidationError) as error:
            log.warning("a worker's connection ends: %s", type(error).__name__)
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended."""
        self._recorder.leave(self)

    def send(self, message: msgspec.Struct) -> None:
        """Report; a worker that does not listen is cut off."""
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size() > MAX_WRITE_BYTES:
            self.transport.abort()
            return
        self.transport.write(messages.encode(message))


class Recorder:
    """All recordings of this process, and who hears of each."""

    def __init__(self, font_path: Path | None = None) -> None:
        self._font_path = font_path
        self._scribes: dict[str, Scribe] = {}
        self._listeners: dict[str, Connection] = {}
        self._loop = asyncio.get_running_loop()

    def handle(self, message: msgspec.Struct, worker: Connection) -> None:
        """What a worker says."""
        if isinstance(message, messages.Packets):
            self._put(message.recording, message, worker)
        elif isinstance(message, messages.Record):
            self._record(message, worker)
        elif isinstance(message, messages.Show | messages.Finish):
            self._put(message.recording, message, worker)

    def leave(self, worker: Connection) -> None:
        """It has gone; its recordings go on."""
        for recording in [id for id, other in self._listeners.items() if other is worker]:
            del self._listeners[recording]

    def _put(self, recording: str, message: Told, worker: Connection) -> None:
        scribe = self._scribes.get(recording)
        # A worker that hangs or was cut off may wake up when another one has taken over.
        feeds = self._listeners.get(recording) is worker
        if feeds and scribe is not None and not scribe.done:
            scribe.put(message)

    def _record(self, record: messages.Record, worker: Connection) -> None:
        name = record.recording.id
        self._listeners[name] = worker
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
        worker = self._listeners.get(message.recording)
        if worker is not None:
            worker.send(message)

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
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(partial(Connection, recorder), path)
    path.chmod(0o600)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with server:
        await stopped.wait()
        await recorder.stop()
