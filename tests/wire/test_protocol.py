"""The wire contract: generated files are fresh, decoding is strict, audiences are as permitted."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from unittest.mock import sentinel

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from server import protocol, protocol_js
from server.db.journal import Published
from server.effects import ACTIONS
from server.errors import Invalid
from server.i18n import read_languages
from server.live import fanout
from server.live.connections import Connection
from server.live.decode import Hello, decode, decode_hello
from server.permissions import Actor, Permission, Role
from server.snapshot import PARTS
from tests.cast import START


def test_generated_files_are_fresh() -> None:
    why = "run python -m server.protocol_js"
    assert protocol_js.JS.read_text(encoding="utf-8") == protocol_js.javascript(), why
    assert protocol_js.DOCS.read_text(encoding="utf-8") == protocol_js.markdown(), why


def test_every_command_has_its_action() -> None:
    assert set(ACTIONS) == set(protocol.COMMANDS.values())
    assert len(PARTS) == 5


def test_names_are_unique_and_fields_are_there() -> None:
    requests = [*protocol.Command.__subclasses__(), *protocol.MediaRequest.__subclasses__()]
    for kinds in (requests, protocol.Event.__subclasses__()):
        assert len({kind.type for kind in kinds}) == len(kinds)
    for event in protocol.EVENTS.values():
        key = getattr(event.effect, "key", None)
        fields = {field.name for field in msgspec.structs.fields(event)}
        assert key is None or key in fields, event.type


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=8) | st.just("text"), inner, max_size=3),
    max_leaves=8,
)


def wired(*arguments: Any) -> list[Raw]:
    """As they come over the wire."""
    return [Raw(json.dumps(argument).encode()) for argument in arguments]


@given(st.sampled_from(sorted(protocol.COMMANDS)) | st.text(max_size=20), junk, junk)
def test_decoding_gives_a_command_or_says_invalid(type_: str, payload: Any, key: Any) -> None:
    try:
        command, decoded_key = decode(type_, wired(payload, key))
    except Invalid:
        return
    assert command.type == type_ and isinstance(decoded_key, str)
    msgspec.json.encode(command)


@pytest.mark.parametrize("text", ["\ud800", "a\x00", "\\\x00"])
def test_text_that_cannot_be_stored_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        decode("question.ask", wired({"text": text}, "k"))


@pytest.mark.parametrize("text", ["a\\u0000", "\\", "\\\\u0000", "Đặng 👍"])
def test_text_that_looks_like_it_is_kept(text: str) -> None:
    command, _ = decode("question.ask", wired({"text": text}, "k"))
    assert command == protocol.AskQuestion(text=text)


@given(junk)
def test_a_hello_is_read_strictly(auth: Any) -> None:
    with pytest.raises(Invalid):
        decode_hello(auth)


def test_a_hello_of_the_future_is_understood() -> None:
    assert decode_hello({"seat": "abc", "since": 4, "new": 1}) == Hello("abc", 4)


places = st.integers(1, 3)
events = st.tuples(st.sampled_from(Permission), st.none() | places, st.none() | places)
actors = st.builds(
    Actor,
    holder=st.text(max_size=3),
    role=st.sampled_from(Role),
    conference_id=st.just(1),
    site_id=st.none() | places,
    person_id=st.none() | places,
)
VIETNAMESE = read_languages()["vi"]


@given(
    st.lists(events, min_size=1, max_size=8),
    st.lists(st.tuples(actors, st.integers(0, 12)), max_size=8),
)
def test_fan_out_is_what_the_permissions_say(
    batch: list[tuple[Permission, int | None, int | None]], crowd: list[tuple[Actor, int]]
) -> None:
    published = [
        Published(1, 4 + n, START, "x", {}, audience, site_id, person_id)
        for n, (audience, site_id, person_id) in enumerate(batch)
    ]
    connections = [
        Connection(
            str(n), sentinel.socket, replace(actor, holder=str(n)), VIETNAMESE, passed=passed
        )
        for n, (actor, passed) in enumerate(crowd)
    ]
    masks = fanout.Masks(published)
    heard = {
        member.sid: group
        for group, members in fanout.groups(masks, connections)
        for member in members
    }
    by_place = fanout.by_place(masks, {each.place for each in connections})
    heard_at = {place: group for group, places in by_place for place in places}
    for each in connections:
        stranger = replace(each.actor, person_id=None)
        assert heard_at.get(each.place, []) == [e for e in published if e.heard_by(stranger)]
        wanted = [e for e in published if e.seq > each.passed and e.heard_by(each.actor)]
        assert heard.get(each.sid, []) == wanted
