"""The database is away for a while: commands are refused as "later", and nothing is lost or done
twice when they are sent again."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from server.db import journal, receipts
from server.db.engine import Database
from server.errors import Unavailable
from server.inbox import COMMIT_S, Inbox
from server.protocol import AskQuestion
from server.questions.models import Question
from tests.cast import Cast, bring_in
from tests.db.test_inbox import Ear

COUNT = 20


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer waits for other processes for a third of a second only."""
    monkeypatch.setattr("server.db.engine.BUSY_TIMEOUT_MS", 300)


@pytest.fixture
async def inbox(impatient: None, database_url: str) -> AsyncIterator[Inbox]:
    database = Database(database_url)
    inbox = Inbox(database)
    inbox.start()
    yield inbox
    await inbox.stop()
    database.close()


@pytest.fixture
def cast(database_url: str) -> Cast:
    database = Database(database_url)
    with database.write_session() as session:
        cast = bring_in(session)
        session.commit()
    database.close()
    return cast


@contextmanager
def away(url: str) -> Iterator[None]:
    """SQLite: another process writes and writes. PostgreSQL: all are cut off, none may come."""
    if url.startswith("sqlite"):
        other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
        other.close()
        return
    name = url.split("/")[3].split("?")[0]
    with psycopg.connect(url.replace(f"/{name}?", "/postgres?"), autocommit=True) as chief:
        chief.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        chief.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        yield
        chief.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


async def ask_all(inbox: Inbox, cast: Cast) -> list[object]:
    """The answers to questions of one person, each under its own key."""
    asked = (
        inbox.submit(cast.trainee, AskQuestion(text=f"Câu {number}"), f"key {number}")
        for number in range(COUNT)
    )
    return list(await asyncio.gather(*asked, return_exceptions=True))


def texts(url: str) -> list[str]:
    database = Database(url)
    found = database.read_now(
        lambda s: list(s.scalars(select(Question.text).order_by(Question.id)))
    )
    database.close()
    return found


async def test_commands_wait_or_are_refused_and_may_be_sent_again(
    inbox: Inbox, cast: Cast, database_url: str
) -> None:
    ear = Ear()
    inbox.listen(ear)
    before = AskQuestion(text="Trước đó")
    kept = await inbox.submit(cast.other_trainee, before, "before")
    with away(database_url):
        refused = await ask_all(inbox, cast)
        assert {type(each) for each in refused} == {Unavailable}
        assert all(isinstance(e, Unavailable) and e.retry_after_s for e in refused)
    assert texts(database_url) == ["Trước đó"]
    answers = await ask_all(inbox, cast)
    done = [each for each in answers if isinstance(each, dict)]  # one person may not ask for ever
    assert done and texts(database_url)[1:] == [f"Câu {n}" for n in range(len(done))]
    assert await inbox.submit(cast.other_trainee, before, "before") == kept
    seqs = [each.seq for each in ear.events]
    assert seqs == list(range(1, len(seqs) + 1)), "nobody misses an event, none is told twice"


async def test_readers_are_told_to_come_again(inbox: Inbox, cast: Cast, database_url: str) -> None:
    database = Database(database_url)
    reads: Callable[[Session], int] = lambda s: journal.head(s, cast.conference_id)
    assert await database.read(reads) == 0
    with away(database_url):
        if database_url.startswith("sqlite"):
            assert await database.read(reads) == 0, "SQLite's readers wait for nobody"
        else:
            with pytest.raises(Unavailable):
                await database.read(reads)
    assert await database.read(reads) == 0
    database.close()


