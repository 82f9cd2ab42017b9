"""What is published reaches who may hear it, each once and in order, whoever comes, falls behind and
goes meanwhile; through the kept chairs, and by the permissions one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import sentinel

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.db.journal import Published
from server.i18n import read_languages
from server.inbox import utc_now
from server.live import spread
from server.live.client import Message
from server.live.connections import Connection, Connections
from server.live.delivery import Delivery
from server.permissions import Actor, Permission, Role

VIETNAMESE = read_languages()["vi"]
NOW = utc_now()
PAGES = 6
places = st.integers(1, 2)
actors = st.builds(
    Actor,
    holder=st.just(""),
    role=st.sampled_from([Role.TRAINEE, Role.OPERATOR, Role.MODERATOR]),
    conference_id=st.just(1),
    site_id=st.none() | places,
    person_id=st.none() | places,
)
events = st.tuples(st.sampled_from(Permission), st.none() | places, st.none() | places)
pages = st.integers(0, PAGES - 1)
steps = st.one_of(
    st.lists(events, min_size=1, max_size=4),
    st.tuples(st.just("comes"), pages, st.integers(0, 3)),
    st.tuples(st.just("falls behind"), pages, st.integers(0, 3)),
    st.tuples(st.just("goes"), pages, st.just(0)),
)


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "plain":
        monkeypatch.setattr(spread, "library", lambda: None)
    yield


class Page:
    """One that polls: it writes down what it is told."""

    line = None

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.heard: list[int] = []
        self.wanted: list[int] = []
        self.connection: Connection | None = None

    def deliver(self, message: Message) -> None:
        name, data = json.loads(message.text[1:])
        assert name == "events"
        self.heard += [event["seq"] for event in data]

    deliver_soon = deliver


@given(st.lists(actors, min_size=PAGES, max_size=PAGES), st.lists(steps, max_size=20))
async def test_who_hears_what(crowd: list[Actor], script: list[Any]) -> None:
    connections = Connections()
    delivery = Delivery(sentinel.server, sentinel.database, connections)
    here = [Page(replace(actor, holder=str(n))) for n, actor in enumerate(crowd)]
    head = 3
    for step in script:
        if isinstance(step, list):
            batch = [
                Published(1, head + 1 + n, NOW, "question.asked", {}, audience, site, person)
                for n, (audience, site, person) in enumerate(step)
            ]
            head += len(batch)
            delivery.publish(batch)
            for page in here:
                if page.connection is not None:
                    known = page.connection.passed
                    page.wanted += [
                        e.seq for e in batch if e.seq > known and e.heard_by(page.actor)
                    ]
            continue
        what, number, ahead = step
        page = here[number]
        if what == "comes" and page.connection is None:
            socket: Any = page
            page.connection = Connection(str(number), socket, page.actor, VIETNAMESE)
            connections.add(page.connection)
        elif page.connection is None:
            continue
        elif what == "falls behind":
            connections.fell_behind(page.connection)
        elif what == "goes":
            assert connections.remove(str(number)) is page.connection
            connections.caught_up(page.connection)
            page.connection = None
            continue
        if page.connection.held is not None:  # a snapshot, of what is not published yet too
            page.connection.passed = page.connection.told = head + ahead
            connections.caught_up(page.connection)
    for page in here:
        assert page.heard == page.wanted
    assert len({page.connection for page in here} - {None}) == len(connections)
    hall = connections.hall(1)
    if hall is not None:
        behind = {each for group in hall.audience.behind().values() for each in group}
        for page in here:
            each = page.connection
            if each is not None:
                told = max([each.told, *(seq for seq in page.heard if seq > each.passed)])
                assert (each in behind) is (told < max(hall.audience.passed, each.passed))
