"""The one writer: commands in, one transaction a batch, journal, commit, then events and answers.

One thread takes what waits (at most ``BATCH``) and runs it on one session. A domain error touches
only its own command, since actions decide before they write. Any other error rolls the batch
back and runs its halves, down to the one job that fails, so that it spoils no other; while the
database is away the whole batch is refused, to be sent again. Events are published in order, before the
answers of the commands that made them, and only after the commit.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import structlog
from prometheus_client import Counter, Histogram
from sqlalchemy.orm import Session

from server.batch import Answer, Batch, CommandJob, Job, Shown, Told, WorkJob
from server.db import journal, receipts
from server.db.engine import Database, is_of_database, is_outage
from server.db.journal import Published
from server.db.writer import Writer
from server.errors import Broken, DomainError, SlowDown, Unavailable
from server.people import tries
from server.permissions import Actor
from server.protocol import Command
from server.publishing import Done, Listener, deliver, resolve, tell

T = TypeVar("T")

BATCH = 2048
"""Commands in one transaction at most: a conference's burst shares one sync, some 80 ms."""
PACE_S = 0.02
"""Between the beginnings of two batches, where jobs wait already for the second: a steady stream
shares transactions as well. Who comes alone waits for nobody."""
CAPACITY = 16_384
"""Jobs that may wait; beyond it callers are told to slow down."""
PATIENCE_S = 1.0
"""A batch that waited longer for a database that is away is refused with all that wait behind it:
each of the next batches would wait as long."""
LATE_S = 3.0
"""Whoever looks after the server is told of a transaction that waited longer as of an outage: for a lock,
or for a database that stood still, and so did all behind it."""
RETRY_AFTER_S = 2.0
RECEIPTS_KEPT = timedelta(days=2)
FORGET_EVERY = timedelta(hours=1)