async def test_a_commit_whose_answer_is_lost_is_told_all_the_same(
    inbox: Inbox, cast: Cast, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = Ear()
    inbox.listen(ear)

    def lose(_committed: object) -> None:
        monkeypatch.undo()
        raise OperationalError(None, None, Exception("the connection was lost"))

    question = AskQuestion(text="Đã đến nơi chưa?")
    monkeypatch.setattr(receipts.Index, "settle", lose)
    with pytest.raises(Unavailable):
        await inbox.submit(cast.trainee, question, "key")
    assert texts(database_url) == [question.text] and not ear.events
    answer = await inbox.submit(cast.trainee, question, "key")
    assert answer["question"] > 0 and texts(database_url) == [question.text]
    assert [each.seq for each in ear.events] == list(range(1, len(ear.events) + 1)) != []


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_the_writer_says_how_long_it_waits(
    inbox: Inbox, cast: Cast, database_url: str
) -> None:
    with away(database_url):
        asked = asyncio.ensure_future(inbox.submit(cast.trainee, AskQuestion(text="?"), "key"))
        deadline = time.monotonic() + 10
        while inbox.busy_s == 0 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert inbox.busy_s > 0
    await asyncio.gather(asked, return_exceptions=True)
    assert inbox.busy_s == 0


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Another process writes, or keeps a lock that every command needs."""
    if url.startswith("sqlite"):
        with away(url):
            yield
        return
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE journal IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


async def test_the_writer_is_asked_where_nobody_writes(
    inbox: Inbox, cast: Cast, database_url: str
) -> None:
    counted = COMMIT_S._sum.get()
    assert await inbox.takes(5) and await inbox.takes(5)
    unheard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: unheard.append(told))
    with locked(database_url):
        first, second = await asyncio.gather(inbox.takes(0.05), inbox.takes(5))
        assert not first and not second, "while it waits for the lock, and when it has given up"
        assert not await inbox.takes(5)
        tried = inbox.enqueue(cast.trainee, AskQuestion(text="Được chưa?"), "key")
        assert not await inbox.takes(5), "who tries again has only just begun"
        await asyncio.wait([tried])
        assert inbox.last_outage is None, "it is not over"
    assert isinstance(tried.exception(), Unavailable) and await inbox.takes(5)
    assert inbox.last_outage and min(inbox.last_outage) > 0
    with away(database_url):
        assert not await inbox.takes(5)
    assert await inbox.takes(5)
    with locked(database_url):
        assert not await inbox.takes(0.05)
        await asyncio.sleep(1)
    assert await inbox.takes(5)
    gc.collect()
    assert not unheard, "that nobody waited for the answer is no error"
    assert COMMIT_S._sum.get() == counted, "nothing was written"
    await inbox.stop()
    assert not await inbox.takes(5)


async def test_who_waits_long_and_is_answered_after_all_met_an_outage(
    database: Database, cast: Cast, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.inbox.LATE_S", 0.2)
    inbox = Inbox(database)
    inbox.start()
    with locked(database_url):
        asked = inbox.enqueue(cast.trainee, AskQuestion(text="Còn đợi được không?"), "key")
        await asyncio.sleep(0.5)
    await asked
    assert inbox.last_outage and inbox.last_outage[1] > 0.2
    await inbox.stop()


async def test_a_writer_that_is_at_something_is_asked_as_well(
    inbox: Inbox, cast: Cast, database_url: str
) -> None:
    """Nobody is told that all is well from the beginning of an outage until it has lasted a while."""
    begun, go_on = threading.Event(), threading.Event()

    def work(_session: object) -> None:
        begun.set()
        go_on.wait(60)

    works = asyncio.ensure_future(inbox.transact(work))
    await asyncio.to_thread(begun.wait, 60)
    asked = asyncio.ensure_future(inbox.takes(60))
    await asyncio.sleep(0)
    assert not asked.done()
    go_on.set()
    await works
    assert await asked
    with locked(database_url):
        tried = inbox.enqueue(cast.trainee, AskQuestion(text="Được chưa?"), "key")
        assert not await inbox.takes(60), "as long as it tries"
        assert not await inbox.takes(60)
    await asyncio.wait([tried])
    assert await inbox.takes(60)


def _disk_full(url: str) -> OperationalError:
    cause: Exception = psycopg.errors.DiskFull("no space left on device")
    if url.startswith("sqlite"):
        cause = sqlite3.OperationalError("database or disk is full")
        cause.sqlite_errorcode = sqlite3.SQLITE_FULL
    return OperationalError("INSERT", {}, cause)


async def test_who_asks_while_the_disk_fills_up_is_not_told_well_before_something_was_written(
    inbox: Inbox, database_url: str
) -> None:
    begun, go_on, written = threading.Event(), threading.Event(), list[str]()

    def work(_session: object) -> None:
        begun.set()
        go_on.wait(60)
        raise _disk_full(database_url)

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("UPDATE"):
            written.append(statement)

    works = asyncio.ensure_future(inbox.transact(work))
    await asyncio.to_thread(begun.wait, 60)
    asked = asyncio.ensure_future(inbox.takes(60))
    await asyncio.sleep(0)
    event.listen(Engine, "before_cursor_execute", note)
    try:
        go_on.set()
        await asyncio.wait([works])
        assert isinstance(works.exception(), Unavailable)
        assert await asked and written
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_several_who_ask_over_and_over_hear_the_truth(inbox: Inbox) -> None:
    """Who asks again in the moment in which others are answered is no news for them."""

    async def asks() -> list[bool]:
        return [await inbox.takes(60) for _ in range(5)]

    assert await asyncio.gather(asks(), asks(), asks()) == 3 * [5 * [True]]


async def test_who_waits_behind_an_outage_is_refused_with_it(
    inbox: Inbox, cast: Cast, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch by batch, each would wait for the lock in its turn."""
    monkeypatch.setattr("server.inbox.PATIENCE_S", 0.1)
    monkeypatch.setattr("server.inbox.BATCH", 1)
    answered: list[int] = []
    with locked(database_url):
        asked = [
            inbox.enqueue(cast.trainee, AskQuestion(text=f"Câu {n}"), f"key {n}") for n in range(9)
        ]
        for number, future in enumerate(asked):
            future.add_done_callback(lambda _, number=number: answered.append(number))
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)
        assert answered == list(range(9)), "all in one turn"
    assert {type(each.exception()) for each in asked} == {Unavailable}
    assert await ask_all(inbox, cast) and texts(database_url)
