"""Rosters as people send them: many formats, and every way in which one can be wrong."""

from __future__ import annotations

import io
import re
import unicodedata
import zipfile
from collections.abc import Sequence

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy import select

from server.conferences.models import Conference, RosterEntry, Site
from server.people.models import Person
from server.web.rates import Rate, Rates
from tests.web.conftest import House
from tests.web.organising import Organiser, workbook
from tests.web.test_organiser import HOME, NEW

PATH = f"{HOME}/roster/import"
HEADER = ["Họ và tên", "Mã", "Đơn vị", "Điểm cầu"]


@pytest.fixture
def rates() -> Rates:
    return Rates(device=Rate(1000, 100), address=Rate(1000, 100))


@pytest.fixture
async def organiser(house: House) -> Organiser:
    made = await Organiser.sign_in(house)
    await made.done("/conferences/new", NEW)
    await made.done(f"{HOME}/sites", {"names": "Hội trường\nĐiện Bàn", "kind": "remote"})
    return made


def kept(house: House) -> list[tuple[str, str, str]]:
    """Code, name and site of everyone on the new conference's roster, by code."""
    query = (
        select(Person.code, Person.name, Site.name)
        .join(RosterEntry, RosterEntry.person_id == Person.id)
        .join(Site, Site.id == RosterEntry.site_id)
        .join(Conference, Conference.id == RosterEntry.conference_id)
        .where(Conference.title == NEW["title"])
        .order_by(Person.code)
    )
    with house.database.read_session() as session:
        return [(code, name, site) for code, name, site in session.execute(query)]


async def preview(
    organiser: Organiser, data: bytes, site: str = "", name: str = "ds.xlsx"
) -> tuple[str, str]:
    """Address and text of the preview of a file that can be read."""
    answer, text = await organiser.upload(PATH, data, {"site": site}, name=name)
    assert answer.status == 303, text
    return answer.headers["Location"], await organiser.get(answer.headers["Location"])


def csv(rows: Sequence[Sequence[str]], delimiter: str = ",") -> str:
    return "\r\n".join(delimiter.join(row) for row in rows) + "\r\n"


ROWS = [HEADER, ["Nguyễn Thị Ước", "00042", "Xã Ấm", "Điện Bàn"]]
KEPT = [("00042", "Nguyễn Thị Ước", "Điện Bàn")]


def _windows_1258(text: str) -> bytes:
    """As Vietnamese Windows wrote it: tones as signs of their own after the vowel."""
    out = []
    for char in unicodedata.normalize("NFC", text):
        try:
            out.append(char.encode("cp1258"))
        except UnicodeEncodeError:
            vowel = unicodedata.normalize("NFD", char)
            tone = next(c for c in vowel if c in "\u0300\u0301\u0303\u0309\u0323")
            rest = unicodedata.normalize("NFC", vowel.replace(tone, ""))
            out.append((rest + tone).encode("cp1258"))
    return b"".join(out)


DRESSES = {
    "xlsx": workbook(ROWS),
    "utf-8": csv(ROWS).encode(),
    "utf-8 with a mark": csv(ROWS, ";").encode("utf-8-sig"),
    "utf-16": csv(ROWS, "\t").encode("utf-16"),
    "utf-16 without a mark": csv(ROWS, "\t").encode("utf-16-le"),
    "windows-1258": _windows_1258(csv(ROWS)),
    "decomposed": unicodedata.normalize("NFD", csv(ROWS)).encode(),
    "a title above": workbook([["DANH SÁCH HỌC VIÊN"], [], *ROWS]),
    "other names": workbook([["STT", "HO TEN", "MA SO (*)", "co quan", "ĐIỂM CẦU"], [1, *ROWS[1]]]),
}


async def test_one_roster_in_every_dress(house: House, organiser: Organiser) -> None:
    for dress, data in DRESSES.items():
        # The name of the file says nothing; what is in it does.
        address, text = await preview(organiser, data, name="gì đó.bin")
        assert "Nhập 1 người" in text and "cell-wrong" not in text, dress
        await organiser.done(address, {})
        assert kept(house) == KEPT, dress
        query = select(Person).where(Person.code == "00042")
        person = house.database.read_now(lambda s, q=query: s.scalars(q).one().id)
        await organiser.done(
            f"{HOME}/roster/remove", {"person": str(person)}, page=f"{HOME}/roster"
        )


