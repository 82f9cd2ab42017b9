"""Old snapshot + events == fresh snapshot: every event, every role, in Python and JavaScript.

(Zulip's ``verify_action``.) One scenario makes every event of the protocol occur.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from server import protocol as p
from server.batch import server_actor
from server.conferences.joining import join_by_pin
from server.conferences.models import AgendaItem, Conference
from server.db.engine import Database
from server.db.journal import Published
from server.inbox import Inbox
from server.permissions import Actor, Reach, Role, reach
from server.snapshot import Shared
from server.state import State, apply
from tests.cast import START, Cast

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent.parent
NODE = ROOT / "tests" / "js" / "state_check.mjs"


def as_received(data: Any) -> Any:
    """As it comes out of the wire: lists for tuples."""
    return json.loads(json.dumps(data))


@dataclass
class Stage:
    """Does commands one by one and compares, after each, everyone's state with a fresh snapshot."""

    inbox: Inbox
    database: Database
    cast: Cast
    states: dict[str, State] = field(default_factory=dict)
    actors: list[Actor] = field(default_factory=list)
    folded: set[tuple[str, Role]] = field(default_factory=set)
    """(event, who heard it and compared); an event that comes with a reload is not compared"""
    seen: set[str] = field(default_factory=set)
    steps: list[dict[str, Any]] = field(default_factory=list)
    """(before, events, after) of everyone, for the reducer in JavaScript"""
    now: datetime = START
    _keys: int = 0
    _heard: list[Published] = field(default_factory=list)

    def publish(self, events: Sequence[Published]) -> None:
        self._heard += events

    async def rights_changed(self, conference_id: int) -> None:
        pass

    def begin(self, actors: list[Actor], states: dict[str, State] | None = None) -> None:
        """Watch ``actors`` from now on."""
        self.actors = actors
        self.states = states or self.fresh(actors)

    def fresh(self, actors: list[Actor]) -> dict[str, State]:
        """Their snapshots, by seat: of one conference, and built as for many who come at once."""
        if not actors:
            return {}
        built = self.database.read_now(Shared().build, actors, 0, self.now)
        return dict(zip((actor.holder for actor in actors), as_received(built), strict=True))

    async def do(self, actor: Actor, command: p.Command) -> dict[str, Any]:
        self.now += timedelta(seconds=1)
        self._keys += 1
        result = await self.inbox.submit(actor, command, f"k{self._keys}")
        self.compare(command.type)
        return result

    def compare(self, what: str) -> None:
        heard, self._heard = self._heard, []
        self.seen |= {event.type for event in heard}
        now = self.fresh(self.actors)
        for actor in self.actors:
            before = state = self.states[actor.holder]
            events = [event for event in heard if event.heard_by(actor)]
            for event in events:
                state = apply(state, event.type, as_received(event.data))
            fresh = now[actor.holder]
            if not any(isinstance(p.EVENTS[e.type].effect, p.Reload) for e in events):
                assert state == fresh, f"after {what}, {actor.role} ({[e.type for e in events]})"
                self.folded |= {(event.type, actor.role) for event in events}
                told = [{"type": event.type, "data": event.data} for event in events]
                self.steps.append({"what": what, "before": before, "events": told, "after": fresh})
            self.states[actor.holder] = fresh


@pytest.fixture
async def stage(database: Database, cast: Cast) -> Any:
    inbox = Inbox(database, clock=lambda: stage.now)
    stage = Stage(inbox, database, cast)
    inbox.listen(stage)
    inbox.start()
    stage.begin(cast.everyone())
    yield stage
    await inbox.stop()


