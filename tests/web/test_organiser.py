"""A whole conference set up by forms alone, and what the forms refuse."""

from __future__ import annotations

import io
import re
from datetime import timedelta

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy import func, select

from server.activities.models import Activity, Item
from server.conferences.models import AgendaItem, Appointment, Conference, RosterEntry, Site
from server.people.accounts import create_account, find_account
from server.people.links import create_link
from server.people.models import Link, Person
from server.people.passwords import hash_password
from server.permissions import Role
from server.web import organiser_links
from server.web.rates import Rate, Rates
from server.web.site import now
from tests.web.conftest import PASSWORD, House
from tests.web.organising import Organiser, workbook

NEW = {
    "title": "Tập huấn chỉ số cải cách hành chính",
    "organiser": "Sở Nội vụ",
    "starts_at": "2026-12-03T08:00",
    "ends_at": "2026-12-03T17:00",
    "timezone": "Asia/Ho_Chi_Minh",
}
HOME = "/conferences/tap-huan-chi-so-cai-cach-hanh-chinh"


@pytest.fixture
def rates() -> Rates:
    return Rates(device=Rate(1000, 100), address=Rate(1000, 100))


async def _made(house: House) -> Organiser:
    organiser = await Organiser.sign_in(house)
    assert await organiser.done("/conferences/new", NEW) == f"{HOME}?done=created"
    return organiser


def _count(house: House, table: type) -> int:
    return house.database.read_now(lambda s: s.scalar(select(func.count()).select_from(table)) or 0)