BROKEN_ZIP = workbook(ROWS)[:2000]


def _other_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("word/document.xml", "<w:document/>")
    return out.getvalue()


def _bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for n in range(3):
            archive.writestr(f"xl/worksheets/sheet{n}.xml", b" " * 70_000_000)
    return out.getvalue()


BROKEN = [
    (b"", "Tệp trống."),
    (b"\n \n", "Tệp trống."),
    (b"%PDF-1.7\n1 0 obj\n", "không phải bảng tính"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), "không phải bảng tính"),
    (b"<html><body>x</body></html>", "không phải bảng tính"),
    (BROKEN_ZIP, "Không đọc được bảng tính"),
    (_other_zip(), "Không đọc được bảng tính"),
    (_bomb(), "Không đọc được bảng tính"),
    (bytes.fromhex("D0CF11E0A1B11AE1") + b"\0" * 600, "Không đọc được bảng tính"),
    (csv([HEADER]).encode(), "chưa có học viên nào"),
    (b'Ten,Ma\r\n"never closed,1\r\n', "Không đọc được bảng tính"),
]


async def test_what_is_no_roster_is_told_at_the_field(house: House, organiser: Organiser) -> None:
    for data, why in BROKEN:
        answer, text = await organiser.upload(PATH, data, {"site": ""})
        assert answer.status == 400 and why in text and 'id="file-error"' in text, data[:20]
    assert kept(house) == []


async def test_the_roster_is_searched_without_diacritics(organiser: Organiser) -> None:
    location, _ = await preview(organiser, csv(ROWS).encode(), name="ds.csv")
    await organiser.done(location, {})
    for words in ("uoc", "xã ấm", "XA AM", "Ấm", "00042"):
        assert "Nguyễn Thị Ước" in await organiser.get(f"{HOME}/roster?q={words}")
    assert "Nguyễn Thị Ước" not in await organiser.get(f"{HOME}/roster?q=khong")


async def test_missing_columns_are_named(house: House, organiser: Organiser) -> None:
    address, text = await preview(organiser, workbook([["STT", "Chức vụ"], ["1", "Chủ tịch"]]))
    assert "<b>Họ và tên</b>" in text and "<b>Điểm cầu</b>" in text and "STT" in text
    answer, _ = await organiser.post(address, {}, page=PATH)
    assert answer.status == 409 and kept(house) == []
    # Without a column of sites, one may be chosen for all.
    _, text = await preview(organiser, workbook([["Tên"], ["Lan"]]), site="dien-ban")
    assert "Nhập 1 người" in text


async def test_wrong_cells_are_marked_and_nothing_is_changed_by_half(
    house: House, organiser: Organiser
) -> None:
    rows = [
        HEADER,
        ["Lan", "A-1", "X", "Điện Bàn"],
        ["", "A2", "X", "Điện Bàn"],
        ["Minh", "a 1", "X", "Điện Bàn"],
        ["Hoa", "--", "X", "Điện Bàn"],
        ["Cúc", "A5", "X", "Tam Kỳ"],
        ["Mai", "A6", "X" * 400, ""],
        [],
        ["  Trúc   Lâm ", "A7", "X", "dien ban"],
    ]
    address, text = await preview(organiser, workbook(rows))
    for why in (
        "Thiếu họ và tên.",
        "Trùng mã với dòng 2.",
        "Mã không có chữ hay số nào.",
        "Không có điểm cầu này.",
        "Thiếu điểm cầu.",
        "Dài quá 300 ký tự.",
    ):
        assert why in text, why
    assert text.count("cell-wrong") == 6 and "cell-changed" not in text  # only wrong rows shown
    assert "Tam Kỳ (1)" in text
    every = await organiser.get(f"{address}?show=all")
    assert "trước là “A-1”" in every and "Đã bỏ khoảng trắng thừa." in every
    answer, text = await organiser.post(address, {})
    assert answer.status == 409 and "Còn dòng sai" in text and kept(house) == []
    await organiser.done(address, {"skip": "1"})
    assert kept(house) == [("A1", "Lan", "Điện Bàn"), ("A7", "Trúc Lâm", "Điện Bàn")]
    # Confirmed once is confirmed: the preview is gone.
    await organiser.get(address, status=404)