async def rehearse(stage: Stage) -> None:
    """Every event at least once."""
    cast, do = stage.cast, stage.do
    organiser, moderator = cast.organiser, cast.moderator
    server = server_actor(cast.conference_id)
    ends_at = START + timedelta(hours=1)

    # the conference, its people and its agenda
    update = p.UpdateConference(title="Tên mới", starts_at=START, ends_at=ends_at)
    await do(organiser, update)
    appointed = await do(organiser, p.Appoint(username="speaker-tap-huan", role="advisor"))
    await do(organiser, p.Dismiss(appointment=appointed["appointment"]))
    entries = [
        p.AgendaEntry(title=title, starts_at=START, ends_at=ends_at) for title in ("Một", "Hai")
    ]
    await do(organiser, p.SetAgenda(items=tuple(entries)))
    await do(organiser, p.SetAgenda(items=(replace_id(stage, entries[0], "Một"),)))
    item = agenda_id(stage, "Một")
    await do(moderator, p.StartItem(item=item))
    await do(moderator, p.StartItem(item=None))

    # rooms and rosters
    site = (await do(organiser, p.AddSite(name="Quảng Nam")))["site"]
    await do(organiser, p.UpdateSite(site=site, name="Tam Kỳ", kind="remote"))
    await do(moderator, p.MuteSite(site=cast.da_nang, muted=True))
    await do(moderator, p.MuteSite(site=cast.da_nang, muted=False))
    rows = tuple(p.RosterRow(name=f"Người {n}", site="da-nang", code=f"M{n}") for n in range(3))
    await do(organiser, p.ImportRoster(rows=rows))
    persons = [int(person) for person in stage.states[cast.operator.holder]["roster"]]
    spare = [person for person in persons if person != cast.trainee.person_id]

    # a room's pages come and leave, a room that is no more does too
    for role, here in (("operator", True), ("display", True), ("operator", False)):
        pages = [
            p.RoomPage(site=room, role=role, here=here, at=stage.now)
            for room in (cast.da_nang, site, 9999)
        ]
        await do(server, p.NoteConnected(pages=tuple(pages)))

    # attendance
    await do(cast.trainee, p.CheckIn())
    await do(cast.other_trainee, p.CheckIn())
    for person in spare[:2]:
        await do(cast.operator, p.Tick(person=person))
    await do(server, p.CountAttendance())
    await do(cast.operator, p.Untick(person=spare[0]))
    await do(cast.operator, p.Untick(person=cast.trainee.person_id or 0))
    await do(organiser, p.RemoveFromRoster(person=spare[1]))
    await do(server, p.CountAttendance())

    # a display asks to come in, twice
    for admit in (True, False):
        await stage.inbox.transact(
            lambda s: join_by_pin(
                s, "tap-huan", "123456", cast.da_nang, Role.DISPLAY, "d", stage.now
            )
        )
        stage.compare("join_by_pin")
        seat = next(iter(stage.states[cast.operator.holder]["admissions"]))
        await do(cast.operator, p.AdmitDisplay(seat=seat, admit=admit))

    # stage and floor
    await do(cast.operator, p.RequestFloor(reason="Xin hỏi"))
    await do(cast.operator, p.WithdrawRequest())
    request = (await do(cast.operator, p.RequestFloor()))["request"]
    await do(moderator, p.DeclineRequest(request=request))
    await do(cast.operator, p.RequestFloor())
    await do(moderator, p.GiveFloor(site=cast.da_nang))
    await do(moderator, p.GiveFloor(site=cast.hue))
    await do(moderator, p.TakeFloor(site=cast.hue))
    await do(moderator, p.ShowOnStage(source="site:da-nang"))
    await do(moderator, p.Present(source="site:hue:screen"))
    await do(moderator, p.Present(source=None))

    # questions, of a person and of a room
    asked = []
    for actor in (cast.trainee, cast.other_trainee, cast.trainee, cast.operator):
        asked.append((await do(actor, p.AskQuestion(text="Khi nào?")))["question"])
    await do(moderator, p.SetQuestionAside(question=asked[0], reason="Trùng"))
    appointments = stage.states[moderator.holder]["appointments"].values()
    speaker = next(each["id"] for each in appointments if each["role"] == "speaker")
    for question in asked[1:]:
        await do(moderator, p.ApproveQuestion(question=question, appointment=speaker))
    await do(moderator, p.PutQuestionOnStage(question=asked[1]))
    await do(moderator, p.TakeQuestionDown(question=asked[1]))
    await do(moderator, p.PutQuestionOnStage(question=asked[1]))
    await do(cast.speaker, p.FinishQuestion(question=asked[1]))
    await do(cast.speaker, p.AnswerQuestion(question=asked[2], text="Ngày mai."))
    await do(moderator, p.PutQuestionOnStage(question=asked[3]))

    # a quiz of three items
    quiz = tuple(
        p.QuizItem(text=f"Câu {n}", options=("Đúng", "Sai"), correct=0, seconds=30)
        for n in range(3)
    )
    unused = (await do(moderator, p.CreateActivity(title="Bỏ", items=quiz)))["activity"]
    await do(moderator, p.RemoveActivity(activity=unused))
    activity = (await do(moderator, p.CreateActivity(title="Bài", items=quiz)))["activity"]
    run = (await do(moderator, p.LaunchActivity(activity=activity)))["run"]
    open_item = stage.states[moderator.holder]["runs"][str(run)]["item"]
    for actor, option in ((cast.trainee, 1), (cast.trainee, 0), (cast.other_trainee, 1)):
        await do(actor, p.Answer(run=run, item=open_item, option=option))
    await do(server, p.ExpireItems())
    await do(moderator, p.ProlongItem(run=run))
    await do(moderator, p.CloseItem(run=run))
    await do(moderator, p.ProlongItem(run=run, seconds=5))
    await do(moderator, p.CloseItem(run=run))
    await do(moderator, p.RevealKey(run=run))
    await do(moderator, p.NextItem(run=run))
    stage.now += timedelta(seconds=31)
    await do(server, p.ExpireItems())
    await do(moderator, p.FinishRun(run=run))
    await do(moderator, p.LaunchActivity(activity=activity))

    # an end in the middle of everything
    await do(moderator, p.StartItem(item=item))
    await do(cast.operator, p.RequestFloor())
    await do(moderator, p.GiveFloor(site=cast.hue))
    await do(moderator, p.MoveConference(to="paused"))
    await do(moderator, p.MoveConference(to="live"))
    await do(moderator, p.MoveConference(to="ended"))
    await do(moderator, p.MoveConference(to="archived"))


