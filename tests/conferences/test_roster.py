"""Rosters: checked row by row, written in bulk, imported again without harm."""

from __future__ import annotations

import unicodedata

import pytest
from sqlalchemy import func, select

from server.conferences.models import RosterEntry
from server.conferences.roster import listed
from server.errors import Conflict, Invalid, NotFound
from server.people.codes import ALPHABET
from server.people.models import Person, Seat, Unit
from server.protocol import CheckIn, ImportRoster, RemoveFromRoster, RosterRow
from tests.play import Play


def row(name: str, site: str = "hue", **more: str) -> RosterRow:
    return RosterRow(name=name, site=site, **more)


def imports(play: Play, *rows: RosterRow) -> dict:
    return play.does(play.hoa, ImportRoster(rows=rows))


def test_a_wrong_row_is_named_and_nothing_is_written(play: Play) -> None:
    good = row("Phạm Đức", code="10")
    for wrong, says in (
        (row("Ai đó", "da-nang"), "không có điểm cầu"),
        (row("  "), "thiếu họ và tên"),
        (row("Ai đó", code=" 1-0"), "trùng với dòng"),
        (row("Ai đó", code="--"), "không có chữ hay số"),
    ):
        with pytest.raises(Invalid) as refused:
            imports(play, good, wrong)
        assert says in refused.value.message and refused.value.values["row"] == 2
    assert play.session.scalar(select(func.count()).select_from(Person)) == 3


def test_everyone_hears_the_counts_and_the_room_its_list(play: Play) -> None:
    imports(play, row("Phạm Đức", code="10"))
    assert play.hears(play.o_hue) == ["roster.imported", "site.counted"]
    assert play.hears(play.o_dong_ha) == ["site.counted"]
    assert play.site(play.hue).expected == 3


def test_a_known_code_updates_its_person(play: Play) -> None:
    made = imports(play, row("Nguyễn Văn An", code="00 01", unit="Sở Y tế", post="Trưởng phòng"))
    assert (made["created"], made["drawn"]) == (0, 0)
    an = play.person("0001")
    assert an.post == "Trưởng phòng"
    assert play.session.get_one(Unit, an.unit_id).name == "Sở Y tế"
    assert play.site(play.hue).expected == 2


def test_codes_keep_their_zeros_and_names_one_form(play: Play) -> None:
    imports(play, row(unicodedata.normalize("NFD", "Đỗ  Thị Hòa"), code="0010"))
    assert play.person("0010").name == "Đỗ Thị Hòa"
    assert play.session.scalar(select(Person).where(Person.code == "10")) is None


def test_missing_codes_are_drawn_and_importing_again_adds_nobody(play: Play) -> None:
    rows = [row("Hồ Văn Em", unit="Xã 1"), row("Hồ Văn Em", unit="Xã 1"), row("Hồ Em")]
    assert imports(play, *rows) == {"imported": 3, "created": 3, "drawn": 3}
    before = {p.code for p in listed(play.session, play.conference_id)}
    assert all(len(c) == 8 and set(c) <= set(ALPHABET) for c in before - {"0001", "0002", "0003"})
    assert imports(play, *rows) == {"imported": 3, "created": 0, "drawn": 0}
    assert {p.code for p in listed(play.session, play.conference_id)} == before


def test_units_hang_under_one_root(play: Play) -> None:
    units = list(play.session.scalars(select(Unit)))
    (root,) = [unit for unit in units if unit.parent_id is None]
    assert root.name == "Sở Nội vụ"
    assert {u.name for u in units if u.parent_id == root.id} == {"Phường Thuận Hòa", "Phường 1"}


def test_who_moves_takes_their_seat_along(play: Play) -> None:
    an = play.watched.pop("an")  # the phone is connected anew, as another room's
    imports(play, row("Nguyễn Văn An", "dong-ha", code="0001"))
    assert play.session.get_one(Seat, an.holder).site_id == play.dong_ha
    assert (play.site(play.hue).expected, play.site(play.dong_ha).expected) == (1, 2)
    assert "roster.imported" in play.hears(play.o_hue)


def test_who_is_removed_is_no_longer_expected_nor_present(play: Play) -> None:
    play.does(play.an, CheckIn())
    play.watched.pop("an")
    an = play.person("0001").id
    play.does(play.hoa, RemoveFromRoster(person=an))
    assert play.told() == ["roster.removed", "attendance.undone", "site.counted"]
    assert str(an) not in play.sees(play.o_hue)["roster"]
    with pytest.raises(NotFound):
        play.does(play.hoa, RemoveFromRoster(person=an))
    with pytest.raises(NotFound):
        play.phone("0001")


def test_a_roster_is_closed_with_its_conference(play: Play) -> None:
    play.moves_to("live", "ended")
    with pytest.raises(Conflict):
        imports(play, row("Phạm Đức"))


def test_a_list_has_the_vietnamese_order(play: Play) -> None:
    imports(play, row("Lê Ân"), row("Trần Ánh"), row("Vũ Ba"))
    names = [each.name for each in listed(play.session, play.conference_id, play.hue)]
    assert names == ["Nguyễn Văn An", "Trần Ánh", "Lê Ân", "Vũ Ba", "Trần Thị Bình"]


@pytest.mark.parametrize(("kind", "count"), [("sqlite", 50_000), ("postgresql", 22_000)])
def test_tens_of_thousands_of_rows(play: Play, count: int) -> None:
    """As many as a file may have; of PostgreSQL more than one statement has room for: 65,535
    parameters, of which a row takes three or more."""
    play.watched = {}
    rows = tuple(
        row(f"Nguyễn Thị Số {n}", "hue" if n % 2 else "dong-ha", unit=f"Xã {n % 91}")
        for n in range(count)
    )
    assert imports(play, *rows)["drawn"] == count
    query = select(func.count()).select_from(RosterEntry)
    assert play.session.scalar(query) == count + 3
    assert play.site(play.hue).expected == count // 2 + 2
