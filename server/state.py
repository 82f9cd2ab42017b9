"""The reducer that live pages, replays and tests share; ``static/js/state.js`` is its twin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.protocol import EVENTS, Merge, Remove

State = Mapping[str, Any]


def apply(state: State, type_: str, data: Mapping[str, Any]) -> State:
    """``state`` after an event; the given one is left as it is, unchanged parts are shared.

    An unknown event, or one whose effect is Reload, changes nothing.
    """
    effect = EVENTS[type_].effect if type_ in EVENTS else None
    if isinstance(effect, Merge):
        if effect.key is None:
            return {**state, effect.into: {**(state.get(effect.into) or {}), **data}}
        collection, key = state.get(effect.into) or {}, str(data[effect.key])
        return {**state, effect.into: {**collection, key: {**collection.get(key, {}), **data}}}
    if isinstance(effect, Remove):
        key = str(data[effect.key])
        kept = {name: each for name, each in state.get(effect.from_, {}).items() if name != key}
        return {**state, effect.from_: kept}
    return state
