"""What rooms are told of lines that make pictures smaller."""

from __future__ import annotations

import msgspec

from server.downlinks import Reduction, Reductions
from server.media.messages import Downlink, Grant, Slot

GRANTS = {"a": Grant(own="site:a"), "b": Grant(own="site:b"), "desk": Grant(receive=True)}


def line(holder: str, carries_bps: int | None, *, reduced: bool = True) -> Downlink:
    return Downlink(holder, 1, carries_bps, carries_bps, 40, 0.0, "growth", reduced, False, {})


def test_a_page_is_told_once_and_that_it_is_over() -> None:
    told = Reductions()
    assert told.take({"s": line("a", 1_000_000, reduced=False)}) == {}
    assert told.take({"s": line("a", 612_345)}) == {"s": Reduction(610_000)}
    assert told.take({"s": line("a", 650_000)}) == {}, "a small change is not read"
    assert told.take({"s": line("a", 384_000)}) == {"s": Reduction(380_000)}
    assert told.take({"s": line("a", 2_000_000, reduced=False)}) == {"s": Reduction()}
    assert told.take({}) == {}


def test_a_page_that_was_away_is_told_again_what_is_not_well() -> None:
    told = Reductions()
    told.take({"s": line("a", 600_000), "t": line("a", 2_000_000, reduced=False)})
    for session in ("s", "t", "gone"):
        told.forget(session)
    again = told.take({"s": line("a", 600_000), "t": line("a", 2_000_000, reduced=False)})
    assert again == {"s": Reduction(600_000)}


def test_a_line_of_which_nothing_is_known_is_not_told_of() -> None:
    assert Reductions().take({"s": line("a", None)}) == {}


def test_a_machine_that_sleeps_is_not_said_to_receive_smaller_pictures() -> None:
    told = Reductions()
    told.take({"s": line("a", 600_000)})
    silent = {"s": msgspec.structs.replace(line("a", 600_000), reason="silence")}
    assert told.take(silent) == {"s": Reduction()}
    assert told.sites(silent, GRANTS) == {}


def test_small_changes_add_up() -> None:
    told = Reductions()
    news = [told.take({"s": line("a", bps)}) for bps in range(500_000, 800_000, 50_000)]
    assert [each["s"].carries_bps for each in news if each] == [500_000, 650_000]


def test_a_page_is_told_which_pictures_are_withheld() -> None:
    slots = {
        "stage": Slot(180, 720, 150_000, "line"),
        "wall0": Slot(0, 180, 0, "line"),
        "wall1": Slot(0, 0, 0, "size"),
        "wall2": Slot(0, 180, 90_000, "line"),  # its keyframe is awaited
    }
    narrow = msgspec.structs.replace(line("a", 300_000), slots=slots)
    told = Reductions()
    assert told.take({"s": narrow}) == {"s": Reduction(300_000, ("wall0",))}
    assert told.take({"s": narrow}) == {}
    assert told.take({"s": line("a", 300_000)}) == {"s": Reduction(300_000)}
    assert told.take({"s": line("a", 300_000, reduced=False)}) == {"s": Reduction()}


def test_staff_hear_of_a_sites_narrowest_line() -> None:
    told = Reductions()
    downlinks = {
        "s1": line("a", 500_000),
        "s2": line("a", 300_000),
        "s3": line("b", 1_000_000, reduced=False),
        "s4": line("desk", 200_000),
    }
    told.take(downlinks)
    assert told.sites(downlinks, GRANTS) == {"site:a": 300_000}
