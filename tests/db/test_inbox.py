"""The inbox on both databases: one answer a key, no gap in the journal, nothing changed by half."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from server.activities.models import Run
from server.conferences.models import RosterEntry, Site
from server.db import journal
from server.db.engine import Database
from server.db.journal import Emit, JournalEntry, Published
from server.db.outcome import Outcome
from server.effects import ACTIONS
from server.errors import (
    Broken,
    Conflict,
    DomainError,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from server.inbox import Inbox, utc_now
from server.people import tries
from server.people.models import Link, Seat, WrongTry
from server.permissions import Actor, Role
from server.protocol import (
    AddSite,
    Answer,
    AskQuestion,
    CheckIn,
    CreateActivity,
    CreateConference,
    CreateLink,
    LaunchActivity,
    MuteSite,
    QuizItem,
    RevokeSeat,
    ShowOnStage,
    SiteMuted,
)
from server.questions.models import Question
from tests.cast import START, Cast


class Ear:
    """Hears what the inbox publishes."""

    def __init__(self) -> None:
        self.events: list[Published] = []
        self.rights: list[int] = []

    def publish(self, events: Sequence[Published]) -> None:
        self.events += events

    async def rights_changed(self, conference_id: int) -> None:
        self.rights.append(conference_id)


@pytest.fixture
async def inbox(database: Database) -> AsyncIterator[Inbox]:
    inbox = Inbox(database)
    inbox.start()
    yield inbox
    await inbox.stop()


@pytest.fixture
def ear(inbox: Inbox) -> Ear:
    ear = Ear()
    inbox.listen(ear)
    return ear


def seqs(database: Database, conference_id: int) -> list[int]:
    query = select(JournalEntry.seq).where(JournalEntry.conference_id == conference_id)
    return list(database.read_now(lambda s: s.scalars(query.order_by(JournalEntry.seq)).all()))


def count(database: Database, model: type[object]) -> int:
    return database.read_now(lambda s: s.scalar(select(func.count()).select_from(model)) or 0)


async def test_a_command_is_journalled_and_published_before_it_is_answered(
    inbox: Inbox, ear: Ear, cast: Cast, database: Database
) -> None:
    result = await inbox.submit(cast.trainee, AskQuestion(text="Bao giờ có thuốc?"), "k1")
    assert [event.type for event in ear.events][:2] == ["question.asked", "question.asker_named"]
    assert ear.events[0].data["id"] == result["question"]
    stored = database.read_now(journal.read, cast.conference_id, 0, 10)
    assert list(stored) == ear.events
    entry = database.read_now(lambda s: s.get(JournalEntry, (cast.conference_id, 1)))
    assert entry is not None and entry.actor == cast.trainee.holder


def _refuse(_session: Session) -> None:
    raise Conflict()


async def test_what_is_refused_is_let_go_once_it_is_answered(inbox: Inbox, cast: Cast) -> None:
    """It may be large, it holds its whole batch, and the cyclic collector comes seldom."""
    refused = (
        lambda: inbox.submit(cast.moderator, MuteSite(site=-1, muted=True), "cold"),
        lambda: inbox.submit(cast.trainee, MuteSite(site=cast.hue, muted=True), "forbidden"),
        lambda: inbox.submit(cast.trainee, Answer(run=1, item=1, option=0), "hot"),
        lambda: inbox.submit(cast.moderator, CheckIn(), "hot, forbidden"),
        lambda: inbox.transact(_refuse),
    )
    gc.collect()  # what others' tests left
    gc.disable()
    try:
        for send in refused:
            with pytest.raises(DomainError):
                await send()
        # The writer keeps its last batch until the next one.
        await inbox.submit(cast.moderator, MuteSite(site=cast.hue, muted=True))
        assert not [each for each in gc.get_objects() if isinstance(each, DomainError)]
    finally:
        gc.enable()


async def test_the_journal_has_no_gap_under_a_burst(
    inbox: Inbox, ear: Ear, cast: Cast, database: Database
) -> None:
    texts = [AskQuestion(text=f"Câu hỏi số {n}") for n in range(100)]
    answers = await asyncio.gather(
        *(inbox.submit(cast.operator, ask, f"k{n}") for n, ask in enumerate(texts))
    )
    assert len({answer["question"] for answer in answers}) == 100
    stored = seqs(database, cast.conference_id)
    assert stored == list(range(1, len(stored) + 1)) and len(stored) >= 100
    assert [event.seq for event in ear.events] == stored


async def test_a_retry_returns_the_first_answer(
    inbox: Inbox, cast: Cast, database: Database
) -> None:
    ask = AskQuestion(text="Một lần thôi")
    first, *again = await asyncio.gather(
        *(inbox.submit(cast.trainee, ask, "same") for _ in range(5))
    )
    assert again == [first] * 4
    assert await inbox.submit(cast.trainee, ask, "same") == first
    assert count(database, Question) == 1
    assert await inbox.submit(cast.other_trainee, ask, "same") != first


async def test_a_key_is_not_for_another_command(inbox: Inbox, cast: Cast) -> None:
    await inbox.submit(cast.trainee, AskQuestion(text="Câu một"), "k")
    with pytest.raises(Conflict):
        await inbox.submit(cast.trainee, AskQuestion(text="Câu hai"), "k")


async def test_a_refusal_is_repeated_too(inbox: Inbox, cast: Cast) -> None:
    mute = MuteSite(site=cast.hue, muted=True)
    errors = []
    for _ in range(2):
        with pytest.raises(Forbidden) as refusal:
            await inbox.submit(cast.trainee, mute, "k")
        errors.append((refusal.value.code, refusal.value.message))
    assert errors[0] == errors[1]


async def test_a_links_token_is_repeated_but_not_stored(
    inbox: Inbox, cast: Cast, database: Database
) -> None:
    create = CreateLink(role="operator", site=cast.hue)
    first = await inbox.submit(cast.organiser, create, "k")
    assert await inbox.submit(cast.organiser, create, "k") == first
    stored = database.read_now(lambda s: str(s.execute(text("SELECT kept FROM receipts")).all()))
    assert first["token"] not in stored
    other = Inbox(database)  # as after a restart
    other.start()
    with pytest.raises(Conflict):
        await other.submit(cast.organiser, create, "k")
    await other.stop()
    assert count(database, Link) == 1


async def test_a_domain_error_leaves_the_others(
    inbox: Inbox, cast: Cast, database: Database
) -> None:
    commands = [AskQuestion(text="Được"), MuteSite(site=10**9, muted=True), AskQuestion(text="Nữa")]
    actors = [cast.trainee, cast.moderator, cast.trainee]
    first, second, third = await asyncio.gather(
        *(inbox.submit(a, c, f"k{n}") for n, (a, c) in enumerate(zip(actors, commands))),
        return_exceptions=True,
    )
    assert isinstance(first, dict) and isinstance(third, dict)
    assert isinstance(second, DomainError) and second.code == "not_found"
    assert count(database, Question) == 2


async def test_any_other_error_touches_its_own_job_alone(
    inbox: Inbox, ear: Ear, cast: Cast, database: Database
) -> None:
    def break_down(session: Session) -> None:
        session.execute(text("UPDATE sites SET kind = 'nowhere'"))

    def mute(session: Session) -> Outcome:
        session.get_one(Site, cast.hue).muted = True
        emit = Emit(SiteMuted(id=cast.hue, muted=True))
        return Outcome(emits=[emit], conference_id=cast.conference_id)

    asked, broken, muted = await asyncio.gather(
        inbox.submit(cast.trainee, AskQuestion(text="Vẫn được hỏi"), "k"),
        inbox.transact(break_down),
        inbox.transact(mute),
        return_exceptions=True,
    )
    assert isinstance(asked, dict) and isinstance(muted, Outcome)
    assert isinstance(broken, Unavailable) and broken.retry_after_s
    assert [event.seq for event in ear.events] == seqs(database, cast.conference_id)
    assert ear.events[-1].type == "site.muted"
    assert database.read_now(lambda s: s.get_one(Site, cast.hue)).kind == "main"


async def test_what_our_own_code_fails_at_is_not_asked_for_again(
    inbox: Inbox, cast: Cast, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_a_rule(session: Session, *_: object) -> Outcome:
        session.execute(text("UPDATE sites SET kind = 'nowhere'"))
        raise AssertionError

    def looks_for_what_is_not_there(session: Session, *_: object) -> Outcome:
        session.get_one(Site, -1)
        raise AssertionError

    for fails in (breaks_a_rule, looks_for_what_is_not_there):
        with monkeypatch.context() as patch:
            patch.setitem(ACTIONS, AskQuestion, (None, fails))
            broken, shown = await asyncio.gather(
                inbox.submit(cast.trainee, AskQuestion(text="Vì sao?"), "k"),
                inbox.submit(cast.moderator, ShowOnStage(source=None), fails.__name__),
                return_exceptions=True,
            )
        assert isinstance(broken, Broken) and broken.retry_after_s is None
        assert isinstance(shown, dict)
    assert "question" in await inbox.submit(cast.trainee, AskQuestion(text="Vì sao?"), "k")


async def test_the_same_command_may_come_again_after_an_outage(
    inbox: Inbox, cast: Cast, database: Database
) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE questions RENAME TO away"))
    ask = AskQuestion(text="Máy chủ có sống không?")
    with pytest.raises(Unavailable) as refusal:
        await inbox.submit(cast.trainee, ask, "k")
    assert refusal.value.retry_after_s
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO questions"))
    assert "question" in await inbox.submit(cast.trainee, ask, "k")
    assert count(database, Question) == 1


async def test_work_before_a_domain_error_is_kept(inbox: Inbox, database: Database) -> None:
    def count_and_refuse(session: Session) -> None:
        session.execute(text("INSERT INTO unit_levels (name, rank) VALUES ('Huyện', 2)"))
        raise Invalid()

    with pytest.raises(Invalid):
        await inbox.transact(count_and_refuse)
    query = text("SELECT count(*) FROM unit_levels")
    assert database.read_now(lambda s: s.scalar(query)) == 1


async def test_wrong_tries_that_are_forgotten_fill_no_table(database: Database) -> None:
    limit_s = tries.LONGEST_MEMORY.total_seconds()
    with database.write_session() as session:
        for age_s in (1, limit_s - 60, limit_s + 60):
            at = utc_now() - timedelta(seconds=age_s)
            session.add(WrongTry(subject=f"code:1:{age_s}", count=1, last_at=at))
        session.commit()
    inbox = Inbox(database)
    inbox.start()
    await inbox.transact(lambda session: None)
    await inbox.stop()
    assert count(database, WrongTry) == 2


async def test_a_revoked_seat_can_do_nothing_not_even_in_the_same_batch(
    inbox: Inbox, ear: Ear, cast: Cast
) -> None:
    revoked, late = await asyncio.gather(
        inbox.submit(cast.organiser, RevokeSeat(seat=cast.trainee.holder), "k"),
        inbox.submit(cast.trainee, AskQuestion(text="Tôi còn đây"), "k"),
        return_exceptions=True,
    )
    assert isinstance(revoked, dict) and isinstance(late, Unauthenticated)
    assert ear.rights == [cast.conference_id]


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_what_is_known_of_seats_is_asked_again_where_somebody_wrote(
    inbox: Inbox, cast: Cast, database: Database, elsewhere: bool
) -> None:
    """A burst does not look at its seats again and again; who is revoked between two is out."""

    def revoke(session: Session) -> None:
        session.get_one(Seat, cast.trainee.holder).revoked_at = START

    for key in ("first", "second"):
        await inbox.submit(cast.trainee, CheckIn(), key)
    if elsewhere:
        with database.write_session() as session:
            revoke(session)
            session.commit()
    else:
        await inbox.transact(revoke)
    with pytest.raises(Unauthenticated):
        await inbox.submit(cast.trainee, CheckIn(), "third")
    await inbox.submit(cast.other_trainee, CheckIn(), "third")


async def test_where_people_are_expected_is_asked_again_where_somebody_wrote(
    inbox: Inbox, cast: Cast, database: Database
) -> None:
    item = QuizItem(text="?", options=("A", "B"), correct=0, seconds=60)
    quiz = await inbox.submit(cast.moderator, CreateActivity(title="Q", items=(item,)))
    run = await inbox.submit(cast.moderator, LaunchActivity(activity=quiz["activity"]))
    shown = await database.read(lambda session: session.get_one(Run, run["run"]).item_id)
    answer = Answer(run=run["run"], item=shown, option=1)
    for key in ("first", "second"):
        await inbox.submit(cast.trainee, answer, key)
    with database.write_session() as session:
        whose = RosterEntry.person_id == cast.trainee.person_id
        session.execute(delete(RosterEntry).where(whose))
        session.commit()
    with pytest.raises(NotFound):
        await inbox.submit(cast.trainee, answer, "third")
    await inbox.submit(cast.other_trainee, answer, "third")


async def test_what_is_done_elsewhere_follows_in_the_same_transaction(
    inbox: Inbox, ear: Ear, cast: Cast, database: Database
) -> None:
    account = dataclasses.replace(
        cast.organiser, holder=f"account:{cast.organiser.account_id}", conference_id=None
    )
    create = CreateConference(
        title="Hội nghị mới",
        starts_at=START,
        ends_at=START + timedelta(hours=2),
    )
    made = await inbox.submit(account, create, "k")
    assert seqs(database, made["id"]) == [1, 2]
    assert {event.conference_id for event in ear.events} == {made["id"]}
    nobody = Actor("account:0", Role.ORGANISER)
    with pytest.raises(Forbidden):
        await inbox.submit(nobody, create, "k")
    with pytest.raises(Forbidden):
        await inbox.submit(account, AddSite(name="Vinh"), "k2")


async def test_stop_finishes_what_waits_and_refuses_what_comes(
    database: Database, cast: Cast
) -> None:
    inbox = Inbox(database)
    inbox.start()
    waiting = [
        asyncio.ensure_future(inbox.submit(cast.operator, AskQuestion(text=f"Câu {n}"), f"k{n}"))
        for n in range(50)
    ]
    await asyncio.sleep(0)
    await inbox.stop()
    assert all("question" in answer for answer in await asyncio.gather(*waiting))
    with pytest.raises(Unavailable):
        await inbox.submit(cast.moderator, ShowOnStage(source=None), "late")


async def test_callers_who_leave_harm_nobody(inbox: Inbox, cast: Cast, database: Database) -> None:
    gone = asyncio.ensure_future(inbox.submit(cast.trainee, AskQuestion(text="Tôi đi đây"), "k"))
    await asyncio.sleep(0)
    gone.cancel()
    assert "question" in await inbox.submit(cast.trainee, AskQuestion(text="Còn tôi"), "k2")
    assert count(database, Question) == 2


def test_every_seat_of_the_cast_is_in_force(cast: Cast, database: Database) -> None:
    assert count(database, Seat) == len(cast.everyone())
