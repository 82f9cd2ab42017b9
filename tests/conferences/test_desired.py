"""What the media worker is told: who is on stage and who is heard, by the conference's state."""

from __future__ import annotations

from pathlib import Path

from server.desired import Derived, derive
from server.protocol import GiveFloor, MuteSite
from tests.play import Play


def told(play: Play) -> Derived:
    """The wanted state now."""
    wanted = derive(play.session, play.conference_id, play.now, Path("/recordings"))
    assert wanted is not None
    return wanted


def test_in_a_break_nobody_is_on_stage_or_heard_and_the_recording_goes_on(play: Play) -> None:
    play.moves_to("live")
    play.does(play.mai, GiveFloor(site=play.hue))
    assert (told(play).stage, told(play).floor) == ("site:hue", ("site:hue",))
    play.moves_to("paused")
    assert (told(play).stage, told(play).floor) == (None, ())
    assert told(play).recording is not None
    play.moves_to("live")
    assert (told(play).stage, told(play).floor) == ("site:hue", ("site:hue",))


def test_a_muted_site_is_not_heard_whatever_its_floor(play: Play) -> None:
    play.moves_to("live")
    play.does(play.mai, GiveFloor(site=play.hue))
    play.does(play.mai, MuteSite(site=play.hue, muted=True))
    assert (told(play).stage, told(play).floor) == ("site:hue", ())
