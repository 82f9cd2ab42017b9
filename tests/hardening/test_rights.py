"""Every role × object × command, event and request for media, against a hand-made table.

Commands go through the inbox's own transaction, requests for media over real sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from msgspec import Raw
from sqlalchemy import select
from sqlalchemy.orm import Session

from server import protocol as p
from server.activities.models import Opening, Run
from server.batch import Batch, CommandJob
from server.conferences.joining import join_by_pin
from server.conferences.models import AgendaItem, Appointment, Conference
from server.db.journal import Published
from server.errors import Invalid
from server.live.decode import decode
from server.people.seats import revoke
from server.permissions import TABLE, Actor, Permission, Role
from tests.cast import START, Cast, bring_in
from tests.conftest import changes
from tests.hardening.rights import AUDIENCES, COMMANDS, RIGHTS, ROLES, allowed
from tests.live.conftest import Venue

NOW = START + timedelta(hours=1)
HOUR = timedelta(hours=1)
ITEM = p.QuizItem(text="Hai cộng hai?", options=("Ba", "Bốn"), correct=1)


def test_the_table_is_the_one_written_down() -> None:
    letters = "-ISCA"
    held = {
        str(permission): {role: letters[row.get(role, 0)] for role in ROLES}
        for permission, row in TABLE.items()
    }
    assert held == RIGHTS and set(Permission) == set(RIGHTS) and set(ROLES) == set(Role)
    kinds = {**p.COMMANDS, **p.MEDIA_REQUESTS}
    assert {name: str(kind.permission) for name, kind in kinds.items()} == COMMANDS
    assert {name: str(kind.audience) for name, kind in p.EVENTS.items()} == AUDIENCES


# --- commands ------------------------------------------------------------------------------------


@dataclass
class Things:
    """One of each object, at one site of one conference."""

    site: int
    person: int
    question: int
    asked: int
    activity: int
    run: int
    run_item: int
    request: int
    appointment: int
    link: int
    seat: str
    waiting: str
    agenda_item: int


Make = Callable[[Things], p.Command]

OBJECTLESS: dict[str, p.Command] = {
    command.type: command
    for command in (
        p.CreateConference(title="Mới", starts_at=START, ends_at=START + HOUR),
        p.UpdateConference(title="Tên mới", starts_at=START, ends_at=START + HOUR),
        p.MoveConference(to="paused"),
        p.Appoint(username="speaker-tap-huan", role="observer"),
        p.AddSite(name="Quảng Nam"),
        p.ImportRoster(rows=(p.RosterRow(name="Đỗ Ân", site="hue"),)),
        p.ShowOnStage(source="site:hue"),
        p.Present(source="site:hue:screen"),
        p.RequestFloor(reason="Xin hỏi"),
        p.WithdrawRequest(),
        p.CheckIn(),
        p.CountAttendance(),
        p.NoteConnected(pages=()),
        p.AskQuestion(text="Khi nào?"),
        p.CreateActivity(title="Bài", items=(ITEM,)),
        p.ExpireItems(),
    )
}

OBJECTS: dict[str, Make] = {
    "conference.dismiss": lambda o: p.Dismiss(appointment=o.appointment),
    "agenda.set": lambda o: p.SetAgenda(
        items=(p.AgendaEntry(title="A", starts_at=START, ends_at=START + HOUR, id=o.agenda_item),)
    ),
    "agenda.start": lambda o: p.StartItem(item=o.agenda_item),
    "site.update": lambda o: p.UpdateSite(site=o.site, name="Khác", kind="remote"),
    "site.remove": lambda o: p.RemoveSite(site=o.site),
    "site.mute": lambda o: p.MuteSite(site=o.site, muted=True),
    "roster.remove": lambda o: p.RemoveFromRoster(person=o.person),
    "link.create": lambda o: p.CreateLink(role="operator", site=o.site),
    "link.revoke": lambda o: p.RevokeLink(link=o.link),
    "seat.revoke": lambda o: p.RevokeSeat(seat=o.seat),
    "seat.admit": lambda o: p.AdmitDisplay(seat=o.waiting),
    "phone.reset": lambda o: p.ResetPhone(person=o.person),
    "floor.give": lambda o: p.GiveFloor(site=o.site),
    "floor.take": lambda o: p.TakeFloor(site=o.site),
    "floor.decline": lambda o: p.DeclineRequest(request=o.request),
    "attendance.tick": lambda o: p.Tick(person=o.person),
    "attendance.untick": lambda o: p.Untick(person=o.person),
    "question.approve": lambda o: p.ApproveQuestion(question=o.asked),
    "question.set_aside": lambda o: p.SetQuestionAside(question=o.asked),
    "question.put_on_stage": lambda o: p.PutQuestionOnStage(question=o.question),
    "question.take_down": lambda o: p.TakeQuestionDown(question=o.question),
    "question.finish": lambda o: p.FinishQuestion(question=o.question),
    "question.answer": lambda o: p.AnswerQuestion(question=o.question, text="Ngày mai."),
    "activity.remove": lambda o: p.RemoveActivity(activity=o.activity),
    "activity.launch": lambda o: p.LaunchActivity(activity=o.activity),
    "activity.next": lambda o: p.NextItem(run=o.run),
    "activity.prolong": lambda o: p.ProlongItem(run=o.run),
    "activity.close": lambda o: p.CloseItem(run=o.run),
    "activity.reveal": lambda o: p.RevealKey(run=o.run),
    "activity.finish": lambda o: p.FinishRun(run=o.run),
    "activity.answer": lambda o: p.Answer(run=o.run, item=o.run_item, option=1),
}

AIMED = {"attendance.tick", "attendance.untick", "seat.admit", "phone.reset"}
"""Commands about somebody's site; all others are about the actor's own."""

LATE = {
    "floor.take",
    "attendance.untick",
    "question.take_down",
    "question.finish",
    "activity.launch",
    "activity.reveal",
    "site.remove",
    "phone.reset",
}
"""Commands that need another state than that of ``World``: permitted means a conflict here."""


class World:
    """Two conferences alike, and one of each object in each place of them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.cast, self.stranger = bring_in(session), bring_in(session, "noi-khac")
        cast, stranger = self.cast, self.stranger
        self.things = {
            "own site": self._things(cast, cast.da_nang, cast.trainee, cast.operator),
            "other site": self._things(cast, cast.hue, cast.other_trainee, None),
            "other conference": self._things(
                stranger, stranger.da_nang, stranger.trainee, stranger.operator
            ),
        }
        bearer = Actor("link:7", Role.ENCODER, cast.conference_id, site_id=cast.da_nang)
        viewer = Actor("link:8", Role.VIEWER, cast.conference_id)
        self.actors = [*cast.everyone(), bearer, viewer]
        session.commit()

    def does(self, actor: Actor, command: p.Command) -> tuple[str | None, bool, Any]:
        """(error's code, whether a row was written, result); nothing is kept."""
        outcome = self._act(actor, command)
        self.session.rollback()
        return outcome

    def _act(self, actor: Actor, command: p.Command) -> tuple[str | None, bool, Any]:
        before = changes(self.session)
        job = CommandJob(lambda _answers: None, actor, command, None)
        batch = Batch(self.session, NOW, [job], {})
        [answer] = batch.answers([job])
        batch.write()
        self.session.flush()
        code = answer.error.code if answer.error else None
        return code, changes(self.session) != before, answer.result

    def _made(self, actor: Actor, command: p.Command) -> Any:
        code, _written, result = self._act(actor, command)
        assert code is None, (command, code)
        return result

    def _things(self, cast: Cast, site: int, trainee: Actor, operator: Actor | None) -> Things:
        chair, session, made = cast.organiser, self.session, self._made
        asker = replace(trainee, site_id=site)
        asked = [made(asker, p.AskQuestion(text="Khi nào?"))["question"] for _ in range(2)]
        made(chair, p.ApproveQuestion(question=asked[0]))
        quizzes = [made(chair, p.CreateActivity(title="Bài", items=(ITEM,))) for _ in range(2)]
        run = self._run(cast, quizzes[0]["activity"])
        code = session.get_one(Conference, cast.conference_id).join_code
        joined = join_by_pin(session, code, "123456", site, Role.DISPLAY, "d", NOW)
        link = made(chair, p.CreateLink(role="operator", site=site))["link"]
        entry = p.AgendaEntry(title="Một", starts_at=START, ends_at=START + HOUR)
        if not self._first(AgendaItem, cast):
            made(chair, p.SetAgenda(items=(entry,)))
        room = operator or Actor("link:9", Role.OPERATOR, cast.conference_id, site_id=site)
        return Things(
            site=site,
            person=trainee.person_id or 0,
            question=asked[0],
            asked=asked[1],
            activity=quizzes[1]["activity"],
            run=run[0],
            run_item=run[1],
            request=made(room, p.RequestFloor())["request"],
            appointment=self._first(Appointment, cast, Appointment.role == "speaker"),
            link=link,
            seat=trainee.holder,
            waiting=joined.result["seat"],
            agenda_item=self._first(AgendaItem, cast),
        )

    def _run(self, cast: Cast, activity: int) -> tuple[int, int]:
        """The conference's one run, launched where there is none."""
        open_run = select(Run.id).where(Run.conference_id == cast.conference_id)
        run = self.session.scalar(open_run)
        if run is None:
            run = self._made(cast.organiser, p.LaunchActivity(activity=activity))["run"]
        item = self.session.scalars(select(Opening.item_id).where(Opening.run_id == run)).one()
        return run, item

    def _first(self, table: Any, cast: Cast, *where: Any) -> int:
        query = select(table.id).where(table.conference_id == cast.conference_id, *where)
        return self.session.scalar(query.order_by(table.id).limit(1)) or 0


