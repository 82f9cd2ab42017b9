"""Check-ins, ticks, counts and the workbook."""

from __future__ import annotations

import io
from itertools import chain

import pytest
from python_calamine import CalamineWorkbook

from server.attendance.models import CheckIn as Row
from server.attendance.reports import rows, write_xlsx
from server.attendance.rules import changed_counts, safe_cell
from server.errors import Conflict, Forbidden, NotFound
from server.people.links import create_link, redeem
from server.people.seats import actor_of_seat
from server.permissions import Role
from server.protocol import CheckIn, CountAttendance, ImportRoster, RosterRow, Tick, Untick
from tests.play import Play


def test_a_check_in_is_told_to_its_room_and_person_alone(play: Play) -> None:
    made = play.does(play.an, CheckIn())
    assert made == {"checked_in_at": "2023-06-03T05:00:00Z"}
    told = {name for name, actor in play.watched.items() if play.hears(actor)}
    assert told == {"an", "o_hue"}
    assert play.sees(play.an)["attendance"][str(play.an.person_id)]["evidence"] == "code"


def test_checking_in_twice_gives_the_first_time_and_tells_nothing(play: Play) -> None:
    first = play.does(play.an, CheckIn())
    play.later(60)
    assert play.does(play.an, CheckIn()) == first
    assert play.does(play.o_hue, Tick(person=play.an.person_id)) == first
    assert play.told() == []


def test_a_personal_link_is_evidence_of_a_scanned_code(play: Play) -> None:
    _, token = create_link(
        play.session,
        Role.TRAINEE,
        play.conference_id,
        play.now,
        play.conference.ends_at,
        site_id=play.hue,
        person_id=play.person("0001").id,
    )
    seat, secret = redeem(play.session, token, play.now, "phone of 0001")
    play.does(actor_of_seat(play.session, seat.id, secret, play.now), CheckIn())
    assert play.heard[0].data["evidence"] == "qr"


def test_an_operator_ticks_those_of_their_room(play: Play) -> None:
    binh = play.binh.person_id
    play.does(play.o_hue, Tick(person=binh))
    with pytest.raises(Forbidden):
        play.does(play.o_dong_ha, Untick(person=binh))
    with pytest.raises(Forbidden):
        play.does(play.an, Tick(person=binh))
    with pytest.raises(NotFound):
        play.does(play.o_hue, Tick(person=999))
    play.does(play.o_hue, Untick(person=binh))
    with pytest.raises(Conflict):
        play.does(play.o_hue, Untick(person=binh))
    (row,) = play.session.query(Row)
    assert row.undone_by == play.o_hue.holder
    play.does(play.mai, Tick(person=binh))


def test_attendance_is_kept_from_the_lobby_to_the_end(play: Play) -> None:
    play.moves_to("scheduled")
    with pytest.raises(Conflict):
        play.does(play.an, CheckIn())
    play.moves_to("lobby", "live", "ended")
    with pytest.raises(Conflict):
        play.does(play.an, CheckIn())
    play.does(play.o_hue, Tick(person=play.an.person_id))
    play.moves_to("archived")
    with pytest.raises(Conflict):
        play.does(play.o_hue, Untick(person=play.an.person_id))


def test_counts_are_told_for_the_sites_that_changed(play: Play) -> None:
    play.does(play.an, CheckIn())
    play.does(play.binh, CheckIn())
    assert play.site(play.hue).present == 0
    play.ticks(CountAttendance())
    assert [event.data for event in play.heard] == [{"id": play.hue, "expected": 2, "present": 2}]
    play.ticks(CountAttendance())
    assert play.told() == []
    play.does(play.o_hue, Untick(person=play.an.person_id))
    play.ticks(CountAttendance())
    assert play.site(play.hue).present == 1


def test_changed_counts() -> None:
    assert changed_counts({1: 5, 2: 0, 3: 4}, {1: 5, 2: 1}) == {2: 1, 3: 0}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_begins_a_formula(start: str) -> None:
    assert safe_cell(f"{start}1+1") == f"'{start}1+1"
    assert safe_cell(f"1{start}") == f"1{start}"


def test_the_workbook_holds_everyone_as_text(play: Play) -> None:
    play.does(play.hoa, ImportRoster(rows=(RosterRow(name="=cmd|' /C calc'!A0", site="hue"),)))
    play.does(play.an, CheckIn())
    made = rows(play.session, play.conference)
    names = [row.name for row in made]
    assert names == ["Nguyễn Văn An", "Trần Thị Bình", "=cmd|' /C calc'!A0", "Lê Minh Châu"]
    file = io.BytesIO()
    write_xlsx(made, "Asia/Ho_Chi_Minh", file)
    file.seek(0)
    sheet = CalamineWorkbook.from_filelike(file).get_sheet_by_index(0).to_python()
    assert sheet[0][3] == "Họ và tên" and len(sheet) == 5
    assert sheet[1][2:4] == ["0001", "Nguyễn Văn An"]
    assert sheet[1][7] == "2023-06-03T12:00:00+07:00"
    assert sheet[2][7] == ""
    assert not any(str(cell).startswith("=") for cell in chain.from_iterable(sheet))
