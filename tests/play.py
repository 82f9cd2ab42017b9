"""A small conference to act in, and the promise that every act of it proves.

``Play.does`` sends a command through the inbox's own transaction (permission, action, effects,
journal) and checks, for those who watch, that what they saw before plus the events that they
heard is what a fresh snapshot shows (unless an event says that a fresh one is due).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from server import snapshot
from server.batch import Batch, CommandJob, server_actor
from server.conferences import joining
from server.conferences.models import Conference, Site
from server.db.journal import Published
from server.effects import RIGHTS
from server.people.accounts import actor_of_account
from server.people.models import Account, Person
from server.people.seats import actor_of_seat, open_seat
from server.permissions import Actor, Role
from server.protocol import (
    EVENTS,
    AddSite,
    Appoint,
    Command,
    CreateConference,
    ImportRoster,
    MoveConference,
    Reload,
    RosterRow,
)
from server.state import apply
from tests.conftest import changes

NOON = datetime(2023, 6, 3, 5, 0, tzinfo=UTC)
"""noon in Hà Nội on the day of the reference conference"""

_OF_EACH_KIND = ("mai", "o_hue", "an")


@pytest.fixture
def play(session: Session) -> Play:
    """A conference that is in its lobby."""
    return Play(session)


class Play:
    """Two rooms and those in them.

    hoa organises; mai moderates; lan lectures; minh observes. hue and dong_ha are rooms with an
    operator (o_hue, o_dong_ha), Huế with a display; An and Bình sit in Huế with phones, Châu in
    Đông Hà.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.now = NOON
        self.heard: list[Published] = []
        self.watched: dict[str, Actor] = {}
        self._seen: dict[str, dict[str, Any]] = {}
        self._seen_at: int | None = None
        self.hoas_account = self.account("hoa", is_organiser=True)
        made = self.does(
            actor_of_account(self.hoas_account),
            CreateConference(
                title="Chỉ số cải cách hành chính",
                organiser="Sở Nội vụ",
                starts_at=NOON,
                ends_at=NOON + timedelta(hours=4),
            ),
        )
        self.conference_id: int = made["id"]
        self.hoa = self.seat(Role.ORGANISER, account_id=self.hoas_account.id)
        self.mai = self.appointed("mai", Role.MODERATOR)
        self.lan = self.appointed("lan", Role.SPEAKER)
        self.minh = self.appointed("minh", Role.OBSERVER)
        self.hue = self.does(self.hoa, AddSite(name="Huế"))["site"]
        self.dong_ha = self.does(self.hoa, AddSite(name="Đông Hà"))["site"]
        rows = (
            RosterRow(name="Nguyễn Văn An", site="hue", code="0001", unit="Phường Thuận Hòa"),
            RosterRow(name="Trần Thị Bình", site="hue", code="0002", unit="Phường Thuận Hòa"),
            RosterRow(name="Lê Minh Châu", site="dong-ha", code="0003", unit="Phường 1"),
        )
        self.does(self.hoa, ImportRoster(rows=rows))
        self.o_hue = self.seat(Role.OPERATOR, site_id=self.hue)
        self.o_dong_ha = self.seat(Role.OPERATOR, site_id=self.dong_ha)
        self.display = self.seat(Role.DISPLAY, site_id=self.hue)
        self.moves_to("lobby")
        self.an = self.phone("0001")
        self.binh = self.phone("0002")
        self.chau = self.phone("0003")
        self.watched = {
            name: getattr(self, name)
            for name in "hoa mai lan minh o_hue o_dong_ha display an binh chau".split()
        }

    @property
    def conference(self) -> Conference:
        return self.session.get_one(Conference, self.conference_id)

    def site(self, site_id: int) -> Site:
        return self.session.get_one(Site, site_id)

    def person(self, code: str) -> Person:
        return self.session.scalars(select(Person).where(Person.code == code)).one()

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def account(self, username: str, *, is_organiser: bool = False) -> Account:
        """One that nobody signs in to: a real hash would take a tenth of a second each."""
        account = Account(
            username=username,
            name=username.title(),
            password_hash="!",
            is_organiser=is_organiser,
            must_change=False,
            created_at=NOON,
        )
        self.session.add(account)
        self.session.flush()
        return account

    def appointed(self, username: str, role: Role) -> Actor:
        """The seat of a new account, appointed by hoa."""
        account = self.account(username)
        self.does(self.hoa, Appoint(username=username, role=role.value))
        return self.seat(role, account_id=account.id)

    def seat(self, role: Role, **who: Any) -> Actor:
        """A seat, and who acts through it."""
        seat, secret = open_seat(self.session, role, self.conference_id, self.now, **who)
        return actor_of_seat(self.session, seat.id, secret, self.now)

    def phone(self, code: str, device: str | None = None) -> Actor:
        """The phone of a trainee who typed their code."""
        join_code = self.conference.join_code
        seat, secret = joining.join_by_code(
            self.session, join_code, code, device or f"phone of {code}", self.now
        )
        return actor_of_seat(self.session, seat.id, secret, self.now)

    def moves_to(self, *states: str) -> None:
        """Along the life cycle, by the organiser."""
        for state in states:
            self.does(self.hoa, MoveConference(to=state))

    def ticks(self, command: Command) -> None:
        """The server's own clock acts."""
        self.does(server_actor(self.conference_id), command)

    def does(self, actor: Actor, command: Command) -> dict[str, Any]:
        """Send a command; ``heard`` then holds its events. Raises: DomainError."""
        before = self._before()
        job = CommandJob(lambda _answers: None, actor, command, None)
        batch = Batch(self.session, self.now, [job], {})
        [answer] = batch.answers([job])
        self.heard = batch.write()
        self.session.commit()
        self._seen = self._see()
        if answer.error is not None:
            assert not self.heard, "a refused command tells nothing"
            assert self._seen == before, "a refused command changes nothing"
            raise answer.error
        for name, each in self._looking().items():
            if type(command) in RIGHTS:  # who one is may have changed: connections are told
                before[name] = {**before[name], "me": self._seen[name]["me"]}
            self._check_promise(name, each, before[name])
        self._seen_at = changes(self.session)
        return answer.result

    def _before(self) -> dict[str, dict[str, Any]]:
        """What everyone sees now: what they saw last, where no row has changed since."""
        if changes(self.session) != self._seen_at or self._seen.keys() != self._looking().keys():
            return self._see()
        return dict(self._seen)

    def _see(self) -> dict[str, dict[str, Any]]:
        """Fresh snapshots of all who look, built as for many who come at once."""
        looking = self._looking()
        if not looking:
            return {}
        built = snapshot.Shared().build(self.session, list(looking.values()), 0, self.now)
        return dict(zip(looking, _wired(built), strict=True))

    def _looking(self) -> dict[str, Actor]:
        """Whose snapshots are compared. What a role may see hangs on no database: on PostgreSQL it
        is the desk, a room and a person, by whom every part is read (tests/wire has all roles)."""
        if self.session.get_bind().dialect.name == "sqlite":
            return self.watched
        return {name: each for name, each in self.watched.items() if name in _OF_EACH_KIND}

    def _check_promise(self, name: str, actor: Actor, state: dict[str, Any]) -> None:
        for event in self.heard:
            if not event.heard_by(actor):
                continue
            if isinstance(EVENTS[event.type].effect, Reload):
                return
            state = dict(apply(state, event.type, _wired(event.data)))
        assert state == self._seen[name], f"{name} sees something else than was told"

    def sees(self, actor: Actor) -> dict[str, Any]:
        """A fresh snapshot as it would arrive."""
        return _wired(snapshot.build(self.session, actor, self.now))

    def told(self) -> list[str]:
        """Types of the last command's events."""
        return [event.type for event in self.heard]

    def hears(self, actor: Actor) -> list[str]:
        """Types of the last command's events that ``actor`` heard."""
        return [event.type for event in self.heard if event.heard_by(actor)]


def _wired(data: Any) -> Any:
    return json.loads(json.dumps(data))