async def test_a_conference_is_set_up_by_forms(house: House) -> None:
    organiser = await Organiser.sign_in(house)
    assert "Chưa có hội nghị nào" in await organiser.get("/conferences")
    await organiser.done("/conferences/new", NEW)
    assert NEW["title"] in await organiser.get("/conferences")
    overview = await organiser.get(HOME)
    assert overview.count('<li class="done">') == 0 and "Bản nháp" in overview

    agenda = {"rows": "3", "title-0": "Trao đổi", "date-0": "2026-12-03", "start-0": "09:00"}
    agenda |= {"end-0": "10:00", "kind-0": "questions", "kind-1": "talk", "title-1": "Khai mạc"}
    agenda |= {"date-1": "2026-12-03", "start-1": "08:00", "end-1": "09:00", "speaker-1": "Bà Mai"}
    await organiser.done(f"{HOME}/agenda", agenda)
    with house.database.read_session() as session:
        items = session.scalars(select(AgendaItem).order_by(AgendaItem.position)).all()
        assert [item.title for item in items] == ["Khai mạc", "Trao đổi"]
        assert items[0].starts_at.isoformat() == "2026-12-03T01:00:00+00:00"
    # What is kept comes back in the form, and keeps its ids.
    text = await organiser.get(f"{HOME}/agenda")
    assert f'name="id-0" value="{items[0].id}"' in text and 'value="08:00"' in text

    names = "Hội trường tỉnh\nHuyện Ân Thi\nHuyện Kim Động"
    await organiser.done(f"{HOME}/sites", {"names": names, "kind": "remote"})
    with house.database.read_session() as session:
        ids = session.execute(
            select(Site.id, Site.slug)
            .join(Conference)
            .where(Conference.title == NEW["title"])
            .order_by(Site.position)
        ).all()
    assert [slug for _, slug in ids] == ["hoi-truong-tinh", "huyen-an-thi", "huyen-kim-dong"]
    renamed = {"name": "Hội trường Tỉnh ủy", "kind": "main"}
    await organiser.done(f"{HOME}/sites/{ids[0][0]}", renamed, page=f"{HOME}/sites")
    await organiser.done(f"{HOME}/sites/{ids[2][0]}", {"remove": "1"}, page=f"{HOME}/sites")

    roster = [["Họ và tên", "Mã", "Điểm cầu"], ["Đỗ Văn Ân", "00123", "Huyện Ân Thi"]]
    roster += [["Lê Thị Bưởi", "", "hội trường tỉnh ủy"]]
    answer, _ = await organiser.upload(f"{HOME}/roster/import", workbook(roster))
    preview = answer.headers["Location"]
    assert "Nhập 2 người" in await organiser.get(preview)
    assert _count(house, RosterEntry) == 2  # the cast's
    await organiser.done(preview, {})
    listed = await organiser.get(f"{HOME}/roster?q=do+van+an")
    assert "Đỗ Văn Ân" in listed and "00123" in listed and "Bưởi" not in listed

    person = {"new_name": "Trần Hà", "new_username": "ha.tran", "new_role": "moderator"}
    person["new_password"] = "ban đầu dài lắm"
    await organiser.done(f"{HOME}/people/new", person, page=f"{HOME}/people")
    with house.database.read_session() as session:
        account = find_account(session, "ha.tran")
        assert account is not None and account.must_change and not account.is_organiser

    quiz = {"title": "Kiểm tra đầu giờ", "rows": "2", "text-0": "Hai cộng hai?", "correct-0": "B"}
    quiz |= {"options-0": "Ba\nBốn\n\nNăm", "seconds-0": "20", "seconds-1": "30"}
    await organiser.done(f"{HOME}/quizzes/new", quiz)
    with house.database.read_session() as session:
        item = session.scalars(select(Item)).one()
        assert (item.options, item.correct, item.seconds) == (["Ba", "Bốn", "Năm"], 1, 20)

    answer, sheets = await organiser.post(f"{HOME}/links/all", {}, page=f"{HOME}/links")
    assert answer.status == 200 and answer.headers["Cache-Control"] == "no-store"
    tokens = re.findall(r"/join/([\w-]+)<", sheets)
    assert len(set(tokens)) == 4  # operator and display of two rooms
    for token in tokens:
        assert token not in await organiser.get(f"{HOME}/links")
    key = re.search(r'name="key" value="([^"]+)"', await organiser.get(f"{HOME}/links"))
    assert key is not None
    again = {"key": key[1], "replace": "1"}
    sent = [await organiser.post(f"{HOME}/links/all", again, page=f"{HOME}/links") for _ in "12"]
    first, second = (re.findall(r"/join/([\w-]+)<", text) for _, text in sent)
    assert first == second, "a sheet that is reloaded makes no more links"
    assert len(set(first) - set(tokens)) == 4
    answer, text = await house.browser().get(f"/join/{tokens[0]}")
    assert answer.status == 404, "replaced"
    tokens = first
    answer, text = await house.browser().get(f"/join/{tokens[0]}")
    assert answer.status == 200 and NEW["title"] in text

    assert (await organiser.get(HOME)).count('<li class="done">') == 6
    for state in ("lobby", "live"):
        await organiser.done(f"{HOME}/move", {"to": state}, page=HOME)
        if state == "lobby":
            offered = re.findall(r'name="to" value="(\w+)"', await organiser.get(HOME))
            assert offered == ["live", "scheduled"], "the usual step comes first"
    assert "Đang diễn ra và được ghi lại" in await organiser.get(HOME)
    answer, _ = await organiser.post(f"{HOME}/enter", {"role": "organiser"}, page=HOME)
    assert answer.status == 303 and answer.headers["Location"].startswith("/s/")
    seats = await organiser.get(f"{HOME}/seats")
    seat = re.search(r'name="seat" value="([^"]+)"', seats)
    assert seat and "Ban tổ chức" in seats and "Tài khoản" in seats
    revoked = await organiser.done(f"{HOME}/seats/revoke", {"seat": seat[1]}, page=f"{HOME}/seats")
    assert revoked.endswith("done=seat_revoked")
    assert "Chưa có máy nào vào" in await organiser.get(f"{HOME}/seats")
    await organiser.done(f"{HOME}/move", {"to": "ended"}, page=HOME)
    assert "/replay/" in await organiser.get(HOME)
    observer = {"username": "ha.tran", "role": "observer"}
    await organiser.done(f"{HOME}/people", observer)
    await organiser.done(f"{HOME}/move", {"to": "archived"}, page=HOME)
    answer, _ = await organiser.post(f"{HOME}/people", {**observer, "role": "advisor"})
    assert answer.status == 409, "nothing is changed any more"
    for section in ("people", "quizzes", "links", "seats"):
        await organiser.get(f"{HOME}/{section}")


