"""Web's connection to one media worker: frames, numbered requests, reconnects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
import structlog

from server.media import messages

log = structlog.get_logger("worker_link")

RETRY_S = 0.2
SILENCE_S = 10.0
"""a worker reports its load every two seconds: one that says nothing for so long hangs"""
Answer = messages.Answered | messages.Refused


class WorkerLink:
    """Keeps one stream to a worker's control socket (a path, or ``host:port`` elsewhere).

    A worker is there once it has said something: the kernel accepts for one that hangs. ``heard``
    gets every message; ``arrived`` is called when it is there (again), ``ended`` after each end
    that we did not wish. What is sent while it is not there is dropped: ``arrived`` sends the
    desired state again.
    """

    def __init__(
        self,
        address: str,
        heard: Callable[[WorkerLink, messages.FromWorker], None],
        arrived: Callable[[WorkerLink], None],
        ended: Callable[[WorkerLink], None],
    ) -> None:
        self.address = address
        self.connected = asyncio.Event()
        self.reconnects = 0
        self._heard = heard
        self._arrived = arrived
        self._ended = ended
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._request = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect, and to connect again."""
        self._task = asyncio.create_task(self._keep(), name=f"link {self.address}")

    async def stop(self) -> None:
        """Disconnect for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def send(self, message: messages.ToWorker) -> None:
        """Send now, or drop where there is no connection."""
        if self._writer is not None:
            self._writer.write(messages.encode(message))

    async def ask(self, message: messages.ToWorker, timeout_s: float) -> Answer | None:
        """Send a request under a new number and await its answer; None where none comes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.connected.wait()
                self._request += 1
                number = self._request
                answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
                self._waiting[number] = answer
                try:
                    self.send(msgspec.structs.replace(message, request=number))
                    return await answer
                except ConnectionError:
                    return None
                finally:
                    del self._waiting[number]
        return None

    async def _keep(self) -> None:
        while True:
            try:
                reader, writer = await self._open()
            except OSError:
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await self._listen(reader, writer)
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                log.warning("worker's stream broke", address=self.address, error=repr(error))
            finally:
                was_there = self.connected.is_set()
                self._lost(writer)
            if was_there:
                log.warning("worker is gone, connecting again", address=self.address)
                self.reconnects += 1
                self._ended(self)
            await asyncio.sleep(RETRY_S)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if "/" in self.address:
            return await asyncio.open_unix_connection(self.address)
        host, _, port = self.address.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = messages.Decoder(messages.FromWorker)
        while data := await self._read(reader):
            for message in decoder.feed(data):
                assert isinstance(message, messages.FromWorker)
                if not self.connected.is_set():
                    self._writer = writer
                    self.connected.set()
                    self._arrived(self)
                if isinstance(message, Answer):
                    answer = self._waiting.get(message.request)
                    if answer is not None and not answer.done():
                        answer.set_result(message)
                    continue
                try:
                    self._heard(self, message)
                except Exception:
                    log.exception("message not handled", kind=type(message).__name__)

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> bytes:
        # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with data
        # (python/cpython#86296), and a worker reports often: the link would never end.
        async with asyncio.timeout(SILENCE_S):
            return await reader.read(1 << 16)

    def _lost(self, writer: asyncio.StreamWriter) -> None:
        self.connected.clear()
        self._writer = None
        writer.transport.abort()  # one that hangs reads nothing: a close would wait for it
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError("worker is gone"))
