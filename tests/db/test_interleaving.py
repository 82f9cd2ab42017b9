"""Commands, outages, killed connections, restarts and reconnects in any order (a state machine).

Whatever happens: what was acknowledged is there, once; what was published is stored; the journal
has no gap; and every page ends with the state that a fresh snapshot has.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from server import protocol as p
from server.activities.models import Run
from server.batch import server_actor
from server.db import journal
from server.db.engine import Database
from server.db.journal import JournalEntry, Published
from server.errors import DomainError, Unavailable
from server.inbox import Inbox, utc_now
from server.permissions import Actor
from server.questions.models import Question
from server.snapshot import build_with_seq
from server.state import State, apply
from tests.cast import Cast, bring_in
from tests.db.test_outage import away

pytestmark = pytest.mark.long

PATIENCE_S = 60.0
_slugs = (f"vong-{number}" for number in itertools.count())


@dataclass
class Sent:
    """One command, sent under one key until it is answered for good."""

    actor: Actor
    command: p.Command
    key: str
    future: asyncio.Future[dict[str, Any]]
    answers: list[dict[str, Any] | DomainError] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        return bool(self.answers) and isinstance(self.answers[-1], dict)


@dataclass
class Page:
    """A client: the state that it was given, and the events that it has applied since."""

    actor: Actor
    state: State = field(default_factory=dict)
    seq: int = 0
    connected: bool = False

    def hear(self, events: Sequence[Published]) -> None:
        for event in events:
            if event.seq <= self.seq:
                continue  # committed before this page read the journal, published after
            assert event.seq == self.seq + 1, "no event is missing"
            self.seq = event.seq
            if event.heard_by(self.actor):
                assert not isinstance(p.EVENTS[event.type].effect, p.Reload)
                self.state = apply(self.state, event.type, as_received(event.data))


def as_received(data: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(data))


class Conference(RuleBasedStateMachine):
    """One conference with a quiz item open, on a database that comes and goes."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.outage = ExitStack()
        self.broken = False
        self.sent: list[Sent] = []
        self.keys = itertools.count()
        self.heard: list[Published] = []
        self.pages: list[Page] = []
        self.start()
        self.cast = self.waits_for(self.inbox.transact(self.brings_in))
        quiz = p.QuizItem(text="?", options=("A", "B"), correct=0, seconds=3600)
        made = self.does(self.cast.moderator, p.CreateActivity(title="Bài", items=(quiz,)))
        self.activity: int = made["activity"]
        self.run: int = self.does(self.cast.moderator, p.LaunchActivity(activity=self.activity))[
            "run"
        ]
        self.item = self.database.read_now(lambda s: s.get_one(Run, self.run).item_id)
        cast = self.cast
        self.pages = [
            Page(actor) for actor in (cast.trainee, cast.operator, cast.moderator, cast.display)
        ]
        for page in self.pages:
            self.loads(page)

    # --- what the rules use ---

    def start(self) -> None:
        self.database = Database(self.url, readers=1)
        self.inbox = Inbox(self.database)
        self.inbox.listen(self)

        async def start() -> None:
            self.inbox.start()

        self.waits_for(start())

    def publish(self, events: Sequence[Published]) -> None:
        self.heard += events
        for page in self.pages:
            if page.connected:
                page.hear(events)

    async def rights_changed(self, conference_id: int) -> None: ...

    def waits_for(self, what: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(what, PATIENCE_S))

    def brings_in(self, session: Any) -> Cast:
        return bring_in(session, next(_slugs))

    def does(self, actor: Actor, command: p.Command) -> Any:
        return self.waits_for(self.inbox.submit(actor, command))

    def sends(self, actor: Actor, command: p.Command, key: str | None = None) -> None:
        key = key or f"key {next(self.keys)}"
        future = self.inbox.enqueue(actor, command, key)
        self.sent.append(Sent(actor, command, key, future))

    def loads(self, page: Page) -> None:
        state, page.seq = self.database.read_now(build_with_seq, page.actor, utc_now())
        page.state, page.connected = as_received(state), True

    def answered(self) -> None:
        """Wait until nothing is on its way."""
        waiting = [sent for sent in self.sent if not sent.future.done()]
        if waiting:
            self.waits_for(asyncio.wait([sent.future for sent in waiting]))
        for sent in self.sent:
            if len(sent.answers) == 0 or isinstance(sent.answers[-1], Unavailable):
                problem = sent.future.exception()
                assert problem is None or isinstance(problem, DomainError)
                sent.answers.append(sent.future.result() if problem is None else problem)

    # --- the rules ---

    @rule(
        what=st.lists(st.sampled_from(["check_in", "answer", "ask"]), min_size=1, max_size=12),
        option=st.integers(0, 2),
    )
    def a_crowd_acts(self, what: list[str], option: int) -> None:
        people = itertools.cycle((self.cast.trainee, self.cast.other_trainee))
        commands: dict[str, p.Command] = {
            "check_in": p.CheckIn(),
            "answer": p.Answer(run=self.run, item=self.item, option=option),
            "ask": p.AskQuestion(text="Bao giờ?"),
        }
        for name, person in zip(what, people, strict=False):
            self.sends(person, commands[name])

    @rule(muted=st.booleans())
    def the_desk_acts(self, muted: bool) -> None:
        self.sends(self.cast.moderator, p.MuteSite(site=self.cast.hue, muted=muted))
        self.sends(self.cast.trainee, p.MuteSite(site=self.cast.hue, muted=muted))

    @rule()
    def the_item_closes(self) -> None:
        self.sends(self.cast.moderator, p.CloseItem(run=self.run))

    @rule()
    def it_opens_again(self) -> None:
        self.sends(self.cast.moderator, p.ProlongItem(run=self.run))

    @rule()
    def the_clock_ticks(self) -> None:
        for command in (p.CountAttendance(), p.ExpireItems()):
            self.sends(server_actor(self.cast.conference_id), command)

    @rule(delay_s=st.sampled_from([0.0, 0.002, 0.01]))
    def time_passes(self, delay_s: float) -> None:
        self.waits_for(asyncio.sleep(delay_s))

    @rule()
    def all_are_answered(self) -> None:
        self.answered()

    @precondition(lambda self: not self.broken)
    @rule()
    def the_database_goes_away(self) -> None:
        self.outage.enter_context(away(self.url))
        self.broken = True

    @precondition(lambda self: self.broken)
    @rule()
    def the_database_comes_back(self) -> None:
        self.outage.close()
        self.broken = False

    @precondition(lambda self: not self.broken and self.url.startswith("postgresql"))
    @rule()
    def connections_are_killed(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as chief:
            chief.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid != pg_backend_pid()"
            )

    @rule()
    def refused_commands_are_sent_again(self) -> None:
        self.answered()
        for sent in self.sent:
            if isinstance(sent.answers[-1], Unavailable):
                sent.future = self.inbox.enqueue(sent.actor, sent.command, sent.key)

    @rule(number=st.integers(0, 30))
    def an_answer_is_lost_and_its_command_sent_again(self, number: int) -> None:
        if self.sent:
            sent = self.sent[number % len(self.sent)]
            self.sends(sent.actor, sent.command, sent.key)

    @rule(number=st.integers(0, 3))
    def a_page_leaves(self, number: int) -> None:
        self.pages[number].connected = False

    @precondition(lambda self: not self.broken)
    @rule(number=st.integers(0, 3), fresh=st.booleans())
    def a_page_comes_back(self, number: int, fresh: bool) -> None:
        page = self.pages[number]
        if fresh:
            self.loads(page)
        elif not page.connected:
            events = self.database.read_now(journal.read, self.cast.conference_id, page.seq, 9999)
            page.hear(events)
            page.connected = True

    @rule()
    def the_server_starts_again(self) -> None:
        self.stop()
        for page in self.pages:
            page.connected = False
        self.start()

    def stop(self) -> None:
        self.waits_for(self.inbox.stop())
        self.answered()
        self.database.close()

    # --- the promises ---

    def teardown(self) -> None:
        try:
            self.outage.close()
            self.broken = False
            self.refused_commands_are_sent_again()
            self.sends(self.cast.moderator, p.AskQuestion(text=""))  # a last batch, refused
            self.answered()
            self.check()
        finally:
            self.stop()
            self.loop.close()

    def check(self) -> None:
        for number in range(len(self.pages)):
            self.a_page_comes_back(number, fresh=False)
        with self.database.read_session() as session:
            stored = list(journal.read(session, self.cast.conference_id, 0, 9999))
            counts = (
                select(JournalEntry.type, func.count())
                .where(JournalEntry.conference_id == self.cast.conference_id)
                .group_by(JournalEntry.type)
            )
            by = {type_: count for type_, count in session.execute(counts)}
            query = select(Question.id).where(Question.conference_id == self.cast.conference_id)
            questions = set(session.scalars(query))
            fresh = [build_with_seq(session, page.actor, utc_now()) for page in self.pages]
        assert [event.seq for event in stored] == list(range(1, len(stored) + 1))
        by_seq = {event.seq: event for event in stored}
        for event in self.heard:
            assert as_received(event.wire()) == as_received(by_seq[event.seq].wire())
        assert len({event.seq for event in self.heard}) == len(self.heard)

        assert not [s for s in self.sent if isinstance(s.answers[-1], Unavailable)]
        first = {sent.key: sent for sent in reversed(self.sent)}
        for sent in self.sent:
            assert str(sent.answers[-1]) == str(first[sent.key].answers[-1]), "the first answer"
        accepted = [sent for sent in first.values() if sent.accepted]
        results: dict[type[p.Command], list[Any]] = {}
        for sent in accepted:
            results.setdefault(type(sent.command), []).append(sent.answers[-1])
        assert {r["question"] for r in results.get(p.AskQuestion, [])} == questions
        assert by.get(p.Answered.type, 0) == len(results.get(p.Answer, []))
        checked_in = {sent.actor for sent in accepted if isinstance(sent.command, p.CheckIn)}
        assert by.get(p.CheckedIn.type, 0) == len(checked_in)

        for page, (state, seq) in zip(self.pages, fresh, strict=True):
            assert (page.state, page.seq) == (as_received(state), seq)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked database is given up quickly."""
    monkeypatch.setattr("server.db.engine.BUSY_TIMEOUT_MS", 20)


def test_nothing_acknowledged_is_lost_in_any_order(impatient: None, database_url: str) -> None:
    machine = type("Conference", (Conference,), {"url": database_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
