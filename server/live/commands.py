"""What clients ask for: to the inbox or to media, and back as acknowledgements.

A command is decoded and enqueued at once, without a task; its answer is written when the inbox has
it. Whatever goes wrong is answered: a client that hears nothing would have to guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import structlog
from msgspec import Raw

from server.batch import Answer, CommandJob, Told
from server.errors import Broken, DomainError, SlowDown, Unauthenticated, Unavailable
from server.i18n import Language
from server.inbox import Inbox
from server.live import metrics
from server.live.client import Message, Socket
from server.live.connections import Connection
from server.live.decode import Plain, decode
from server.live.intake import Sent
from server.live.limits import Limits
from server.live.sockets import acknowledgement
from server.protocol import Command, MediaRequest

MOST_IN_FLIGHT = 64
"""Commands of one socket that may wait for their acknowledgement."""

Media = Callable[[Connection, MediaRequest], Coroutine[Any, Any, dict[str, Any]]]
"""Does a request. Raises: DomainError."""

log = structlog.get_logger(__name__)


class Commands:
    """Of all sockets."""

    def __init__(
        self, inbox: Inbox, media: Media, strangers_language: Callable[[], Language]
    ) -> None:
        self._inbox = inbox
        self._media = media
        self._strangers_language = strangers_language
        self._limits = Limits()
        self._plain = Plain()
        self._told: Told = self._done
        self._tasks: set[asyncio.Task[Any]] = set()

    async def stop(self) -> None:
        """End every request to media."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def many(self, sent: Sequence[Sent]) -> None:
        """``one`` of many, as most come, of connections that are known."""
        now_s = asyncio.get_running_loop().time()
        jobs: list[CommandJob] = []
        try:
            for connection, number, head, key in sent:
                command = self._plain.decode(head)
                if command is None or connection.in_flight >= MOST_IN_FLIGHT:
                    self._post(jobs)
                    jobs = []
                    self._hear(connection, b'42%b%b"%b"]' % (number, head, key))
                    continue
                actor = connection.actor
                try:
                    self._limits.admit(actor.holder, actor.conference_id, now_s)
                except SlowDown as error:
                    metrics.SLOWED.inc()
                    self._answer(connection.socket, number, error, connection.language)
                    continue
                connection.in_flight += 1
                asker = (connection, number)
                jobs.append(CommandJob(self._told, actor, command, key.decode(), asker))
        finally:  # those counted in are answered, whatever one did
            self._post(jobs)

    def _hear(self, connection: Connection, packet: bytes) -> None:
        socket = connection.socket
        try:
            if socket.line is not None:
                socket.heard(socket.line, packet.decode())
        except Exception:  # nobody else's fault
            log.exception("commands.failed")
            socket.cut_off()

    def _post(self, jobs: Sequence[CommandJob]) -> None:
        """To the inbox, or back as refused."""
        if not jobs:
            return
        try:
            self._inbox.post_all(jobs)
        except DomainError as error:
            if isinstance(error, SlowDown):
                metrics.SLOWED.inc(len(jobs))
            self._done([Answer(job, error=error) for job in jobs])

    def one(
        self, socket: Socket, type_: str, arguments: Sequence[Raw] | None, number: bytes
    ) -> None:
        """One command, in whatever form."""
        connection: Connection | None = socket.owner
        if connection is None:
            self._answer(socket, number, Unauthenticated(), self._strangers_language())
            return
        try:
            self._begin(connection, type_, arguments, number)
        except DomainError as error:
            if isinstance(error, SlowDown):
                metrics.SLOWED.inc()
            self._answer(socket, number, error, connection.language)
        except Exception:
            log.exception("commands.failed", type=type_[:80])
            self._answer(socket, number, Broken(), connection.language)

    def _begin(
        self, connection: Connection, type_: str, arguments: Sequence[Raw] | None, number: bytes
    ) -> None:
        """Decode and enqueue. Raises: DomainError."""
        if connection.in_flight >= MOST_IN_FLIGHT:
            raise SlowDown(retry_after_s=1.0)
        actor, now_s = connection.actor, asyncio.get_running_loop().time()
        command, key = decode(type_, arguments)
        self._limits.admit(actor.holder, connection.conference_id, now_s)
        connection.in_flight += 1
        if isinstance(command, Command):
            self._post([CommandJob(self._told, actor, command, key, (connection, number))])
        else:
            task = asyncio.create_task(self._media(connection, command))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(partial(self._media_done, connection, number))

    def _media_done(
        self, connection: Connection, number: bytes, task: asyncio.Task[dict[str, Any]]
    ) -> None:
        connection.in_flight -= 1
        self._limits.done(connection.conference_id)
        problem = None if task.cancelled() else task.exception()
        if problem is None and not task.cancelled():
            self._acknowledge(connection.socket, number, task.result())
            return
        if problem is not None and not isinstance(problem, DomainError):
            log.error("commands.failed", exc_info=problem)
        refused = problem if isinstance(problem, DomainError) else Unavailable(retry_after_s=2.0)
        self._answer(connection.socket, number, refused, connection.language)

    def _done(self, answers: Sequence[Answer]) -> None:
        """Answer. All answers of a batch come here in the turn of the loop that published it."""
        made: dict[tuple[bytes, int], Message] = {}
        done: dict[int, int] = {}
        for answer in answers:
            connection, number = answer.job.asker
            connection.in_flight -= 1
            conference_id = connection.actor.conference_id
            done[conference_id] = done.get(conference_id, 0) + 1
            try:
                if answer.error is not None:
                    self._answer(connection.socket, number, answer.error, connection.language)
                elif number:
                    alike = number, id(answer.result)  # hundreds count alike, and get the same
                    message = made.get(alike)
                    if message is None:
                        message = made[alike] = accepted(number, answer.result)
                    connection.socket.deliver_soon(message)
            except Exception:  # nor may one who fails to be told keep it from the others
                log.exception("commands.answer_failed")
        for conference_id, count in done.items():
            self._limits.done(conference_id, count)

    def _acknowledge(self, socket: Socket, number: bytes, result: object) -> None:
        if number:
            socket.deliver_soon(accepted(number, result))

    def _answer(
        self, socket: Socket, number: bytes, refused: DomainError, language: Language
    ) -> None:
        metrics.REFUSED.labels(refused.code).inc()
        if number:
            socket.deliver_soon(acknowledgement(number, refusal(refused, language)))


def accepted(number: bytes, result: object) -> Message:
    """The answer to a command that was done."""
    return acknowledgement(number, {"ok": True, "result": result})


def refusal(error: DomainError, language: Language) -> dict[str, Any]:
    """The answer to one that is refused, in the words of its reader."""
    answer = {"ok": False, "error": error.code, "message": language.explain(error)}
    if error.retry_after_s is not None:
        return {**answer, "retry_after_s": error.retry_after_s}
    return answer