BATCH_COMMANDS = Histogram(
    "diemcau_inbox_batch_commands",
    "Commands written in one transaction",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, BATCH),
)
COMMIT_S = Histogram(
    "diemcau_commit_seconds",
    "Time that a commit takes, the disk's sync included",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

REFUSED = Counter("diemcau_inbox_refused", "Commands answered as later, by what was wrong", ["why"])

log = structlog.get_logger(__name__)


def utc_now() -> datetime:
    """The server's time."""
    return datetime.now(UTC)


def _idle_s() -> float:
    """For how long this thread has done nothing, since some moment: a long import is no outage."""
    return time.monotonic() - time.thread_time()


class Inbox:
    """The queue before the writer's thread. Call everything on the loop that called ``start``."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._writer = Writer(database)
        self._clock = clock
        self._queue: queue.SimpleQueue[Sequence[Job] | None] = queue.SimpleQueue()
        """as they came together; None: nothing comes behind it"""
        self._next: deque[Job] = deque()
        """taken from the queue; the writer's"""
        self._came = self._begun = 0
        """jobs, by the loop's count and by the writer's"""
        self._listeners: list[Listener] = []
        self._delivering = threading.Lock()
        """One batch may be on its way while the next one is written, no more: held while one is."""
        self._task: asyncio.Task[None] | None = None
        """that delivers one, where it waits for something"""
        self._open = False
        self._shown: Shown = {}
        self._forgot_at: datetime | None = None
        self._began_s: float | None = None
        self._away_since_s: float | None = None
        self._last_outage: tuple[float, float] | None = None
        self._unsure = Done([], frozenset(), [])
        self._asked: asyncio.Future[None] | None = None

    def listen(self, listener: Listener) -> None:
        """Have ``listener`` told of everything that is committed from now on."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Start the writer. Call once."""
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._write, name="inbox", daemon=True)
        self._open = True
        self._thread.start()

    async def stop(self) -> None:
        """Refuse what comes, finish what waits, publish and answer it."""
        if self._open:
            self._open = False
            self._queue.put(None)
            await self._stopped.wait()
            self._thread.join()

    @property
    def waiting(self) -> int:
        """How many jobs wait for the writer."""
        return self._came - self._begun

    @property
    def busy_s(self) -> float:
        """For how long the writer has been at its present batch."""
        began_s = self._began_s
        return 0.0 if began_s is None else time.monotonic() - began_s

    @property
    def last_outage(self) -> tuple[float, float] | None:
        """How long ago the database came back last, and how long it had been away, in seconds."""
        if self._last_outage is None:
            return None
        back_s, lasted_s = self._last_outage
        return time.monotonic() - back_s, lasted_s

    async def takes(self, within_s: float) -> bool:
        """Whether what is written is taken. The writer itself is asked, whatever it is at: whether it
        works or waits for a lock is known only when it answers."""
        if not self._open:
            return False
        asked = self._asked  # who comes when that is answered asks anew
        if asked is None or asked.done():
            away = self._away_since_s is not None
            if self.busy_s > within_s or away and (self._began_s is not None or self.waiting):
                return False
            asked = self._asked = self._loop.create_future()
            asked.add_done_callback(asyncio.Future.exception)  # who asked may have given up
            self._give([WorkJob(partial(resolve, asked), self._ask, writes=False)])
        await asyncio.wait([asked], timeout=within_s)
        return asked.done() and asked.exception() is None

    async def submit(
        self, actor: Actor, command: Command, key: str | None = None
    ) -> dict[str, Any]:
        """Do ``command`` and return its result, after its events were published.

        ``key`` makes a retry return the first answer; it is unique to ``actor.holder``.

        Raises: DomainError.
        """
        result: dict[str, Any] = await self.enqueue(actor, command, key)
        return result

    def enqueue(
        self, actor: Actor, command: Command, key: str | None = None
    ) -> asyncio.Future[dict[str, Any]]:
        """``submit`` without a task: the future has its result or its DomainError.

        Raises: SlowDown, Unavailable.
        """
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self.post(actor, command, key, partial(resolve, future))
        return future

    def post(self, actor: Actor, command: Command, key: str | None, told: Told) -> None:
        """``submit`` without a future: ``told`` is called, in the turn of the loop in which the
        batch's events were published. Raises: SlowDown, Unavailable.
        """
        self.post_all([CommandJob(told, actor, command, key)])

    def post_all(self, jobs: Sequence[CommandJob]) -> None:
        """``post`` of many. Raises: SlowDown, Unavailable; then none is taken."""
        self._put(jobs)

    async def transact(self, work: Callable[[Session], T]) -> T:
        """Run ``work(session)`` in a transaction of the writer; an Outcome's events are published.

        What was written before a DomainError is kept: a wrong password can be counted and refused.

        Raises: DomainError.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._put([WorkJob(partial(resolve, future), work)])
        try:
            return await future
        finally:
            del future  # which holds a refusal, whose frames hold this one

    def _put(self, jobs: Sequence[Job]) -> None:
        if not self._open:
            raise Unavailable(retry_after_s=RETRY_AFTER_S)
        if self.waiting + len(jobs) > CAPACITY:
            REFUSED.labels("full").inc(len(jobs))
            raise SlowDown(retry_after_s=RETRY_AFTER_S)
        self._give(jobs)

    def _give(self, jobs: Sequence[Job]) -> None:
        self._came += len(jobs)
        self._queue.put(jobs)

    def _deliver(self, done: Done) -> None:
        if done.rights:
            self._task = self._loop.create_task(deliver(done, self._listeners))
            self._task.add_done_callback(lambda _task: self._delivering.release())
            return
        try:
            tell(done, self._listeners)
        finally:
            self._delivering.release()

    # --- in the writer's thread ---

    def _ask(self, session: Session) -> None:
        """What ``takes`` waits for. Whether the database is away may be known only once it is its turn."""
        (journal.hold if self._away_since_s is None else journal.prove)(session)

    def _write(self) -> None:
        try:
            for jobs in self._batches():
                for done in self._attempt(jobs):
                    self._delivering.acquire()
                    self._loop.call_soon_threadsafe(self._deliver, done)
            self._delivering.acquire()
        finally:
            self._writer.close()
            self._loop.call_soon_threadsafe(self._stopped.set)

    def _batches(self) -> Iterator[list[Job]]:
        """What waits, in order, until ``stop``."""
        while self._next or self._fetch():
            began_s = time.monotonic()
            yield self._waiting_jobs(BATCH)
            if 0 < self.waiting < BATCH:
                time.sleep(max(0.0, began_s + PACE_S - time.monotonic()))

    def _fetch(self) -> bool:
        """Wait for the next that come together; False where none do."""
        some = self._queue.get()
        self._next.extend(some or ())
        return some is not None

    def _waiting_jobs(self, most: int) -> list[Job]:
        """At most so many of those that wait."""
        while len(self._next) < most and not self._queue.empty():
            if not self._fetch():
                self._queue.put(None)  # for ``_batches``: nothing comes behind it
                break
        jobs = [self._next.popleft() for _ in range(min(most, len(self._next)))]
        self._begun += len(jobs)
        return jobs

    def _attempt(self, jobs: Sequence[Job]) -> Iterator[Done]:
        began_s = time.monotonic()
        try:
            yield self._transaction(jobs)
        except Exception as error:
            if is_outage(error):
                self._say_away(error, began_s)
                waited_s = time.monotonic() - began_s
                behind = self._waiting_jobs(CAPACITY) if waited_s > PATIENCE_S else ()
                yield _refusals("database", [*jobs, *behind])
            elif len(jobs) > 1:
                log.warning("inbox.batch_failed", jobs=len(jobs), exc_info=True)
                half = len(jobs) // 2
                yield from self._attempt(jobs[:half])
                yield from self._attempt(jobs[half:])
            else:
                log.exception("inbox.job_failed", job=jobs[0].name)
                yield _refusals("error", jobs, Unavailable if is_of_database(error) else Broken)

    def _transaction(self, jobs: Sequence[Job]) -> Done:
        now = self._clock()
        self._began_s = first_s = time.monotonic()
        idle_s = _idle_s()
        try:
            with self._writer.transaction() as session:
                late = self._settled(session)
                self._forget(session, now)
                batch = Batch(session, now, jobs, self._shown)
                answers = batch.answers(jobs)
                events = [*late, *batch.write()]
                done = Done(events, self._unsure.rights | batch.rights, answers)
                self._unsure = done
                began_s = time.monotonic()
            if written := sum(job.writes for job in jobs):
                COMMIT_S.observe(time.monotonic() - began_s)
                BATCH_COMMANDS.observe(written)
            if any(isinstance(job, WorkJob) and job.writes for job in jobs):
                self._writer.forget()
        finally:
            self._began_s = None
        self._unsure = Done([], frozenset(), [])
        # A full disk takes what writes nothing.
        wrote = bool(events) or any(isinstance(job, WorkJob) for job in jobs)
        if wrote and _idle_s() - idle_s > LATE_S:
            self._say_away(TimeoutError("it answered late"), first_s)
        if self._away_since_s is not None and wrote:
            back_s = time.monotonic()
            self._last_outage = (back_s, back_s - self._away_since_s)
            self._away_since_s = None
            log.warning("inbox.database_back", after_s=round(self._last_outage[1], 1))
        return done

    def _say_away(self, error: Exception, began_s: float) -> None:
        """One line for an outage, however many commands it refuses. It began when it was first
        waited for."""
        if self._away_since_s is None:
            log.warning("inbox.database_away", error=str(error.__cause__ or error))
            self._away_since_s = began_s

    def _settled(self, session: Session) -> list[Published]:
        """Events of a commit whose answer never came, where it took place after all.

        Its commands were refused as "later": who sends them again is answered by their receipts.
        """
        return [
            event
            for event in self._unsure.events
            if event.seq <= journal.head(session, event.conference_id)
        ]

    def _forget(self, session: Session, now: datetime) -> None:
        """What nobody asks for any more, once in a while."""
        if self._forgot_at is None or now - self._forgot_at > FORGET_EVERY:
            receipts.forget(session, now - RECEIPTS_KEPT)
            tries.forget_old(session, now)
            self._shown.clear()
            self._forgot_at = now


def _refusals(why: str, jobs: Sequence[Job], of: type[DomainError] = Unavailable) -> Done:
    """Of a command our own code may say ``Broken``: the same again would fail for ever. What else is
    asked (who comes in) had better be asked again."""
    REFUSED.labels(why).inc(sum(job.writes for job in jobs))
    answers = []
    for job in jobs:
        kind = of if isinstance(job, CommandJob) else Unavailable
        after_s = RETRY_AFTER_S if kind is Unavailable else None
        answers.append(Answer(job, error=kind(retry_after_s=after_s)))
    return Done([], frozenset(), answers)
