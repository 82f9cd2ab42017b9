"""What a transaction of the inbox has for the loop: events for those who listen, in order, and only then
the answers of the commands that made them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import structlog

from server.batch import Answer, Told
from server.db.journal import Published

log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Who hears what was committed; called on the loop, one batch after the other."""

    def publish(self, events: Sequence[Published]) -> None:
        """Deliver ``events``, in order of their conferences' ``seq``."""

    async def rights_changed(self, conference_id: int) -> None:
        """Look again at the seats of a conference: some were revoked or admitted."""


@dataclass(frozen=True, slots=True)
class Done:
    """What one committed (or failed) transaction has for the loop."""

    events: Sequence[Published]
    rights: frozenset[int]
    answers: Sequence[Answer]


async def deliver(done: Done, listeners: Sequence[Listener]) -> None:
    """``tell``, after it was looked at whose rights changed: who has none any more hears nothing of the
    same batch."""
    for listener in listeners:
        for conference_id in done.rights:
            try:
                await listener.rights_changed(conference_id)
            except Exception:
                log.exception("inbox.rights_failed")
    tell(done, listeners)


def tell(done: Done, listeners: Sequence[Listener]) -> None:
    """Tell what was committed, then answer; on the loop. What is committed is answered whoever fails
    to hear of it, and who fails to be told keeps it from nobody else."""
    for listener in listeners:
        try:
            if done.events:
                listener.publish(done.events)
        except Exception:
            log.exception("inbox.publish_failed")
    for told, answers in groupby(done.answers, _told):
        try:
            told(list(answers))
        except Exception:
            log.exception("inbox.answer_failed")


def _told(answer: Answer) -> Told:
    return answer.job.told


def resolve(future: asyncio.Future[Any], answers: Sequence[Answer]) -> None:
    """Wake the caller, unless it has gone."""
    [answer] = answers
    if future.done():
        return
    if answer.error is not None:
        future.set_exception(answer.error)
    else:
        future.set_result(answer.result)
