"""What is told of every site's line: to those who may see it, and to Prometheus."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from server.config import load
from server.desired import Derived
from server.errors import SlowDown
from server.lines import Lines, Report, Row
from server.media import messages
from server.media.messages import Downlink, Grant, Line, Publication, Slot
from server.permissions import Actor, Role
from server.signalling import Signalling
from server.steering import Steering
from server.telling import Telling
from server.web.media_metrics import MediaCollector

SAID = Report(rtt_ms=80, loss=0.01, freezes=2, frozen_ms=900, limited="bandwidth", line_freezes=1)
GRANTS = {
    "op": Grant(publish=("site:hue", "site:hue:screen"), receive=True, own="site:hue"),
    "display": Grant(receive=True, own="site:hue"),
    "desk": Grant(receive=True),
}
DERIVED = Derived("c", {"hue": 7, "vinh": 8}, GRANTS, None, None, (), (), None)
NARROW = {"stage": Slot(180, 720, 150_000, "line")}


def down(holder: str, **values: object) -> Downlink:
    usual = Downlink(holder, 400_000, 600_000, 600_000, 40, 0.02, "delay", False, False, NARROW)
    return msgspec.structs.replace(usual, **values)


def told() -> Lines:
    lines = Lines()
    camera = Publication("site:hue", "op", "up-1", "H264", True, True, True, True)
    lines.published(messages.Published("c", (camera,)))
    lines.uplinks(messages.Lines("c", {"site:hue": Line(1_200_000, 0.04, 1280, 720)}))
    pages = {"d-1": down("op"), "d-2": down("display", reduced=True), "d-3": down("desk")}
    lines.downlinks(messages.Downlinks("c", pages))
    return lines


def test_every_line_is_a_row_with_what_browser_and_worker_know() -> None:
    lines = told()
    lines.report(GRANTS["op"], "up-1", "op", SAID, 100.0)
    lines.report(GRANTS["op"], "d-1", "op", SAID, 100.0)
    lines.report(GRANTS["op"], "d-1", "op", SAID, 110.0)
    up, room, display, desk = lines.rows(DERIVED, 111.0)
    assert up == Row(7, "up", "camera", 1_200_000, 0.04, 80, 720, reduced=True, limited="bandwidth")
    assert (room.what, room.freezes, room.frozen_ms, room.line_freezes) == ("room", 4, 1800, 1)
    assert (room.height_px, room.worth_px, room.carries_bps) == (180, 720, 600_000)
    assert (display.site, display.what, display.reduced, display.freezes) == (7, "display", True, 0)
    assert (desk.site, desk.what) == (None, "desk")
    late, *_ = lines.rows(DERIVED, 200.0)
    assert (late.rtt_ms, late.limited) == (None, "none"), "what is old says nothing of now"


def test_a_line_that_loses_nothing_is_not_blamed_for_what_was_lost_before_the_server() -> None:
    lines = told()
    blamed = []
    for second, loss in ((100.0, 0.0), (110.0, 0.01), (120.0, 0.0), (130.0, None)):
        lines.downlinks(messages.Downlinks("c", {"d-1": down("op", loss=loss)}))
        lines.report(GRANTS["op"], "d-1", "op", SAID, second)
        _, row = lines.rows(DERIVED, second)
        blamed.append(row.line_freezes)
    assert blamed == [1, 2, 2, 3], "what was lost in the beginning; 1 %; nothing; unknown"


def test_a_line_on_which_pictures_wait_is_blamed_though_it_loses_nothing() -> None:
    lines = told()
    said = msgspec.structs.replace(SAID, line_freezes=0)
    blamed = []
    for second, narrow in ((100.0, False), (110.0, True), (120.0, False)):
        lines.downlinks(messages.Downlinks("c", {"d-1": down("op", loss=0.0, narrow=narrow)}))
        lines.downlinks(messages.Downlinks("c", {"d-1": down("op", loss=0.0)}))
        lines.report(GRANTS["op"], "d-1", "op", said, second)
        _, row = lines.rows(DERIVED, second)
        blamed.append(row.line_freezes)
    assert blamed == [0, 2, 2], "both of the second report's"


def test_a_line_over_which_nothing_comes_is_told_as_silent() -> None:
    lines = told()
    camera = Publication("site:hue", "op", "up-1", "H264", True, False, False, False)
    lines.published(messages.Published("c", (camera,)))
    lines.downlinks(messages.Downlinks("c", {"d-1": down("op", reason="silence")}))
    assert [row.silent for row in lines.rows(DERIVED, 100.0)] == [True, True]
    assert not any(row.silent for row in told().rows(DERIVED, 100.0))


def test_who_sends_too_much_is_told_so_and_a_minute_later_that_it_was_cut_off() -> None:
    lines = told()
    lines.uplinks(messages.Lines("c", {"site:hue": Line(15_000_000, 0.8, 1280, 720, True)}))
    up, *_ = lines.rows(DERIVED, 100.0)
    assert (up.reason, up.silent) == ("excess", False)
    lines.published(messages.Published("c", ()))
    lines.closed(messages.Closed("c", "up-1", "link:3", "site:hue", "excess"), 100.0)
    cut, *_ = lines.rows(DERIVED, 101.0)
    assert (cut.site, cut.way, cut.what, cut.reason, cut.silent) == (
        7,
        "up",
        "encoder",
        "excess",
        True,
    )
    assert not [row for row in lines.rows(DERIVED, 161.0) if row.way == "up"]


def test_who_was_lost_is_told_as_silent_for_a_minute_more() -> None:
    """Else the desk would read that this site sends nothing, as one does that means to."""
    lines = told()
    lines.closed(messages.Closed("c", "up-0", "op", "site:hue", "silent"), 100.0)
    lines.published(messages.Published("c", ()))
    assert not [row for row in lines.rows(DERIVED, 101.0) if row.way == "up"], "it came anew"
    lines.closed(messages.Closed("c", "up-1", "op", "site:hue", "silent"), 100.0)
    lost, *_ = lines.rows(DERIVED, 101.0)
    assert (lost.way, lost.what, lost.reason, lost.silent) == ("up", "camera", "", True)
    assert not [row for row in lines.rows(DERIVED, 161.0) if row.way == "up"]


def test_staff_and_site_are_told_of_a_narrow_uplink_as_long_as_it_is_one() -> None:
    telling = Telling()
    telling.open(1)
    telling.lines[1] = lines = told()
    heard: list[tuple[int | None, bool]] = []
    telling.on_live = lambda _, type, data, holder=None, site=None: heard.append(
        (site, data["site:hue"]["narrow"])
    )
    now_s = time.monotonic()
    wide = msgspec.structs.replace(SAID, limited="none")
    for said, at_s in ((None, 0), (SAID, now_s - 20), (wide, now_s - 10), (SAID, now_s)):
        if said is not None:
            lines.report(GRANTS["op"], "up-1", "op", said, at_s)
        telling.hear(1, DERIVED, messages.Lines("c", {"site:hue": Line(150_000, 0.0, 320, 180)}))
    assert heard == [(to, narrow) for narrow in (False, True, False, True) for to in (None, 7)]
    assert not lines.is_narrow("site:hue", now_s + 40), "what is old says nothing of now"
    assert not lines.is_narrow("site:vinh", now_s), "nobody sends it"


def test_a_site_is_told_why_its_encoder_was_cut_off() -> None:
    telling = Telling()
    telling.open(1)
    heard: list[tuple[object, ...]] = []
    telling.on_live = lambda _, type, data, holder=None, site=None: heard.append(
        (type, data["reason"], holder, site)
    )
    for holder, reason in (("link:3", "excess"), ("op", "excess"), ("link:3", "left")):
        telling.hear(1, DERIVED, messages.Closed("c", "up-1", holder, "site:hue", reason))
    assert heard == [
        ("media_closed", "excess", "link:3", None),
        ("media_closed", "excess", None, 7),
        ("media_closed", "excess", "op", None),
        ("media_closed", "left", "link:3", None),
    ]
    assert [row.what for row in telling.lines[1].rows(DERIVED, 0.0)] == ["camera"]


def test_reports_of_others_sessions_are_let_be_and_too_many_refused() -> None:
    lines = told()
    lines.report(GRANTS["op"], "d-2", "op", SAID, 100.0)
    lines.report(GRANTS["op"], "made up", "op", SAID, 100.0)
    assert lines.freezes == {}
    lines.report(GRANTS["op"], "d-1", "op", SAID, 100.0)
    with pytest.raises(SlowDown):
        lines.report(GRANTS["op"], "d-1", "op", SAID, 101.0)
    assert lines.freezes == {"site:hue": (2, 900)}
    lines.downlinks(messages.Downlinks("c", {}))
    lines.report(GRANTS["op"], "d-1", "op", SAID, 102.0)
    assert lines.freezes == {"site:hue": (2, 900)}, "the session is gone, what it counted is not"


@pytest.fixture
def steering(tmp_path: Path) -> Steering:
    made = Steering(None, [], tmp_path)  # type: ignore[arg-type]
    made.derived[1], made.telling.lines[1] = DERIVED, told()
    other = replace(DERIVED, slug="other")
    made.derived[2], made.telling.lines[2] = other, told()
    return made


def test_a_site_sees_its_own_lines_and_staff_see_all(steering: Steering, tmp_path: Path) -> None:
    signalling = Signalling(load({}, data_dir=tmp_path), steering)

    def seen(role: Role, site: int | None, conference: int = 1) -> list[tuple[int | None, str]]:
        rows = signalling.lines(Actor("x", role, conference, site))
        return [(row.site, row.what) for row in rows]

    own = [(7, "camera"), (7, "room"), (7, "display")]
    assert seen(Role.MODERATOR, None) == seen(Role.OBSERVER, None) == [*own, (None, "desk")]
    assert seen(Role.OPERATOR, 7) == own
    assert seen(Role.OPERATOR, 8) == seen(Role.DISPLAY, 7) == seen(Role.TRAINEE, 7) == []
    assert seen(Role.MODERATOR, None, conference=3) == []


def test_metrics_have_one_series_a_kind_of_line(steering: Steering) -> None:
    steering.telling.lines[1].report(GRANTS["op"], "d-1", "op", SAID, 100.0)
    second = {"d-2": down("display"), "d-4": down("display", carries_bps=300_000, loss=0.2)}
    steering.telling.lines[1].downlinks(messages.Downlinks("c", second))
    steering.loads = [messages.Load(0.25, 100, 900), None]
    registry = CollectorRegistry()
    registry.register(MediaCollector(steering))
    text = generate_latest(registry).decode()
    line = 'conference="c",line="display",site="hue",way="down"'
    assert f"diemcau_line_estimate_bps{{{line}}} 300000.0" in text
    assert f"diemcau_line_bitrate_bps{{{line}}} 800000.0" in text
    assert f"diemcau_line_loss_ratio{{{line}}} 0.2" in text
    assert 'diemcau_line_freezes_total{conference="c",site="hue"} 2.0' in text
    assert 'diemcau_media_worker_cpu_ratio{worker="0"} 0.25' in text
    assert 'diemcau_media_worker_packets_total{way="down",worker="0"} 900.0' in text
    assert 'worker="1"' not in text
