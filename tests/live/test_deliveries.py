"""Publishes, reads and connections that begin, fail and end in any order (a state machine).

The real gateway with its deliveries, on a database whose reads see and return when the machine says
so, before a server whose sockets only write down. Whatever happens: a page hears nothing twice,
nothing out of order, nothing that its seat may not hear; and in the end it has what a fresh
snapshot has.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import socketio
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from server import protocol as p
from server.batch import CommandJob
from server.db.engine import Database
from server.db.journal import Published
from server.errors import Unavailable
from server.i18n import read_languages
from server.inbox import Inbox, utc_now
from server.live import presence
from server.live.gateway import Gateway
from server.people.codes import normalise_code
from server.people.models import Person
from server.permissions import Actor
from server.publishing import deliver
from server.snapshot import build_with_seq
from tests.cast import bring_in
from tests.live.stand_ins import Gate, Line, Page, Server

pytestmark = pytest.mark.long

SPINS = 12
"""turns of the loop after which nothing goes on that does not wait for the machine"""
TOLD = st.sampled_from(["later", "at once", "with rights"])
"""when the inbox delivers what is committed, if it can; with the rights read that changed"""
_slugs = (f"phat-{number}" for number in itertools.count())
_sids = (f"sid-{number}" for number in itertools.count())


class Deliveries(RuleBasedStateMachine):
    """One conference: six pages, of which two are one seat's."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.database = Database(self.url, readers=1)
        with self.database.write_session() as session:
            slug = next(_slugs)
            self.cast = cast = bring_in(session, slug)
            self.unit = f"Trạm Y tế {slug}"
            person = session.get_one(Person, cast.trainee.person_id)
            person.code = self.code = normalise_code(person.code)
            session.commit()
        self.wrong: list[str] = []
        self.journal: dict[int, Published] = {}
        self.places: dict[str, list[tuple[int, Actor | None]]] = {}
        """seat → (first seq, as whom it acts since then; None: revoked)"""
        self.committed: list[Any] = []
        self.delivering: asyncio.Task[None] | None = None
        self.breaks_after: int | None = None
        self.server, self.gate = Server(), Gate(self.database)
        self.inbox = Inbox(self.database)
        self.refreshed: list[int] = []
        self.does(self._begin())
        people = (cast.trainee, cast.trainee, cast.other_trainee, cast.operator, cast.moderator)
        self.pages = [Page(who, self.may_hear, self.wrong) for who in (*people, cast.display)]
        self.tasks: set[asyncio.Task[None]] = set()
        self.all_come()

    async def _begin(self) -> None:
        telling = SimpleNamespace(on_live=None, current=lambda _conference: {})
        steering = SimpleNamespace(telling=telling, refresh=self.refreshed.append)
        made: Any = Gateway
        self.gateway = made(
            self.server, self.inbox, self.gate, SimpleNamespace(steering=steering), read_languages()
        )
        delivery = self.gateway._delivery
        delivery.tell = partial(self.tells, delivery.tell)
        delivery.tell_places = partial(self.tells, delivery.tell_places)

    def tells(self, tell: Callable[..., None], *arguments: Any) -> None:
        """``Delivery.tell`` and ``tell_places``, in which a fault may happen after some were reached."""
        if arguments[1] not in ("snapshot", "head") and self.breaks_after is not None:
            self.breaks_after -= 1
            if self.breaks_after < 0:
                self.breaks_after = None
                raise ZeroDivisionError
        tell(*arguments)

    # --- what the rules use ---

    def does(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run until everything waits for the machine."""

        async def run() -> None:
            await work
            for _ in range(SPINS):
                await asyncio.sleep(0)

        self.loop.run_until_complete(run())

    async def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def place(self, holder: str) -> Actor | None:
        """As whom a seat acts now; None: it was revoked."""
        return self.places[holder][-1][1] if holder in self.places else self._original(holder)

    def _original(self, holder: str) -> Actor:
        return next(actor for actor in self.cast.everyone() if actor.holder == holder)

    def may_hear(self, holder: str, seq: int) -> bool:
        """Whether the seat may hear an event by what it was when that happened, or later."""
        history = [(0, self._original(holder)), *self.places.get(holder, ())]
        ends = [first for first, _ in history[1:]]
        later = [
            who for (_, who), end in itertools.zip_longest(history, ends) if not end or end > seq
        ]
        return any(who is not None and self.journal[seq].heard_by(who) for who in later)

    @property
    def head(self) -> int:
        return max(self.journal, default=0)

    def commits(self, *acts: tuple[Actor, p.Command], told: str) -> bool:
        """One transaction; whether it changed rights."""
        jobs = [CommandJob(lambda *_: None, who, what, None) for who, what in acts]
        done = self.inbox._transaction(jobs)
        self.journal |= {event.seq: event for event in done.events}
        self.committed.append(done)
        if told != "later":
            reads = len(self.gate.reads)
            self.the_inbox_delivers()
            if told == "with rights" and len(self.gate.reads) > reads:
                self.a_read_returns(-1)
        return bool(done.rights)

    def mutes(self, muted: bool) -> tuple[Actor, p.Command]:
        return self.cast.moderator, p.MuteSite(site=self.cast.hue, muted=muted)

    async def _connect(self, page: Page, sid: str, since: int | None) -> None:
        line, secret = Line(page), self.cast.secrets[page.actor.holder]
        try:
            await self.server.connect(sid, line, secret, since)
        except socketio.exceptions.ConnectionRefusedError as refused:
            self.server.lines.pop(sid, None)
            code = refused.error_args["data"]["error"]
            if code == "unauthenticated" and self.place(page.actor.holder) is not None:
                self.wrong.append("a seat in force was refused")

    # --- the rules ---

    @rule(
        what=st.lists(
            st.sampled_from(["ask", "other", "room", "here", "mute"]), min_size=1, max_size=4
        ),
        told=TOLD,
    )
    def people_act(self, what: list[str], told: str) -> None:
        ask = p.AskQuestion(text="Bao giờ?")
        acts: dict[str, tuple[Actor | None, p.Command]] = {
            "ask": (self.place(self.cast.trainee.holder), ask),
            "other": (self.place(self.cast.other_trainee.holder), ask),
            "room": (self.cast.operator, ask),
            "here": (self.place(self.cast.trainee.holder), p.CheckIn()),
            "mute": self.mutes(self.head % 2 == 0),
        }
        self.commits(*((who, command) for who, command in map(acts.get, what) if who), told=told)

    @rule(site=st.sampled_from(["hue", "da-nang"]), told=TOLD)
    def somebody_moves(self, site: str, told: str) -> None:
        """Their operator's lists are loaded anew, their own page becomes one of the other room."""
        cast, who = self.cast, self.place(self.cast.trainee.holder)
        assert who is not None
        row = p.RosterRow(name=who.name, site=site, code=self.code, unit=self.unit)
        moved = replace(who, site_id=cast.hue if site == "hue" else cast.da_nang)
        self.places.setdefault(who.holder, []).append((self.head + 1, moved))
        assert self.commits(
            (cast.organiser, p.ImportRoster(rows=(row,))), self.mutes(True), told=told
        )

    @rule(of=st.sampled_from(["other_trainee", "display"]), told=TOLD)
    def a_seat_is_revoked(self, of: str, told: str) -> None:
        holder = getattr(self.cast, of).holder
        if self.place(holder) is not None:
            self.places.setdefault(holder, []).append((self.head + 1, None))
            revoke = (self.cast.organiser, p.RevokeSeat(seat=holder))
            assert self.commits(revoke, self.mutes(True), self.mutes(False), told=told)

    @invariant()
    def the_media_worker_hears_of_every_change_of_rights(self) -> None:
        assert len(self.refreshed) >= self.gateway._rights_changes

    @precondition(lambda self: self.committed)
    @rule()  # what was not told at once
    def the_inbox_delivers(self) -> None:
        """One batch after the other, as its thread does."""
        if self.delivering is None or self.delivering.done():
            done = self.committed.pop(0)

            async def begin() -> None:
                self.delivering = await self.spawn(deliver(done, self.inbox._listeners))

            self.does(begin())

    @rule(after=st.integers(0, 2))
    def a_fault_waits(self, after: int) -> None:
        self.breaks_after = after

    @precondition(lambda self: self.gate.reads)
    @rule(number=st.integers(0, 9))
    def a_read_sees(self, number: int) -> None:
        self.gate.reads[number % len(self.gate.reads)].sees()

    @precondition(lambda self: self.gate.reads)
    @rule(number=st.integers(0, 9))
    def a_read_returns(self, number: int) -> None:
        self.gate.reads[number % len(self.gate.reads)].returns()
        self.does(asyncio.sleep(0))

    @precondition(lambda self: self.gate.reads)
    @rule(number=st.integers(0, 9), error=st.sampled_from([Unavailable, ZeroDivisionError]))
    def a_read_fails(self, number: int, error: type[Exception]) -> None:
        self.gate.reads[number % len(self.gate.reads)].future.set_exception(error())
        self.does(asyncio.sleep(0))

    @rule()
    def all_comes_to_its_end(self) -> None:
        self.settle()

    @rule(number=st.integers(0, 5), fresh=st.booleans(), seated=st.booleans())
    def a_page_connects(self, number: int, fresh: bool, seated: bool) -> None:
        """Again, where it is connected; ``seated``: up to where it is to be told what it missed."""
        page = self.pages[number]
        self.a_page_leaves(number)
        page.sid = next(_sids)
        since = None if fresh or not page.state else page.seq

        async def connect() -> None:
            await self.spawn(self._connect(page, page.sid or "", since))

        self.does(connect())
        if seated and self.gate.reads:
            self.a_read_returns(-1)

    @rule(number=st.integers(0, 5))
    def a_page_leaves(self, number: int) -> None:
        self.does(self.server.disconnect(self.pages[number].sid or ""))

    @rule()
    def the_clock_ticks(self) -> None:
        self.does(asyncio.sleep(0))
        self.does(self.gateway.tick())
        here = self.gateway.presences.get(self.cast.trainee.conference_id, {})
        assert here == presence.count(self.gateway.connections, {}), "it is counted when it changes"

    @invariant()
    def nothing_was_wrong(self) -> None:
        assert not self.wrong, self.wrong

    # --- the promise ---

    def all_come(self) -> None:
        for number, page in enumerate(self.pages):
            if page.sid not in self.server.lines:
                self.a_page_connects(number, fresh=False, seated=True)
        self.settle()

    def settle(self) -> None:
        """Nothing fails any more, and all that waits comes to its end."""
        self.breaks_after = None
        while self.gate.reads or self.committed or self.tasks:
            if self.gate.reads:
                self.a_read_returns(0)
            elif self.committed:
                self.the_inbox_delivers()
            self.does(asyncio.sleep(0))

    def teardown(self) -> None:
        try:
            self.settle()
            self.all_come()
            self.the_clock_ticks()
            self.nothing_was_wrong()
            self.check()
        finally:
            self.does(self.gateway.stop())
            self.loop.close()
            self.database.close()

    def check(self) -> None:
        for page in self.pages:
            who = self.place(page.actor.holder)
            if who is None:
                assert page.sid not in self.server.lines, "it was cut, and is not let in again"
                continue
            state, seq = self.database.read_now(build_with_seq, who, utc_now())
            assert page.sid in self.server.lines
            fresh = json.loads(json.dumps(state))
            stale = {key: page.state.get(key) for key in fresh if page.state.get(key) != fresh[key]}
            assert not stale, (who.role, {key: fresh[key] for key in stale})
            assert page.seq == seq


Step = Callable[[Deliveries], None]
AWKWARD: dict[str, list[Step]] = {
    "moved while it catches up, and cut before its fresh snapshot": [
        lambda it: it.a_page_connects(0, fresh=False, seated=True),
        lambda it: it.somebody_moves("hue", told="with rights"),
        lambda it: it.a_read_returns(0),
        lambda it: it.a_read_fails(0, Unavailable),
    ],
    "revoked between the read of its seat and the answer": [
        lambda it: it.a_page_connects(5, fresh=False, seated=False),
        lambda it: it.a_read_sees(0),
        lambda it: it.a_seat_is_revoked("display", told="at once"),
        lambda it: it.a_read_returns(1),
    ],
    "revoked, which cannot be read": [
        lambda it: it.a_seat_is_revoked("display", told="at once"),
        lambda it: it.a_read_fails(0, Unavailable),
    ],
    "a reload, and cut before its fresh snapshot": [
        lambda it: it.somebody_moves("hue", told="with rights"),
        lambda it: it.a_read_fails(0, ZeroDivisionError),
        lambda it: it.a_read_fails(0, ZeroDivisionError),
    ],
}
"""What the machine found, or would find seldom."""


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for a time, each tick tells heads."""
    monkeypatch.setattr("server.live.gathering.PACE_S", 0)
    monkeypatch.setattr("server.live.gateway.HEAD_EVERY", 1)


@pytest.mark.parametrize("kind", ["sqlite"])
@pytest.mark.parametrize("steps", AWKWARD.values(), ids=AWKWARD)
def test_awkward_moments(hasty: None, database_url: str, steps: list[Step]) -> None:
    machine = type("Deliveries", (Deliveries,), {"url": database_url})()
    try:
        for step in steps:
            step(machine)
    finally:
        machine.teardown()


@pytest.mark.parametrize("kind", ["sqlite"])
def test_every_page_ends_with_what_a_fresh_snapshot_has(hasty: None, database_url: str) -> None:
    machine = type("Deliveries", (Deliveries,), {"url": database_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