async def test_a_refused_form_keeps_what_was_typed(house: House) -> None:
    organiser = await _made(house)
    bad = {**NEW, "title": " ", "ends_at": "hôm nào", "organiser": "Sở <b>Nội vụ"}
    answer, text = await organiser.post(f"{HOME}/edit", bad)
    assert answer.status == 400
    assert "Hãy điền mục này." in text and "Hãy nhập ngày và giờ." in text
    assert 'value="Sở <b>Nội vụ"' in text and 'value="2026-12-03T08:00"' in text
    answer, text = await organiser.post(f"{HOME}/edit", {**NEW, "ends_at": NEW["starts_at"]})
    assert answer.status == 400 and "Giờ kết thúc phải sau giờ bắt đầu." in text
    agenda = {
        "rows": "1",
        "title-0": "Khai mạc",
        "date-0": "",
        "start-0": "09:00",
        "end-0": "08:00",
    }
    answer, text = await organiser.post(f"{HOME}/agenda", {**agenda, "kind-0": "dance"})
    assert answer.status == 400 and _count(house, AgendaItem) == 0
    assert "Hãy nhập ngày." in text and 'value="Khai mạc"' in text
    answer, text = await organiser.post(f"{HOME}/people", {"username": "ai đó", "role": "speaker"})
    assert answer.status == 404 and "Không có tài khoản “ai đó”." in text
    assert 'value="ai đó"' in text
    answer, text = await organiser.post(f"{HOME}/move", {"to": "live"}, page=HOME)
    assert answer.status == 409 and "Không chuyển được" in text


async def test_a_second_click_repeats_nothing(house: House) -> None:
    organiser = await _made(house)
    form = {"title": "Bài một", "rows": "1", "text-0": "Một?", "options-0": "1\n2", "key": "once"}
    form |= {"correct-0": "A", "seconds-0": "30"}
    for _ in range(2):
        await organiser.done(f"{HOME}/quizzes/new", form)
    assert _count(house, Activity) == 1
    await organiser.done(f"{HOME}/quizzes/new", {**form, "title": "Bài hai"})
    assert _count(house, Activity) == 2


async def test_a_conference_is_its_organisers_alone(house: House) -> None:
    """Whoever is not: signed out, another organiser, a moderator of the very conference, who may
    read its reports and nothing else."""
    pages = ("", "/edit", "/agenda", "/sites", "/people", "/roster", "/roster/import", "/quizzes")
    pages += (
        "/quizzes/new",
        "/links",
        "/seats",
        "/slips",
        "/qr-sheet",
        "/reports",
        "/reports/questions",
    )
    pages += ("/reports/quizzes", "/reports/attendance.xlsx", "/roster/template.xlsx", "/join.svg")
    organiser = await Organiser.sign_in(house)
    for page in pages:
        await organiser.get(f"/conferences/tap-huan{page}", status=404)
    for page, form in (("move", {"to": "ended"}), ("edit", NEW), ("links", {"role": "operator"})):
        answer, _ = await organiser.post(f"/conferences/tap-huan/{page}", form, page="/conferences")
        assert answer.status == 404
    answer, _ = await house.browser().get("/conferences/tap-huan/agenda")
    assert answer.status == 303
    assert answer.headers["Location"] == "/sign-in?next=/conferences/tap-huan/agenda"

    await organiser.done("/conferences/new", NEW)
    with house.database.write_session() as session:
        moderator = create_account(
            session, "dieu-phoi", hash_password(PASSWORD), now(), name="Điều phối"
        )
        made = session.scalars(select(Conference).where(Conference.title == NEW["title"])).one()
        session.add(Appointment(conference_id=made.id, account_id=moderator.id, role="moderator"))
        session.commit()
    other = await Organiser.sign_in(house, "dieu-phoi")
    await other.get("/conferences", status=403)
    for page in pages:
        await other.get(HOME + page, status=200 if page.startswith("/reports") else 404)


async def test_nothing_is_offered_that_is_then_refused(house: House) -> None:
    organiser = await _made(house)
    await organiser.done(f"{HOME}/sites", {"names": "Phòng A", "kind": "main"})
    assert "/people/dismiss" not in await organiser.get(f"{HOME}/people"), "the only organiser"
    with house.database.write_session() as session:
        create_account(session, "chi-hai", "!", now(), name="Chị Hai")
        session.commit()
    await organiser.done(f"{HOME}/people", {"username": "chi-hai", "role": "organiser"})
    assert (await organiser.get(f"{HOME}/people")).count("/people/dismiss") == 2
    assert "/roster/import" in await organiser.get(f"{HOME}/roster")
    for state, why in (
        ("ended", "Hội nghị đã kết thúc nên"),
        ("archived", "Hội nghị đã lưu trữ nên"),
    ):
        with house.database.write_session() as session:
            made = session.scalars(select(Conference).where(Conference.title == NEW["title"])).one()
            made.state = state
            session.commit()
        for page in ("/roster", "/slips"):
            assert "/roster/import" not in await organiser.get(HOME + page)
        assert why in await organiser.get(f"{HOME}/links")


