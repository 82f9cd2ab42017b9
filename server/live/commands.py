"""What clients ask for: to the inbox or to media, and back as acknowledgements.

A command is counted, decoded and enqueued at once, without a task; its answer is written when the
inbox has it. Whatever goes wrong is answered: a client that hears nothing would have to guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import structlog

from server.batch import Answer, CommandJob, Told
from server.errors import Broken, DomainError, SlowDown, Unauthenticated, Unavailable
from server.i18n import Language
from server.inbox import RETRY_AFTER_S, Inbox
from server.live import metrics
from server.live.client import Message, Socket
from server.live.connections import Connection
from server.live.decode import NoCommand, Plain, cut, decode
from server.live.intake import Sent
from server.live.limits import Limits
from server.live.sockets import acknowledgement
from server.protocol import Command, MediaRequest

MOST_IN_FLIGHT = 64
"""Commands of one socket that may wait for their acknowledgement."""
IN_FLIGHT_RETRY_S = 1.0

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
                if not self._admitted(connection, number, now_s):
                    continue
                command = self._plain.decode(head)
                if command is None:
                    self._post(jobs)  # what came first is done first
                    jobs = []
                    self._begin(connection, number, (b'%b"%b"]' % (head, key)).decode())
                    continue
                asker = (connection, number)
                jobs.append(CommandJob(self._told, connection.actor, command, key.decode(), asker))
        finally:  # those counted in are answered, whatever one did
            self._post(jobs)

    def one(self, socket: Socket, number: bytes, text: str) -> None:
        """One command, ``[name, payload, key]`` in whatever form."""
        connection: Connection | None = socket.owner
        if connection is None:
            self._answer(socket, number, Unauthenticated(), self._strangers_language())
        elif self._admitted(connection, number, asyncio.get_running_loop().time()):
            self._begin(connection, number, text)

    def _admitted(self, connection: Connection, number: bytes, now_s: float) -> bool:
        """Count it in, before anything is known of it: garbage takes as long to read as what is right.
        Else it is answered."""
        try:
            if connection.in_flight >= MOST_IN_FLIGHT:
                raise SlowDown(retry_after_s=IN_FLIGHT_RETRY_S)
            self._limits.admit(connection.actor.holder, connection.conference_id, now_s)
        except SlowDown as error:
            metrics.SLOWED.inc()
            self._answer(connection.socket, number, error, connection.language)
            return False
        connection.in_flight += 1
        return True

    def _release(self, connection: Connection) -> None:
        """One that was counted in waits no more."""
        connection.in_flight -= 1
        self._limits.done(connection.conference_id)

    def _begin(self, connection: Connection, number: bytes, text: str) -> None:
        """Decode and enqueue one that was counted in."""
        try:
            command, key = decode(*cut(text))
        except NoCommand:
            self._release(connection)
            connection.socket.malformed("no command")
        except Exception as error:
            self._release(connection)
            if not isinstance(error, DomainError):
                log.exception("commands.failed")
            # By no name of its own: it would hold this frame, which would hold it, and what was sent
            # with it, until the cyclic collector comes.
            self._answer(
                connection.socket,
                number,
                error if isinstance(error, DomainError) else Broken(),
                connection.language,
            )
        else:
            self._enqueue(connection, number, command, key)

    def _enqueue(
        self, connection: Connection, number: bytes, command: Command | MediaRequest, key: str
    ) -> None:
        if isinstance(command, Command):
            asker = (connection, number)
            self._post([CommandJob(self._told, connection.actor, command, key, asker)])
            return
        task = asyncio.create_task(self._media(connection, command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(partial(self._media_done, connection, number))

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

    def _media_done(
        self, connection: Connection, number: bytes, task: asyncio.Task[dict[str, Any]]
    ) -> None:
        self._release(connection)
        problem = None if task.cancelled() else task.exception()
        if problem is None and not task.cancelled():
            self._acknowledge(connection.socket, number, task.result())
            return
        if problem is not None and not isinstance(problem, DomainError):
            log.error("commands.failed", exc_info=problem)
        refused = (
            problem
            if isinstance(problem, DomainError)
            else Unavailable(retry_after_s=RETRY_AFTER_S)
        )
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