async def test_unknown_sites_can_be_made_from_the_file(house: House, organiser: Organiser) -> None:
    rows = [
        HEADER,
        ["Lan", "1", "", "Tam Kỳ"],
        ["Mai", "2", "", "tam ky"],
        ["An", "3", "", "Hội An"],
    ]
    address, text = await preview(organiser, workbook(rows))
    assert "3 dòng sai" in text
    await organiser.done(f"{address}/sites", {}, page=address)
    assert "Nhập 3 người" in await organiser.get(address)
    await organiser.done(address, {})
    assert [site for _, _, site in kept(house)] == ["Tam Kỳ", "Tam Kỳ", "Hội An"]


async def test_sites_that_differ_by_a_tone_alone_are_not_mixed_up(organiser: Organiser) -> None:
    await organiser.done(f"{HOME}/sites", {"names": "Tân Hoa\nTân Hòa", "kind": "remote"})
    names = ["tân  HÒA", "TAN HOA", "điện  bàn", "Dien Ban"]
    rows = [HEADER, *([f"Lan {n}", "", "", name] for n, name in enumerate(names))]
    address, text = await preview(organiser, workbook(rows))
    assert text.count("cell-wrong") == 1 and "TAN HOA (1)" in text
    every = await organiser.get(f"{address}?show=all")
    assert every.count("cell-changed") == 1 and "Trong tệp là “Dien Ban”." in every


async def test_known_people_who_would_change_are_pointed_out(
    house: House, organiser: Organiser
) -> None:
    address, _ = await preview(organiser, workbook(ROWS))
    await organiser.done(address, {})
    again = [HEADER, ["Nguyễn Thị Được", "00042", "Xã Ấm", "Hội trường"]]
    address, text = await preview(organiser, workbook(again))
    assert "đang là của “Nguyễn Thị Ước”" in text and "Chuyển từ “Điện Bàn”." in text
    await organiser.done(address, {})
    assert kept(house) == [("00042", "Nguyễn Thị Được", "Hội trường")]


async def test_a_preview_is_its_conferences_alone(house: House, organiser: Organiser) -> None:
    address, _ = await preview(organiser, workbook(ROWS))
    await organiser.done("/conferences/new", {**NEW, "title": "Khác"})
    stolen = address.replace(HOME, "/conferences/khac")
    await organiser.get(stolen, status=404)
    for name in ("..%2f..%2fweb", "x" * 22):
        await organiser.get(f"{PATH}/{name}", status=404)


async def test_names_and_first_names_in_two_columns(house: House, organiser: Organiser) -> None:
    rows = [["Họ đệm", "Tên", "Điểm cầu"], ["Nguyễn Thị", "Ước", "Điện Bàn"]]
    address, text = await preview(organiser, workbook(rows))
    assert "Nguyễn Thị Ước" in text and "sẽ cấp" in text
    await organiser.done(address, {})
    [(code, name, _)] = kept(house)
    assert name == "Nguyễn Thị Ước" and re.fullmatch(r"[2-9A-Z]{8}", code)


async def test_the_template_can_be_sent_back(house: House, organiser: Organiser) -> None:
    data = await organiser.bytes(f"{HOME}/roster/template.xlsx")
    cells = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python()
    assert cells[0][:2] == ["Họ và tên", "Mã"]
    _, text = await preview(organiser, data)
    assert "00123" in text and "Nhập 1 người" in text


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_fifty_thousand_rows_are_shown_and_not_one_more(organiser: Organiser) -> None:
    """That so many can be taken in is tests/conferences/test_roster.py's."""
    rows = [HEADER, *([f"Học viên {n}", f"{n:06}", "Xã", "Điện Bàn"] for n in range(50_000))]
    _address, text = await preview(organiser, csv(rows).encode(), name="ds.csv")
    assert "50.000 dòng" in text and text.count("<tr>") == 201
    rows.append(["Một người nữa", "X", "Xã", "Điện Bàn"])
    answer, text = await organiser.upload(PATH, csv(rows).encode())
    assert answer.status == 400 and "hơn 50000 dòng" in text