async def test_links_that_are_shown_once_stay_while_they_are_looked_at(house: House) -> None:
    organiser = await _made(house)
    await organiser.done(f"{HOME}/sites", {"names": "Phòng A", "kind": "main"})
    assert "language-switch" in await organiser.get(f"{HOME}/links")
    answer, text = await organiser.post(f"{HOME}/links/all", {}, page=f"{HOME}/links")
    assert answer.status == 200 and "/join/" in text and "language-switch" not in text


async def test_sites_that_differ_by_case_or_spacing_are_one(house: House) -> None:
    organiser = await _made(house)
    await organiser.done(f"{HOME}/sites", {"names": "Phòng họp xã Đông Tảo", "kind": "remote"})
    for names, told in (
        ("Phòng B\nphòng  họp xã đông tảo", "Đã có điểm cầu “Phòng họp xã Đông Tảo”."),
        ("Phòng B\nphòng b", "“phòng b” được nhập hai lần."),
    ):
        answer, text = await organiser.post(f"{HOME}/sites", {"names": names, "kind": "remote"})
        assert answer.status == 400 and told in text
        assert _count(house, Site) == 3, "two of them of the other conference"


async def test_links_are_revoked_and_viewers_and_encoders_get_tokens(house: House) -> None:
    organiser = await _made(house)
    await organiser.done(f"{HOME}/sites", {"names": "Phòng A", "kind": "main"})
    with house.database.read_session() as session:
        site = session.scalars(select(Site).where(Site.name == "Phòng A")).one()
    form = {"role": "operator", "site": ""}
    answer, text = await organiser.post(f"{HOME}/links", form)
    assert answer.status == 400 and "Hãy chọn điểm cầu" in text
    _, text = await organiser.post(f"{HOME}/links", {"role": "encoder", "site": str(site.id)})
    assert f"/whip/{HOME.rsplit('/', 1)[1]}" in text and "Bearer" in text
    _, text = await organiser.post(f"{HOME}/links", {"role": "operator", "site": str(site.id)})
    token = re.findall(r"/join/([\w-]+)<", text)[0]
    with house.database.read_session() as session:
        link = session.scalars(select(Link).order_by(Link.id.desc())).first()
    assert link is not None
    assert "2 đường dẫn" in await organiser.get(HOME)
    await organiser.done(f"{HOME}/links/revoke", {"link": str(link.id)}, page=f"{HOME}/links")
    assert "1 đường dẫn" in await organiser.get(HOME)
    assert (await house.browser().get(f"/join/{token}"))[0].status == 404


async def test_every_link_is_listed_to_be_revoked(house: House) -> None:
    """Also one that no page makes, but the demo: whoever looks for it, to take it back, finds it."""
    organiser = await _made(house)
    with house.database.write_session() as session:
        made = session.scalars(select(Conference).where(Conference.title == NEW["title"])).one()
        mai = create_account(session, "mai-2", "!", now(), name="Chị Mai điều phối")
        session.flush()
        made_for = (made.id, now(), now() + timedelta(days=1))
        someone = session.scalars(select(Person)).first()
        assert someone is not None
        link, token = create_link(session, Role.MODERATOR, *made_for, account_id=mai.id)
        create_link(session, Role.TRAINEE, *made_for, person_id=someone.id)
        session.commit()
        sought, name = str(link.id), someone.name
    assert "2 đường dẫn" in await organiser.get(HOME), "as many as are listed"
    text = await organiser.get(f"{HOME}/links")
    assert re.search(r"Người điều phối</th><td[^>]*>Chị Mai điều phối", text)
    assert re.search(rf"Học viên</th><td[^>]*>{name}", text)
    assert f'href="{HOME}/people"' in text.partition("Bản in khác")[2], "where the others are"
    await organiser.done(f"{HOME}/links/revoke", {"link": sought}, page=f"{HOME}/links")
    assert (await house.browser().get(f"/join/{token}"))[0].status == 404


