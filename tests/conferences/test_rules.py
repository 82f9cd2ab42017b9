"""The life cycle, exhaustively."""

from __future__ import annotations

from itertools import product

import pytest

from server.conferences import rules
from server.errors import Conflict

ALLOWED = {
    "draft>scheduled",
    "draft>lobby",
    "scheduled>lobby",
    "lobby>scheduled",
    "lobby>live",
    "live>paused",
    "live>ended",
    "paused>live",
    "paused>ended",
    "ended>archived",
}


@pytest.mark.parametrize(("before", "after"), list(product(rules.STATES, rules.STATES)))
def test_every_step_of_the_life_cycle(before: str, after: str) -> None:
    if f"{before}>{after}" in ALLOWED:
        rules.require_transition(before, after)
    else:
        with pytest.raises(Conflict):
            rules.require_transition(before, after)


@pytest.mark.parametrize("state", rules.STATES)
def test_a_refusal_says_why(state: str) -> None:
    rules.require_state(state, {state})
    with pytest.raises(Conflict) as refused:
        rules.require_state(state, set())
    assert refused.value.message.startswith("Hội nghị")


def test_leaving_the_open_states_clears_the_stage() -> None:
    clearing = {(b, a) for b, a in product(rules.STATES, rules.STATES) if rules.clears_stage(b, a)}
    steps = {tuple(step.split(">")) for step in ALLOWED}
    assert clearing & steps == {("lobby", "scheduled"), ("live", "ended"), ("paused", "ended")}


def test_spoken_time_adds_up_in_whole_seconds() -> None:
    assert rules.spoken_s(10, 4.6) == 15
    assert rules.spoken_s(10, -3) == 10


def test_free_slugs() -> None:
    assert rules.free_slug("hue", ()) == "hue"
    assert rules.free_slug("hue", {"hue", "hue-2"}) == "hue-3"
    assert len(rules.free_slug("x" * 60, {"x" * 60})) == 60
    assert rules.site_slug_of("site:hue:screen") == "hue"