@pytest.fixture
async def world(session: Session) -> World:
    return World(session)


def test_every_command_is_in_the_matrix() -> None:
    assert {*OBJECTLESS, *OBJECTS} == set(p.COMMANDS)


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("own site", "sqlite"),
        ("own site", "postgresql"),
        # Who is refused never comes to the database's own words.
        ("other site", "sqlite"),
        ("other conference", "sqlite"),
    ],
)
async def test_commands_about_something(world: World, place: str) -> None:
    things, done = world.things[place], set()
    for type_, make in OBJECTS.items():
        command = make(things)
        for actor in world.actors:
            code, written, _ = world.does(actor, command)
            why = f"{actor.role} (site {actor.site_id}) {type_} {place}: {code}"
            same_site = actor.site_id == things.site if type_ in AIMED else actor.site_id
            may = allowed(
                actor.role,
                COMMANDS[type_],
                same_site=bool(same_site),
                same_person=actor.person_id is not None,
            )
            assert not written or code is None, why
            if place == "other conference":
                # Whether one's own conference is in the right state may be asked first.
                early = {"conflict"} if type_ == "site.remove" and may else set()
                assert code in {"forbidden", "not_found"} | early, why
            elif not may:
                assert code == "forbidden", why
            else:
                assert code in (None, "conflict"), why
            if code is None:
                done.add(type_)
    if place == "own site":
        assert set(OBJECTS) - done <= LATE, "what is permitted is also possible"


