"""Hot commands: decided together, each for itself, written by a fixed number of statements."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import event, select, text

from server.activities.models import Response, Run
from server.attendance.models import CheckIn as CheckInRow
from server.batch import Answer as Told
from server.batch import Batch, CommandJob
from server.db import bulk, journal, receipts
from server.db.engine import Database
from server.db.journal import Published
from server.errors import Conflict, DomainError, Forbidden, Invalid, NotFound
from server.people.models import Seat
from server.permissions import Actor
from server.protocol import (
    Answer,
    CheckIn,
    CloseItem,
    Command,
    CreateActivity,
    LaunchActivity,
    QuizItem,
    RevokeSeat,
)
from tests.cast import START, Cast, bring_in

Ask = tuple[Actor, Command, str | None]


class Writer:
    """Does lists of commands, each list in one transaction; on SQLite notes their statements."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.statements: list[str] = []
        self.events: list[Published] = []
        if database.engine.dialect.name == "sqlite":
            event.listen(database.engine, "connect", self._trace)

    def _trace(self, connection: sqlite3.Connection, _record: object) -> None:
        connection.set_trace_callback(self.statements.append)

    def does(self, *asked: Ask) -> list[object]:
        """Results and refusals, in the order in which they were asked for."""
        self.statements.clear()
        told: dict[int, object] = {}
        jobs = [CommandJob(partial(_note, told, n), *each) for n, each in enumerate(asked)]
        with self.database.write_session() as session:
            batch = Batch(session, START, jobs, {})
            answers = batch.answers(jobs)
            self.events = batch.write()
            session.commit()
        assert len(answers) == len(jobs)
        for answer in answers:
            answer.job.told([answer])
        return [told[n] for n in range(len(jobs))]


def _note(told: dict[int, object], number: int, answers: Sequence[Told]) -> None:
    [answer] = answers
    told[number] = answer.error or answer.result


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    writer = Writer(database)
    yield writer


@pytest.fixture
def answer(writer: Writer, cast: Cast) -> Answer:
    """An answer to the item that is open."""
    return opened(writer, cast)


def opened(writer: Writer, cast: Cast) -> Answer:
    quiz = QuizItem(text="?", options=("Đúng", "Sai"), correct=0, seconds=60)
    create = CreateActivity(title="Bài", items=(quiz,))
    [made] = writer.does((cast.moderator, create, None))
    assert isinstance(made, dict)
    launch = LaunchActivity(activity=made["activity"])
    [run] = writer.does((cast.moderator, launch, None))
    assert isinstance(run, dict)
    item = writer.database.read_now(lambda s: s.get_one(Run, run["run"]).item_id)
    return Answer(run=run["run"], item=item, option=0)


def responses(database: Database) -> dict[int, int]:
    """person → option"""
    rows = database.read_now(lambda s: s.scalars(select(Response)).all())
    return {row.person_id: row.option for row in rows}


def choosing(answer: Answer, option: int) -> Answer:
    return Answer(run=answer.run, item=answer.item, option=option)


@pytest.mark.parametrize("kind", ["sqlite"])
@pytest.mark.parametrize("kind_of", ["check_in", "answer"])
def test_hundreds_take_as_many_statements_as_one(
    writer: Writer, cast: Cast, answer: Answer, kind_of: str
) -> None:
    """Rows are written 128 by one statement, those that are left over by smaller ones."""
    command = answer if kind_of == "answer" else CheckIn()
    writer.does((cast.trainee, command, "first"))
    reads = [each for each in writer.statements if "INSERT" not in each]
    writes = len(writer.statements) - len(reads)
    count = 6 * bulk.TOGETHER
    crowd = [(cast.other_trainee, command, f"key {n}") for n in range(count)]
    assert all(isinstance(each, dict) for each in writer.does(*crowd))
    assert len([each for each in writer.statements if "INSERT" not in each]) == len(reads)
    assert len(writer.statements) - len(reads) <= 6 * writes


def test_each_answer_is_told_and_the_last_one_counts(
    writer: Writer, cast: Cast, answer: Answer, database: Database
) -> None:
    other = choosing(answer, 1)
    asked: list[Ask] = [(cast.trainee, each, None) for each in (answer, other, answer, other)]
    assert [each["option"] for each in writer.does(*asked)] == [0, 1, 0, 1]  # type: ignore[index]
    assert [each.data["option"] for each in writer.events] == [0, 1, 0, 1]
    assert responses(database) == {cast.trainee.person_id: 1}
    writer.does((cast.trainee, answer, None))
    assert responses(database) == {cast.trainee.person_id: 0}


def test_the_order_of_one_batch_is_kept(
    writer: Writer, cast: Cast, answer: Answer, database: Database
) -> None:
    close = CloseItem(run=answer.run)
    first, closed, late = writer.does(
        (cast.trainee, answer, "a"), (cast.moderator, close, "b"), (cast.other_trainee, answer, "c")
    )
    assert first == {"option": 0} and closed == {} and isinstance(late, Conflict)
    assert [each.type for each in writer.events] == ["activity.answered", "activity.item_closed"]
    assert writer.events[1].data["answered"] == 1
    assert responses(database) == {cast.trainee.person_id: 0}


