"""The worker's two local sockets: web connects to ours, and we connect to the recorder's.

Both carry the frames of ``messages``. Neither side's absence stops media.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from server.media import messages

log = logging.getLogger(__name__)

MAX_UNSENT_BYTES = 8 << 20
"""beyond this web is cut off (it resynchronises), and media for the recorder is dropped"""
READ_BYTES = 1 << 16
MOST_RECENT = 6000
"""packets kept for a recorder that comes (again); with MTU-sized ones less than may be unsent"""
RECENT_US = 5_000_000
"""so much of the past it is told again: more than from one keyframe to the next"""
TOGETHER_S = 0.3
"""so long media for the recorder is gathered, which writes one fragment of it: each costs as much as
many packets do, and all of one run quicker together"""
MOST_TOGETHER = 1000
"""packets in one message: less than a frame may hold"""
BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)


class ControlServer:
    """Where web connects. ``on_message(message, reply)`` is called for each message.

    ``on_connect(send)`` is called for each new connection, to tell it how things are.
    """

    def __init__(
        self,
        path: Path,
        on_connect: Callable[[Callable[[msgspec.Struct], None]], None],
        on_message: Callable[[messages.ToWorker, Callable[[msgspec.Struct], None]], None],
    ) -> None:
        self._path = path
        self._on_connect = on_connect
        self._on_message = on_message
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen, in place of a socket that a killed predecessor may have left."""
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(self._path.stat().st_mode):
                self._path.unlink()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(os.fspath(self._path))
        self._path.chmod(0o600)
        self._server = await asyncio.start_unix_server(self._serve, sock=sock)

    async def stop(self) -> None:
        """Close every connection and the socket."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def send(self, message: msgspec.Struct) -> None:
        """To every connection (usually one)."""
        data = messages.encode(message)
        for writer in tuple(self._writers):
            self._write(writer, data)

    def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            log.warning("control connection does not read: cut off")
            writer.transport.abort()
            return
        writer.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        decoder = messages.Decoder(messages.ToWorker)

        def reply(message: msgspec.Struct) -> None:
            self._write(writer, messages.encode(message))

        try:
            self._on_connect(reply)
            self._writers.add(writer)
            while data := await reader.read(READ_BYTES):
                for message in decoder.feed(data):
                    self._on_message(message, reply)  # type: ignore[arg-type]
        except (OSError, asyncio.CancelledError):
            pass
        except (ValueError, msgspec.MsgspecError):
            log.warning("control connection speaks another language: closed", exc_info=True)
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()


class RecorderLink:
    """Our connection to the recorder, made again whenever it breaks.

    ``on_connect()`` is called for each connection, to say everything again. Then it gets the media of
    the last seconds again, from before a killed recorder's last fragment on, and what came meanwhile;
    one that has them already drops them as doubles.
    """

    def __init__(
        self,
        path: Path,
        on_connect: Callable[[], None],
        on_message: Callable[[messages.FromRecorder], None],
    ) -> None:
        self._path = path
        self._on_connect = on_connect
        self._on_message = on_message
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._recent: deque[messages.Packets] = deque()
        self._kept = 0
        """packets in ``_recent``"""
        self._gathered: list[messages.Packets] = []
        """what goes out together"""
        self._flush: asyncio.TimerHandle | None = None
        self.dropped = 0
        """packets that the recorder was too slow for"""

    def start(self) -> None:
        """Connect, and keep connected, in a task of our own."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Send what is left and disconnect."""
        if self._writer is not None:
            self._write()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await self._writer.drain()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1)

    def send(self, message: msgspec.Struct) -> None:
        """Send; while disconnected media waits, and all else is dropped: ``on_connect`` says it again."""
        writer = self._writer
        away = writer is None or writer.is_closing()
        if isinstance(message, messages.Packets):
            self._keep(message, message.until_us - RECENT_US if not away else 0)
            if not away:
                self._gather(message)
            return
        if writer is None or away:
            return
        if isinstance(message, messages.Record):
            message = msgspec.structs.replace(message, until_us=self._newest_us(message))
        self._write()
        writer.write(messages.encode(message))

    def _keep(self, message: messages.Packets, from_us: int) -> None:
        """For a recorder that comes again; what is older goes, and what is too much."""
        recent = self._recent
        recent.append(message)
        self._kept += _packets(message)
        while recent[0].until_us < from_us or self._kept > MOST_RECENT:
            self._kept -= _packets(recent.popleft())

    def _gather(self, message: messages.Packets) -> None:
        self._gathered.append(message)
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(TOGETHER_S, self._write)

    def _write(self) -> None:
        """All that was gathered; nothing while disconnected, what is recent comes again."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        gathered, self._gathered = self._gathered, []
        writer = self._writer
        if writer is None or writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            before, self.dropped = self.dropped, self.dropped + sum(map(_packets, gathered))
            if not before or before // 1000 < self.dropped // 1000:
                log.warning("recorder does not keep up: packets dropped=%d", self.dropped)
            return
        for data in _frames(gathered):
            writer.write(data)

    def _newest_us(self, record: messages.Record) -> int:
        name = record.recording.id
        times = (m.until_us for m in reversed(self._recent) if m.recording == name)
        return next(times, 0)

    async def _run(self) -> None:
        tries = 0
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path)
            except OSError:
                await asyncio.sleep(BACKOFF_S[min(tries, len(BACKOFF_S) - 1)])
                tries += 1
                continue
            tries = 0
            self._writer = writer
            self._gathered.clear()
            try:
                self._on_connect()
                for data in _frames(self._recent):
                    writer.write(data)
                await self._read(reader)
            except OSError as error:  # the recorder died; its supervisor starts another
                log.warning("recorder connection broke: %s", error)
            except (ValueError, msgspec.MsgspecError):
                log.warning("recorder speaks nonsense", exc_info=True)
            finally:
                self._writer = None
                writer.close()
            await asyncio.sleep(BACKOFF_S[0])

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = messages.Decoder(messages.FromRecorder)
        while data := await reader.read(READ_BYTES):
            for message in decoder.feed(data):
                self._on_message(message)  # type: ignore[arg-type]


def _packets(message: messages.Packets) -> int:
    """How many they are."""
    if len(message.media) == 1:
        return len(message.media[0].packets)
    return sum([len(media.packets) for media in message.media])


def _frames(told: Iterable[messages.Packets]) -> Iterator[bytes]:
    """Those of each recording together, ready for the socket."""
    together: dict[str, list[messages.Packets]] = {}
    for message in told:
        together.setdefault(message.recording, []).append(message)
    for recording, some in together.items():
        media: list[messages.Media] = []
        count = 0
        for message in some:
            media += message.media
            count += _packets(message)
            if count >= MOST_TOGETHER or message is some[-1]:
                one = messages.Packets(recording, message.until_us, tuple(media))
                yield messages.encode(one)
                media, count = [], 0