async def test_a_site_of_another_conference_stays_also_before_it_begins(world: World) -> None:
    for conference in world.session.scalars(select(Conference)):
        conference.state = "scheduled"
    world.session.commit()
    foreign = p.RemoveSite(site=world.things["other conference"].site)
    assert world.does(world.cast.organiser, foreign)[:2] == ("not_found", False)


async def test_commands_about_oneself(world: World) -> None:
    done = set()
    for type_, command in OBJECTLESS.items():
        for actor in world.actors:
            code, written, _ = world.does(actor, command)
            may = allowed(
                actor.role,
                COMMANDS[type_],
                same_site=actor.site_id is not None,
                same_person=actor.person_id is not None,
            )
            why = f"{actor.role} {type_}: {code}"
            assert (code == "forbidden") is not may, why
            assert code in (None, "forbidden", "conflict"), why
            assert not written or code is None, why
            if code is None:
                done.add(type_)
    assert set(OBJECTLESS) - done <= {"floor.withdraw", "floor.request"}


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_seat_without_its_place_may_nothing(world: World) -> None:
    """An operator of no site and a trainee of nobody: a reach of a site reaches no site."""
    things, cast = world.things["own site"], world.cast
    lost = [replace(cast.operator, site_id=None), replace(cast.trainee, person_id=None)]
    lost += [replace(cast.organiser, conference_id=None, account_id=None)]
    for actor in lost:
        for command in (*OBJECTLESS.values(), *(make(things) for make in OBJECTS.values())):
            code, written, _ = world.does(actor, command)
            assert code in ("forbidden", "not_found") and not written, (actor.role, command)


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_revoked_seat_may_nothing(world: World) -> None:
    things = world.things["own site"]
    seats = world.cast.everyone()
    for actor in seats:
        assert revoke(world.session, NOW, id=actor.holder) == [actor.holder]
    world.session.commit()
    for command in (*OBJECTLESS.values(), *(make(things) for make in OBJECTS.values())):
        for actor in seats:
            code, written, _ = world.does(actor, command)
            assert code == "unauthenticated" and not written, (actor.role, command)


