"""THE wire contract: every command (with its permission) and every event (with its ONE audience).

A command is decoded strictly from a message's body; who sends it comes from the connection.
An event carries only what all of its audience may see. Its *effect* says how a client's state
changes: the same generic reducer (``server/state.py``, ``static/js/state.js``) serves all of them,
so that live pages, replays and tests share one rule. Events only ever gain optional fields.

Times are ISO 8601 strings in UTC (``2023-06-03T01:30:00.123456Z``), made by msgspec from aware
datetimes. Ids are integers, unique within their kind.

One module an idea; whoever uses the contract imports its names from here.
"""

from __future__ import annotations

from typing import Any

from server.protocol.base import *
from server.protocol.conference_commands import *
from server.protocol.conference_events import *
from server.protocol.effects import *
from server.protocol.live import *
from server.protocol.media import *
from server.protocol.room_commands import *
from server.protocol.room_events import *
from server.protocol.values import *


def _leaves(base: type[Any]) -> dict[str, type[Any]]:
    """Message types by name, in the order of their definition, which the generated files keep."""
    return {cls.type: cls for cls in base.__subclasses__()}


COMMANDS: dict[str, type[Command]] = _leaves(Command)
EVENTS: dict[str, type[Event]] = _leaves(Event)
MEDIA_REQUESTS: dict[str, type[MediaRequest]] = _leaves(MediaRequest)