def agenda_id(stage: Stage, title: str) -> int:
    query = select(AgendaItem.id).where(AgendaItem.title == title)
    return stage.database.read_now(lambda s: s.scalars(query).one())


def replace_id(stage: Stage, entry: p.AgendaEntry, title: str) -> p.AgendaEntry:
    return p.AgendaEntry(
        title=entry.title,
        starts_at=entry.starts_at,
        ends_at=entry.ends_at,
        id=agenda_id(stage, title),
    )


async def begin_another(stage: Stage) -> None:
    """A conference from its very first event: nothing + events == its snapshot."""
    organiser = stage.cast.organiser
    account = replace(organiser, holder=f"account:{organiser.account_id}", conference_id=None)
    create = p.CreateConference(title="Từ đầu", starts_at=START, ends_at=START + timedelta(hours=1))
    stage.begin([])
    stage.now += timedelta(seconds=1)
    made = await stage.inbox.submit(account, create, "create")
    chair = replace(organiser, conference_id=made["id"])
    fresh = stage.fresh([chair])[chair.holder]
    empty = {name: {} for name in fresh} | {"me": fresh["me"]}
    stage.begin([chair], {chair.holder: empty})
    stage.compare(create.type)
    site = (await stage.do(chair, p.AddSite(name="Vinh")))["site"]
    seats = [replace(each, conference_id=made["id"]) for each in stage.cast.everyone()]
    stage.begin(seats)
    await stage.do(chair, p.RemoveSite(site=site))
    await stage.do(chair, p.MoveConference(to="scheduled"))


async def test_snapshot_and_events_equal_a_fresh_snapshot(stage: Stage, tmp_path: Path) -> None:
    await rehearse(stage)
    await begin_another(stage)
    assert set(p.EVENTS) - stage.seen == set(), "the scenario makes every event occur"
    assert (
        heard_by_someone() - stage.folded == set()
    ), "each is compared by every role that hears it"
    assert stage.database.read_now(lambda s: s.get_one(Conference, 1)).state == "archived"

    # The same data through the reducer of the pages.
    file = tmp_path / "steps.json"
    file.write_text(json.dumps(stage.steps), encoding="utf-8")
    node = subprocess.run(
        ["node", str(NODE), str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert node.returncode == 0, node.stderr
    assert node.stdout.split() == [str(len(stage.steps))]


def heard_by_someone() -> set[tuple[str, Role]]:
    """(event, role) of all that pages fold; who makes a conference is alone in it."""
    return {
        (type_, role)
        for type_, event in p.EVENTS.items()
        for role in set(Role) - {Role.ENCODER, Role.VIEWER}  # neither has a page
        if reach(role, event.audience) is not Reach.NONE
        and not isinstance(event.effect, p.Reload)
        and (type_ != "conference.created" or role is Role.ORGANISER)
    }


def test_a_state_is_never_changed_in_place() -> None:
    state = {"sites": {"1": {"id": 1, "muted": False}}, "conference": {}}
    before = json.dumps(state)
    after = apply(state, "site.muted", {"id": 1, "muted": True})
    assert json.dumps(state) == before and after["sites"]["1"] == {"id": 1, "muted": True}
    assert after["conference"] is state["conference"]
    assert apply(state, "site.removed", {"id": 1})["sites"] == {}
    assert apply(state, "of.the.future", {"id": 1}) is state