async def test_quizzes_come_from_a_spreadsheet_to_be_looked_through(house: House) -> None:
    organiser = await _made(house)
    rows = [["Câu hỏi", "A", "B", "C", "Đáp án đúng", "Số giây"]]
    rows += [["Thủ đô?", "Huế", "Hà Nội", "", "Hà Nội", "20"], ["Hai?", "1", "", "2", "C", ""]]
    path = f"{HOME}/quizzes/import"
    answer, text = await organiser.upload(path, workbook(rows), page=f"{HOME}/quizzes")
    assert answer.status == 200 and _count(house, Activity) == 0
    assert "Huế\nHà Nội</textarea>" in text and 'value="danh-sach"' in text
    # The empty B is left out, so the right option C is now B.
    assert text.count('<option value="B" selected>') == 2 and 'value="20"' in text
    rows[1][4] = "Z"
    answer, text = await organiser.upload(path, workbook(rows), page=f"{HOME}/quizzes")
    assert answer.status == 200 and "Hãy chọn đáp án đúng" in text
    answer, text = await organiser.upload(path, workbook([["Tên"], ["x"]]), page=f"{HOME}/quizzes")
    assert answer.status == 400 and "Thiếu cột" in text
    template = await organiser.bytes(f"{HOME}/quizzes/template.xlsx")
    answer, text = await organiser.upload(path, template, page=f"{HOME}/quizzes")
    assert answer.status == 200 and "Bộ Nội vụ" in text


async def test_reports_show_and_give_what_happened(house: House) -> None:
    organiser = await _made(house)
    for page in ("", "/questions", "/quizzes"):
        assert "empty-state" in await organiser.get(f"{HOME}/reports{page}")
    await organiser.done(f"{HOME}/sites", {"names": "Phòng A", "kind": "main"})
    assert "data-print" not in await organiser.get(f"{HOME}/slips"), "there are none"
    roster = workbook([["Tên", "Mã", "Đơn vị"], ["=1+1", "007", "@đơn vị"], ["Lan", "008", "X"]])
    answer, _ = await organiser.upload(f"{HOME}/roster/import", roster)
    await organiser.done(answer.headers["Location"], {})
    assert "Chưa điểm danh" in await organiser.get(f"{HOME}/reports?absent=1")
    data = await organiser.bytes(f"{HOME}/reports/attendance.xlsx")
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0)
    cells = sheet.to_python()
    assert [row[2] for row in cells[1:]] == ["007", "008"]
    assert cells[1][3] == "'=1+1" and cells[1][4] == "'@đơn vị"
    for name in ("questions", "quizzes"):
        assert (await organiser.bytes(f"{HOME}/reports/{name}.xlsx")).startswith(b"PK")
    slips = await organiser.get(f"{HOME}/slips")
    assert slips.count('class="slip"') == 2 and "007" in slips and "data-print" in slips
    with house.database.read_session() as session:
        person = session.scalars(select(Person).where(Person.code == "007")).one()
    await organiser.done(f"{HOME}/roster/remove", {"person": str(person.id)}, page=f"{HOME}/roster")
    assert (await organiser.get(f"{HOME}/slips")).count('class="slip"') == 1


async def test_many_slips_are_one_site_and_all_of_them_pages(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(organiser_links, "SLIPS_PAGE", 2)
    organiser = await _made(house)
    await organiser.done(f"{HOME}/sites", {"names": "Phòng A\nPhòng B", "kind": "remote"})
    rows = [["Tên", "Mã", "Điểm cầu"], *(["An", f"10{n}", "Phòng A"] for n in range(3))]
    answer, _ = await organiser.upload(
        f"{HOME}/roster/import", workbook([*rows, ["Bình", "200", "Phòng B"]])
    )
    await organiser.done(answer.headers["Location"], {})

    async def codes(query: str) -> list[str]:
        page = await organiser.get(f"{HOME}/slips{query}")
        return re.findall(r'<span class="code">(\d+)</span>', page)

    assert await codes("") == ["100", "101"] and await codes("?page=2") == ["102"]
    assert await codes("?site=all") == ["100", "101"]
    assert await codes("?site=all&page=2") == ["102", "200"]
    page = await organiser.get(f"{HOME}/slips?site=all&page=9")
    assert "200" in page and "4 phiếu" in page and "site=all&page=1" in page