def test_a_refusal_touches_its_own_command_alone(
    writer: Writer, cast: Cast, answer: Answer, database: Database
) -> None:
    stranger = dataclasses.replace(cast.trainee, holder="stranger", person_id=10**6)
    elsewhere = Answer(run=answer.run + 1, item=answer.item, option=0)
    results = writer.does(
        (cast.trainee, answer, "a"),
        (cast.operator, answer, "b"),
        (stranger, answer, "c"),
        (cast.other_trainee, choosing(answer, 7), "d"),
        (cast.other_trainee, elsewhere, "e"),
        (cast.other_trainee, choosing(answer, 1), "f"),
    )
    kinds = [type(each) for each in results]
    assert kinds == [dict, Forbidden, NotFound, Invalid, NotFound, dict]
    assert responses(database) == {cast.trainee.person_id: 0, cast.other_trainee.person_id: 1}
    keys = [(cast.trainee.holder, "a"), (cast.operator.holder, "b"), ("stranger", "c")]
    digests = [receipts.digest(*each) for each in keys]
    kept = database.read_now(receipts.find, digests)
    assert ["error" in kept[each].answer for each in digests] == [False, True, True]


def test_one_key_is_done_once_within_a_batch(
    writer: Writer, cast: Cast, answer: Answer, database: Database
) -> None:
    again = choosing(answer, 1)
    first, second, other, free = writer.does(
        (cast.trainee, answer, "k"),
        (cast.trainee, answer, "k"),
        (cast.trainee, again, "k"),
        (cast.other_trainee, again, "k"),
    )
    assert first == second == {"option": 0} and free == {"option": 1}
    assert isinstance(other, Conflict)
    assert [each.type for each in writer.events] == ["activity.answered"] * 2
    assert writer.does((cast.trainee, answer, "k")) == [first] and not writer.events


def test_a_key_is_the_same_however_its_accents_are_written(
    writer: Writer, cast: Cast, answer: Answer
) -> None:
    """Texts are stored in normal form: a key that is not is found again all the same."""
    first, same = writer.does(*[(cast.trainee, answer, "kho\u0301a")] * 2)
    assert first == same
    for key in ("kho\u0301a", "kh\u00f3a"):
        assert writer.does((cast.trainee, answer, key)) == [first] and not writer.events


def test_a_receipt_of_somebody_else_under_the_same_digest_is_no_answer(
    writer: Writer, cast: Cast, answer: Answer, database: Database
) -> None:
    theirs = receipts.Kept(
        "another seat", "their key", receipts.fingerprint(answer), {"result": {"option": 0}}
    )
    with database.write_session() as session:
        receipts.store(session, {receipts.digest(cast.trainee.holder, "k"): theirs}, START)
        session.commit()
    [refused] = writer.does((cast.trainee, answer, "k"))
    assert isinstance(refused, Conflict) and not responses(database)


def test_two_conferences_share_a_batch_and_nothing_else(
    writer: Writer, cast: Cast, answer: Answer, database: Database
) -> None:
    with database.write_session() as session:
        there = bring_in(session, "hoi-nghi-khac")
        session.commit()
    theirs = opened(writer, there)
    people = [(cast.trainee, answer), (there.trainee, theirs)] * 3
    crossed = [(there.other_trainee, answer), (cast.other_trainee, theirs)]
    results = writer.does(*((actor, command, None) for actor, command in [*people, *crossed]))
    assert [type(each) for each in results] == [dict] * 6 + [NotFound] * 2
    for conference_id in (cast.conference_id, there.conference_id):
        stored = database.read_now(journal.read, conference_id, 0, 100)
        assert [each.seq for each in stored] == list(range(1, len(stored) + 1))
        assert [each.type for each in stored].count("activity.answered") == 3
    assert set(responses(database)) == {cast.trainee.person_id, there.trainee.person_id}


def test_who_is_checked_in_gets_the_first_time_again(
    writer: Writer, cast: Cast, database: Database
) -> None:
    results = writer.does(*((cast.trainee, CheckIn(), f"k{n}") for n in range(3)))
    assert results == [results[0]] * 3 and len(writer.events) == 1
    assert writer.does((cast.trainee, CheckIn(), "later")) == [results[0]]
    rows = database.read_now(lambda s: s.scalars(select(CheckInRow)).all())
    assert [row.person_id for row in rows] == [cast.trainee.person_id]


def test_a_seat_revoked_in_the_same_batch_acts_no_more(
    writer: Writer, cast: Cast, answer: Answer, database: Database
) -> None:
    revoke = RevokeSeat(seat=cast.trainee.holder)
    before, revoked, after = writer.does(
        (cast.trainee, answer, "a"),
        (cast.organiser, revoke, "b"),
        (cast.trainee, choosing(answer, 1), "c"),
    )
    assert before == {"option": 0} and isinstance(revoked, dict)
    assert isinstance(after, DomainError) and after.code == "unauthenticated"
    assert responses(database) == {cast.trainee.person_id: 0}
    seat = database.read_now(lambda s: s.get_one(Seat, cast.trainee.holder))
    assert seat.revoked_at is not None and seat.revoked_at - START < timedelta(seconds=1)


@pytest.mark.parametrize("kind", ["sqlite"])  # PostgreSQL plans by its statistics
def test_receipts_are_found_by_their_rows(database: Database) -> None:
    asked: list[str] = []

    def trace(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_trace_callback(asked.append)

    kept = {number: receipts.Kept("seat", str(number), "f", {}) for number in (1, -2)}
    with database.write_session() as session:
        receipts.store(session, kept, START)
        session.commit()
    database.engine.dispose()
    event.listen(database.engine, "connect", trace)
    assert database.read_now(receipts.find, [1, 3, -2]) == kept
    [query] = [each for each in asked if "json_each" in each]
    explained = text(f"EXPLAIN QUERY PLAN {query}".replace(":", r"\:"))
    plan = database.read_now(lambda s: [row[3] for row in s.execute(explained)])
    assert any("SEARCH receipts USING" in step for step in plan), plan
