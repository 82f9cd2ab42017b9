"""Coming in: forms, sign-in, links, codes and PINs, as browsers do it."""

from __future__ import annotations

import asyncio
import html
import threading
from datetime import timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import event, func, select

from server.conferences.models import Conference
from server.people import links, passwords
from server.people.models import Link, Person, Seat
from server.permissions import Role
from server.recordings.models import Recording
from server.web import hashing
from server.web.entry import local
from server.web.site import SITE, now
from tests.web.conftest import PASSWORD, House
from tests.web.organising import Organiser

PATIENCE_S = 20


def a_link(house: House, role: Role, **place: int | None) -> str:
    """A fresh link's address."""
    with house.database.write_session() as session:
        ends = now() + timedelta(days=1)
        _, token = links.create_link(session, role, house.cast.conference_id, now(), ends, **place)
        session.commit()
    return f"/join/{token}"


def seats(house: House) -> int:
    return house.database.read_now(lambda s: s.scalar(select(func.count()).select_from(Seat)) or 0)


def actor_seat(location: str) -> str:
    assert location.startswith("/s/") and location.endswith("/")
    return location.split("/")[2]


async def test_a_link_shows_what_it_is_and_spends_nothing_until_its_form(house: House) -> None:
    path = a_link(house, Role.OPERATOR, site_id=house.cast.da_nang)
    before = seats(house)
    browser = house.browser()
    answer, text = await browser.get(path)
    assert answer.status == 200
    assert "Đà Nẵng" in text and "Cán bộ kỹ thuật điểm cầu" in text and "Tập huấn" in text
    await browser.raw("HEAD", path)
    assert seats(house) == before
    answer, _ = await browser.post(path)
    assert answer.status == 303 and seats(house) == before + 1
    seat = actor_seat(answer.headers["Location"])
    cookie = answer.cookies[f"seat_{seat}"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax" and cookie["path"] == "/"
    answer, text = await browser.get(answer.headers["Location"])
    assert answer.status == 200 and 'id="boot"' in text


async def test_a_link_for_one_use_is_refused_to_a_second_browser(house: House) -> None:
    path = a_link(house, Role.OPERATOR, site_id=house.cast.hue)
    assert (await house.browser().post(path))[0].status == 303
    answer, text = await house.browser().post(path)
    assert answer.status == 409 and "đã được dùng" in text
    answer, text = await house.browser().get(path)
    assert answer.status == 409 and "đã được dùng" in text
    assert 'method="post"' not in text.partition("<main")[2], "no button that would be refused"
    assert 'href="/join"' in text


async def test_the_token_of_a_link_reaches_no_referer_and_no_cache(house: House) -> None:
    answer, _ = await house.browser().get(a_link(house, Role.DISPLAY, site_id=house.cast.hue))
    assert answer.headers["Referrer-Policy"] == "strict-origin"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_an_unknown_link_is_told_in_the_readers_language(house: House) -> None:
    answer, text = await house.browser().get("/join/khong-co")
    assert answer.status == 404 and "Đường dẫn không đúng" in text
    assert "Traceback" not in text


async def test_a_link_of_an_appointed_account_signs_it_in_too(house: House) -> None:
    organiser = house.cast.organiser
    path = a_link(house, Role.ORGANISER, account_id=organiser.account_id)
    browser = house.browser()
    answer, _ = await browser.post(path)
    assert answer.headers["Location"] == "/conferences/tap-huan"
    assert browser.cookie("sign_in")
    _, text = await browser.get("/")
    assert organiser.name in text and "Tập huấn" in text


async def test_a_viewers_link_leads_to_the_replay(house: House) -> None:
    with house.database.write_session() as session:
        conference_id = house.cast.conference_id
        zero = session.get_one(Conference, conference_id).starts_at
        session.add(Recording(id="rec-tap-huan", conference_id=conference_id, zero_at=zero))
        session.commit()
    browser = house.browser()
    answer, text = await browser.get("/replay/rec-tap-huan")
    assert answer.status == 401 and "Tập huấn" not in text
    assert 'href="/sign-in?next=/replay/rec-tap-huan"' in text and "Vào bằng mã hội nghị" in text
    answer, _ = await browser.post(a_link(house, Role.VIEWER))
    assert answer.headers["Location"] == "/replay/rec-tap-huan"
    answer, text = await browser.get("/replay/rec-tap-huan")
    assert answer.status == 200 and "/replay/rec-tap-huan/master.m3u8" in text
    assert " · Sở Y tế" in text
    with house.database.write_session() as session:
        session.get_one(Conference, conference_id).organiser = ""
        session.commit()
    _, text = await browser.get("/replay/rec-tap-huan")
    assert " · " not in text.partition("<main")[2], "nothing is separated from nobody"


async def test_a_trainee_comes_in_by_code_and_comes_back_by_the_qr(house: House) -> None:
    with house.database.write_session() as session:
        for seat in session.scalars(select(Seat).where(Seat.role == "trainee")):
            seat.revoked_at = now()
        for row in session.scalars(select(Conference)):
            row.join_code = "ABC234"
        for person in session.scalars(select(Person).where(Person.name == "Nguyễn Thị Lan")):
            person.code = "LAN00001"
        session.commit()
    phone = house.browser()
    answer, text = await phone.post("/c/ABC234", {"code": "sai-roi"})
    assert answer.status == 404 and "Mã cá nhân không đúng" in text and "Lan" not in text
    answer, _ = await phone.post("/c/ABC234", {"code": "lan-00001"})
    assert answer.status == 303
    page = answer.headers["Location"]
    _, text = await phone.get(page)
    assert "Nguyễn Thị Lan" in text
    answer, _ = await phone.get("/c/ABC234")
    assert answer.status == 303 and answer.headers["Location"] == page
    answer, text = await house.browser().post("/c/ABC234", {"code": "LAN00001"})
    assert answer.status == 409 and "điện thoại khác" in text


async def test_wrong_personal_codes_make_a_device_wait(house: House) -> None:
    with house.database.write_session() as session:
        session.scalars(select(Conference)).one().join_code = "ABC234"
        session.commit()
    phone = house.browser()
    for _ in range(5):
        assert (await phone.post("/c/ABC234", {"code": "SAI"}))[0].status == 404
    answer, text = await phone.post("/c/ABC234", {"code": "SAI"})
    assert answer.status == 429 and "thử lại sau" in text
    assert (await house.browser().post("/c/ABC234", {"code": "SAI"}))[0].status == 404


async def test_a_busy_server_blames_no_code_and_keeps_it(house: House) -> None:
    with house.database.write_session() as session:
        session.scalars(select(Conference)).one().join_code = "ABC234"
        session.commit()
    await house.server.app[SITE].inbox.stop()
    room = {"conference": "ABC234", "site": str(house.cast.hue), "role": "operator"}
    for path, form, page in (
        ("/c/ABC234", {"code": "LAN00001"}, "/c/ABC234"),
        ("/join", {**room, "pin": "123456"}, "/join?code=abc-234"),
    ):
        answer, text = await house.browser().post(path, form, page=page)
        assert answer.status == 503 and "Retry-After" in answer.headers
        assert 'role="alert"' in text and "aria-invalid" not in text
    _, text = await house.browser().post("/c/ABC234", {"code": "LAN00001"})
    assert 'value="LAN00001"' in text


async def test_a_room_opens_by_pin_and_a_display_waits(house: House) -> None:
    with house.database.write_session() as session:
        session.scalars(select(Conference)).one().join_code = "ABC234"
        session.commit()
    room = {"conference": "ABC234", "site": str(house.cast.hue)}
    page = "/join?code=abc-234"
    browser = house.browser()
    _, text = await browser.get(page)
    assert "Huế" in text and "Đà Nẵng" in text
    answer, _ = await browser.post(
        "/join", {**room, "role": "operator", "pin": "000000"}, page=page
    )
    assert answer.status == 403
    answer, _ = await browser.post(
        "/join", {**room, "role": "operator", "pin": "123456"}, page=page
    )
    operator_page = answer.headers["Location"]
    assert (await browser.get(operator_page))[0].status == 200
    screen = house.browser()
    answer, _ = await screen.post("/join", {**room, "role": "display", "pin": "123456"}, page=page)
    answer, text = await screen.get(answer.headers["Location"])
    assert answer.status == 200 and "đang chờ" in text and 'http-equiv="refresh"' in text
    answer, _ = await browser.post(
        "/join", {**room, "role": "moderator", "pin": "123456"}, page=page
    )
    assert answer.status == 400


async def test_an_account_signs_in_changes_its_password_and_out(house: House) -> None:
    browser = house.browser()
    answer, text = await browser.post("/sign-in", {"username": "moi", "password": "sai"})
    assert answer.status == 401 and "không đúng" in text and 'value="moi"' in text
    answer, _ = await browser.post("/sign-in", {"username": "MOI", "password": PASSWORD})
    assert answer.headers["Location"] == "/password"
    form = {"old": PASSWORD, "new": "một câu khác hẳn", "again": "một câu khác hẳn"}
    answer, text = await browser.post("/password", {**form, "again": "khác"})
    assert answer.status == 400 and "không giống nhau" in text
    answer, _ = await browser.post("/password", form)
    assert answer.status == 303
    answer, _ = await browser.post("/sign-out", page="/")
    assert answer.status == 303 and browser.cookie("sign_in") is None
    answer, _ = await browser.get("/password")
    assert answer.status == 303 and answer.headers["Location"].startswith("/sign-in")
    answer, _ = await browser.post("/sign-in", {"username": "moi", "password": PASSWORD})
    assert answer.status == 401


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_browser_with_many_seats_is_looked_up_at_once(house: House) -> None:
    """Also one that thinks them up: who reads shares four threads with all who connect."""
    seat = house.cast.trainee.holder
    counts, engine = [], house.server.app[SITE].database.engine
    with house.database.write_session() as session:
        join_code = session.get_one(Conference, house.cast.conference_id).join_code
    said: list[str] = []

    def note(*call: Any) -> None:
        said.append(call[2])

    for strange in (0, 300):
        said.clear()
        cookies = {f"seat_-{n}": "x" for n in range(strange)} | {
            f"seat_{seat}": house.cast.secrets[seat]
        }
        event.listen(engine, "before_cursor_execute", note)
        answer, _ = await house.browser().get(f"/c/{join_code}", cookies=cookies)
        event.remove(engine, "before_cursor_execute", note)
        assert answer.status == 303 and answer.headers["Location"] == f"/s/{seat}/"
        counts.append(sum("seats" in statement for statement in said))
    assert counts[0] == counts[1] > 0


class Waiting(PasswordHasher):
    """Compares when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may = threading.Event(), threading.Event()

    def verify(self, *arguments: Any) -> Any:
        self.begun.set()
        assert self.may.wait(PATIENCE_S)
        return super().verify(*arguments)


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_who_tries_passwords_keeps_nobody_from_being_heard(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher, most = Waiting(), 2
    monkeypatch.setattr(passwords, "_HASHER", hasher)
    monkeypatch.setattr(hashing, "MOST_WAITING", most)
    tries = [
        asyncio.create_task(
            house.browser().post("/sign-in", {"username": f"ai-{n}", "password": "sai"})
        )
        for n in range(most + 1)
    ]
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.to_thread(hasher.begun.wait)
        await house.server.app[SITE].inbox.transact(lambda session: None)
        [refused], waiting = await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
        answer, text = refused.result()
        assert answer.status == 503 and "bận" in text and len(waiting) == most
        hasher.may.set()
        assert {answer.status for answer, _ in await asyncio.gather(*waiting)} == {401}


async def test_sign_in_goes_on_to_the_page_that_was_asked_for_and_never_elsewhere(
    house: House,
) -> None:
    good = {"username": "thu", "password": PASSWORD}
    answer, _ = await house.browser().post("/sign-in", {**good, "next": "/password"})
    assert answer.headers["Location"] == "/password"
    answer, _ = await house.browser().post("/sign-in", {**good, "next": "//xau.example/"})
    assert answer.headers["Location"] == "/conferences"


@pytest.mark.parametrize("path", ["//a.b", "https://a.b", "/\\a.b", "", "a", "/a\r\nb", None])
def test_no_form_leads_to_another_site(path: str | None) -> None:
    assert local(path, "/nha") == "/nha"


async def test_an_appointed_account_enters_its_conference_in_its_role_alone(house: House) -> None:
    browser = house.browser()
    path = a_link(house, Role.MODERATOR, account_id=house.cast.moderator.account_id)
    await browser.post(path)
    answer, _ = await browser.post("/conferences/tap-huan/enter", {"role": "moderator"}, page="/")
    assert (await browser.get(answer.headers["Location"]))[0].status == 200
    answer, _ = await browser.post("/conferences/tap-huan/enter", {"role": "organiser"}, page="/")
    assert answer.status == 403


async def test_the_language_is_switched_by_a_form_and_kept(house: House) -> None:
    browser = house.browser()
    _, text = await browser.get("/sign-in")
    assert '<html lang="vi"' in text and "Mật khẩu" in text
    answer, _ = await browser.post("/language", {"lang": "en", "next": "/sign-in"}, page="/")
    assert answer.headers["Location"] == "/sign-in"
    _, text = await browser.get("/sign-in")
    assert '<html lang="en"' in text and "Password" in text and "Mật khẩu" not in text
    answer, text = await browser.get("/join/khong-co")
    assert "The link is wrong" in text


async def test_the_language_switch_comes_back_to_the_very_page_or_is_absent(house: House) -> None:
    browser = house.browser()
    path = "/join?code=KH%C3%94NG&next=//a.b"
    text = html.unescape((await browser.get(path))[1])
    assert f'name="next" value="{path}"' in text
    answer, _ = await browser.post("/language", {"lang": "en", "next": path}, page=path)
    assert answer.headers["Location"] == path
    answer, _ = await browser.post("/language", {"lang": "vi", "next": "//a.b/?c"}, page="/")
    assert answer.headers["Location"] == "/"
    form = {"title": "", "starts_at": "x"}
    organiser = await Organiser.sign_in(house)
    answer, text = await organiser.post("/conferences/new", form)  # much was typed
    assert answer.status == 400 and "site-header" in text and "language-switch" not in text


async def test_who_cannot_read_why_a_code_is_refused_can_switch_there(house: House) -> None:
    with house.database.write_session() as session:
        session.scalars(select(Conference)).one().join_code = "ABC234"
        session.commit()
    room = {"conference": "ABC234", "site": str(house.cast.hue), "role": "display", "pin": "0"}
    spent = a_link(house, Role.OPERATOR, site_id=house.cast.hue)
    await house.browser().post(spent)
    for path, form, again in (
        ("/", {"code": "khong"}, "/"),
        ("/c/ABC234", {"code": "khong"}, "/c/ABC234"),
        ("/join", room, "/join?code=ABC234"),
        (spent, {}, spent),
        (
            "/sign-in",
            {"username": "x", "password": "y", "next": "/password"},
            "/sign-in?next=/password",
        ),
    ):
        browser = house.browser()
        answer, text = await browser.post(path, form, page=again)
        assert answer.status >= 400, path
        assert f'name="next" value="{again}"' in html.unescape(text), path


async def test_a_conference_without_sites_has_no_room_to_choose(house: House) -> None:
    with house.database.write_session() as session:
        conference = session.scalars(select(Conference)).one()
        like = {c.key: getattr(conference, c.key) for c in Conference.__table__.columns}
        own = {"id": None, "slug": "khac", "recording": "khac", "join_code": "KHAC22"}
        session.add(Conference(**{**like, **own}))
        session.commit()
    _, text = await house.browser().get("/join?code=KHAC22")
    assert "Ban tổ chức chưa lập điểm cầu nào" in text and "<select" not in text


async def test_an_encoders_link_is_no_page_to_enter(house: House) -> None:
    path = a_link(house, Role.ENCODER, site_id=house.cast.hue)
    answer, text = await house.browser().get(path)
    assert answer.status == 200 and "Bearer" in text
    with house.database.read_session() as session:
        assert session.scalars(select(Link).where(Link.role == "encoder")).one().redeemed_at is None


async def test_a_wrong_conference_code_on_the_home_page_is_told_there(house: House) -> None:
    answer, text = await house.browser().post("/", {"code": "khong"})
    assert (
        answer.status == 404
        and "Không có hội nghị nào đã công bố" in text
        and 'value="KHONG"' in text
    )


DOORS = {
    "draft": ("Không có hội nghị nào đã công bố", "chưa mở phòng chờ"),
    "scheduled": ("chưa mở phòng chờ", "chưa mở phòng chờ"),
    "lobby": ("Phòng chờ đã mở", "Phòng chờ đã mở"),
    "live": ("Hội nghị đang diễn ra", "Hội nghị đang diễn ra"),
    "paused": ("đang tạm dừng. Vẫn vào được", "đang tạm dừng. Vẫn vào được"),
    "ended": ("Hội nghị đã kết thúc", "Hội nghị đã kết thúc"),
    "archived": ("được lưu trữ", "được lưu trữ"),
}
"""What the entrance by code and the entrance by link say in each state."""


async def test_each_entrance_says_the_state_and_asks_only_while_one_can_come_in(
    house: House,
) -> None:
    link = a_link(house, Role.OPERATOR, site_id=house.cast.hue)
    stranger, room = house.browser(), house.browser()
    room.take_seat(house.cast, house.cast.operator.holder)
    for state, (by_code, by_link) in DOORS.items():
        with house.database.write_session() as session:
            conference = session.scalars(select(Conference)).one()
            conference.join_code, conference.state = "ABC234", state
            conference.recording = None if state in ("draft", "scheduled", "lobby") else "rec-1"
            session.commit()
        _, text = await stranger.get(link)
        assert by_link in text, state
        for page, field in (("/join?code=ABC234", 'name="pin"'), ("/c/ABC234", 'name="code"')):
            answer, text = await stranger.get(page)
            assert by_code in text, (state, page)
            may_ask = state in ("lobby", "live", "paused")
            if state in ("ended", "archived") and page == "/c/ABC234":
                may_ask = True  # for the replay
            if state != "draft":
                assert (field in text) == may_ask, (state, page)
            if state in ("ended", "archived"):
                assert "/replay/rec-1" not in text and "đường dẫn xem lại" in text
                assert "/replay/rec-1" in (await room.get(page))[1], "one who was there"
    pin = {"conference": "ABC234", "site": str(house.cast.hue), "role": "operator", "pin": "1"}
    answer, text = await stranger.post("/join", pin, page="/")
    assert answer.status == 409 and "được lưu trữ" in text
    answer, text = await stranger.post("/c/ABC234", {"code": "X"})
    assert answer.status == 404 and "còn 4 lần thử" in text
    with house.database.write_session() as session:
        lan = session.scalars(select(Person).where(Person.name == "Nguyễn Thị Lan")).one()
        lan.code = "LAN00001"
        for seat in session.scalars(select(Seat).where(Seat.person_id == lan.id)):
            seat.revoked_at = now()
        session.commit()
    answer, _ = await stranger.post("/c/ABC234", {"code": "LAN00001"})
    assert answer.headers["Location"] == "/replay/rec-1"
    assert "/replay/rec-1" in (await stranger.get("/join?code=ABC234"))[1]
    answer, _ = await stranger.post(link)
    assert answer.headers["Location"] == "/replay/rec-1"