@pytest.mark.parametrize("type_", sorted(kind.type for kind in p.INTERNAL))
def test_the_servers_own_commands_come_from_nobody_else(type_: str) -> None:
    assert type_ in p.COMMANDS
    with pytest.raises(Invalid):
        decode(type_, (Raw(b"{}"), Raw(b'"key"')))


# --- events --------------------------------------------------------------------------------------


def _targets(cast: Cast, stranger: Cast) -> Iterator[tuple[int, int | None, int | None]]:
    """Whom an event may concern: (conference, site, person)."""
    for conference in (cast.conference_id, stranger.conference_id):
        for site in (None, cast.da_nang, cast.hue):
            for person in (None, cast.trainee.person_id, cast.other_trainee.person_id):
                yield conference, site, person


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_every_event_is_heard_by_its_audience_alone(world: World) -> None:
    heard = 0
    for type_, permission in AUDIENCES.items():
        for conference, site, person in _targets(world.cast, world.stranger):
            audience = p.EVENTS[type_].audience
            event = Published(conference, 1, NOW, type_, {}, audience, site, person)
            for actor in world.actors:
                may = allowed(
                    actor.role,
                    permission,
                    same_conference=actor.conference_id == conference,
                    same_site=actor.site_id is not None and actor.site_id == site,
                    same_person=actor.person_id is not None and actor.person_id == person,
                )
                assert event.heard_by(actor) is may, (actor.role, type_, conference, site, person)
                heard += may
    assert heard > 1000


# --- requests to the media worker ----------------------------------------------------------------

MEDIA: dict[str, dict[str, object]] = {
    "media.publish": {"source": "camera", "sdp": "v=0"},
    "media.receive": {"wall": 4},
    "media.accept": {"session": "another's", "sdp": "v=0"},
    "media.restart": {"session": "another's"},
    "media.close": {"session": "another's"},
    "media.listen": {"listens": True},
    "media.expect": {"sources": ["site:a"]},
    "media.view": {"session": "another's", "heights": {"stage": 180}},
    "media.report": {"session": "another's", "rtt_ms": 20, "loss": 0.0},
    "media.lines": {},
}


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_requests_for_media(venue: Venue) -> None:
    assert set(MEDIA) == set(p.MEDIA_REQUESTS)
    for actor in venue.cast.everyone():
        page = await venue.open(actor)
        for type_, payload in MEDIA.items():
            code = (await page.send(type_, payload, type_)).get("error")
            may = allowed(
                actor.role,
                COMMANDS[type_],
                same_site=actor.site_id is not None,
                same_person=actor.person_id is not None,
            )
            # Nobody is there to answer who may ask, but for what web notes down by itself;
            # a trainee has no media of its own at all.
            noted = ("media.listen", "media.report", "media.lines")
            heard = None if type_ in noted else "unavailable"
            assert code == (heard if may else "forbidden") or (
                actor.role is Role.TRAINEE and code == "forbidden"
            ), (actor.role, type_, code)
        await venue.close(page)
