"""The three kinds of message that have a name, a permission or an audience: their base classes."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from server.permissions import Permission as P
from server.protocol.effects import Effect


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A wish of one actor. ``type`` is its name on the wire."""

    type: ClassVar[str]
    permission: ClassVar[P]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened, heard by one audience. Fields are what the wire's ``data`` holds."""

    type: ClassVar[str]
    audience: ClassVar[P] = P.SEE_CONFERENCE
    effect: ClassVar[Effect]
    replay: ClassVar[bool] = True
    """whether those who watch the replay may see it"""


class MediaRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Negotiation of a peer connection; same acknowledgement as a command, no journal. Results also
    hold ``ice_servers``, W3C's ``RTCIceServer`` objects: TURN with credentials made at that moment.
    """

    type: ClassVar[str]
    permission: ClassVar[P]
