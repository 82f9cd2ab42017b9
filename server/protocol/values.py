"""The kinds of values that messages carry: ids, lines of text, moments, names of states and roles."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Id = Annotated[int, Meta(ge=1, lt=2**53)]
Line = Annotated[str, Meta(min_length=1, max_length=300)]
Optional_line = Annotated[str, Meta(max_length=300)]
Text = Annotated[str, Meta(min_length=1, max_length=2000)]
Moment = Annotated[datetime, Meta(tz=True)]
Slug = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
Source = Annotated[str, Meta(pattern=r"^site:[a-z0-9-]+(:screen)?$", max_length=80)]
ConferenceState = Literal["draft", "scheduled", "lobby", "live", "paused", "ended", "archived"]
SiteKind = Literal["main", "remote", "speaker", "online"]
StaffRole = Literal["organiser", "moderator", "speaker", "advisor", "observer"]
RoomRole = Literal["operator", "display"]
LinkRole = Literal["operator", "display", "trainee", "encoder", "viewer"]
Evidence = Literal["qr", "code", "operator", "quiz"]
QuestionState = Literal["asked", "approved", "set_aside", "on_stage", "answered"]
RunState = Literal["open", "closed", "finished"]


class Connected(msgspec.Struct, frozen=True):
    """When a page of a room came, and when it left; None while it is connected."""

    since: datetime
    until: datetime | None


MAX_ITEMS = 50
MAX_OPTIONS = 8
