"""What holds for every request: CSRF, rates, headers, errors, languages, files."""

from __future__ import annotations

import io
import logging

import psycopg
import pytest

from server.errors import Invalid
from server.i18n import choose, read_languages
from server.web.middleware import masked
from server.web.rates import MAX_BUCKETS, Buckets, Rate, Rates
from tests.db.test_outage import away
from tests.web.conftest import PASSWORD, House
from tests.web.organising import Organiser


@pytest.fixture
def kind() -> str:
    """Nothing here hangs on the database but its absence."""
    return "sqlite"


async def test_a_form_without_its_token_or_from_another_site_changes_nothing(house: House) -> None:
    browser = house.browser()
    form = {"lang": "en"}
    answer, _ = await browser.raw("POST", "/language", data=form)
    assert answer.status == 403
    await browser.get("/")
    answer, text = await browser.raw("POST", "/language", data={**form, "csrf": "0" * 64})
    assert answer.status == 403 and "Biểu mẫu đã cũ" in text
    for headers in ({"Origin": "https://xau.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer, text = await browser.post("/language", form, page="/", headers=headers)
        assert answer.status == 403 and "trang khác" in text
    own = {"Origin": str(browser.base.origin()), "Sec-Fetch-Site": "same-origin"}
    answer, _ = await browser.post("/language", form, page="/", headers=own)
    assert answer.status == 303


async def test_a_token_of_one_browser_is_worth_nothing_in_another(house: House) -> None:
    import re

    _, text = await house.browser().get("/")
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', text)
    assert token
    other = house.browser()
    await other.get("/")
    answer, _ = await other.raw("POST", "/language", data={"lang": "en", "csrf": token[1]})
    assert answer.status == 403


async def test_a_device_that_sends_too_many_forms_waits_and_others_do_not(house: House) -> None:
    browser = house.browser()
    for _ in range(12):
        assert (await browser.post("/language", {"lang": "vi"}, page="/"))[0].status == 303
    answer, _ = await browser.post("/language", {"lang": "vi"}, page="/")
    assert answer.status == 429 and int(answer.headers["Retry-After"]) >= 1
    assert (await house.browser().post("/language", {"lang": "vi"}, page="/"))[0].status == 303


async def test_what_was_typed_too_soon_can_be_sent_again_but_no_secret(house: House) -> None:
    browser = house.browser()
    for _ in range(12):
        await browser.post("/language", {"lang": "vi"}, page="/")
    html = {"Accept": "text/html"}
    typed = {"lang": "vi", "note": 'Câu <hỏi> "dài"'}
    answer, text = await browser.post("/language", typed, page="/", headers=html)
    assert answer.status == 429
    assert 'name="note" value="Câu &lt;hỏi&gt; &#34;dài&#34;"' in text and "Gửi lại" in text
    secret = {"username": "ha", "password": "mật khẩu của tôi"}
    _, text = await browser.post("/sign-in", secret, page="/sign-in", headers=html)
    assert "mật khẩu của tôi" not in text and 'value="ha"' not in text
    _, text = await browser.raw("POST", "/language", data=typed, headers=html)
    assert "&lt;hỏi" not in text, "a form of another site is not offered"


def test_buckets_fill_up_again_with_time_and_forget_the_oldest() -> None:
    clock = [0.0]
    buckets = Buckets(Rate(burst=2, per_s=0.5), lambda: clock[0])
    assert buckets.take("a") == 0 and buckets.take("a") == 0
    assert buckets.take("a") == pytest.approx(2.0)
    clock[0] = 2.0
    assert buckets.take("a") == 0
    assert buckets.take("a") > 0
    for number in range(MAX_BUCKETS):
        buckets.take(str(number))
    assert buckets.take("a") == 0


def test_an_address_has_a_wide_bucket_of_its_own() -> None:
    rates = Rates(Rate(1, 1), Rate(3, 1), clock=lambda: 0.0)
    assert [rates.take(device, "room") for device in "abc"] == [0, 0, 0]
    assert rates.take("d", "room") > 0
    assert rates.take("e", "elsewhere") == 0


async def test_every_answer_carries_the_security_headers(house: House) -> None:
    for path in ("/", "/khong-co", "/healthz", "/static/css/base.css", "/socket.io/?EIO=4"):
        answer, _ = await house.browser().get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy and "default-src 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "camera=(self)" in answer.headers["Permissions-Policy"]
        assert "Strict-Transport-Security" not in answer.headers


async def test_errors_are_pages_for_people_and_json_for_programs(house: House) -> None:
    browser = house.browser()
    answer, text = await browser.get("/khong-co")
    assert answer.status == 404 and answer.content_type == "text/html" and "Không tìm thấy" in text
    answer, text = await browser.get(
        "/khong-co", headers={"Accept": "*/*", "Accept-Language": "en"}
    )
    assert answer.status == 404 and answer.content_type == "application/json"
    assert '"error": "not_found"' in text and "There is no page at this address" in text
    answer, _ = await browser.raw("OPTIONS", "/")
    assert answer.status == 405 and "GET" in answer.headers["Allow"]


async def test_an_error_keeps_the_header_of_who_is_signed_in(house: House) -> None:
    assert "/sign-out" not in (await house.browser().get("/khong-co"))[1]
    browser = (await Organiser.sign_in(house)).browser
    for method, path in (("GET", "/khong-co"), ("POST", "/admin")):
        answer, text = (
            await browser.post(path, page="/") if method == "POST" else await browser.get(path)
        )
        assert answer.status in (404, 405) and "Lê Thu" in text and "/sign-out" in text


async def test_a_file_that_is_too_large_is_told_with_the_limit(house: House) -> None:
    organiser = await Organiser.sign_in(house)
    data = bytes(house.config.upload_limit_bytes + (2 << 20))
    answer, text = await organiser.upload("/conferences/tap-huan/roster/import", data, page="/")
    assert answer.status == 413 and "nhiều nhất là 20 MB" in text and "Chưa có gì được nhập" in text
    assert "Lê Thu" in text


async def test_what_breaks_inside_shows_nothing_of_the_inside(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.server.app, "_frozen", False, raising=False)
    from server.web import site

    def broken(*_arguments: object) -> None:
        raise RuntimeError("mật khẩu của máy chủ là 123")

    monkeypatch.setattr(site.Site, "template", broken)
    answer, text = await house.browser().get("/sign-in", headers={"Accept": "*/*"})
    assert answer.status == 500
    assert "123" not in text and "RuntimeError" not in text and "Máy chủ gặp lỗi" in text


@pytest.mark.parametrize("kind", ["postgresql"])
async def test_while_the_database_is_away_a_signed_in_browser_is_told_so(house: House) -> None:
    with away(house.config.database_url):
        answer, text = await house.browser().get("/sign-in", cookies={"sign_in": "somebody"})
    assert answer.status == 503 and "Retry-After" in answer.headers
    assert "Thử lại" in text


@pytest.mark.parametrize("kind", ["postgresql"])
async def test_a_database_that_stands_still_is_told_as_well(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.db.engine.READ_WITHIN_S", 0.2)
    with psycopg.connect(house.config.database_url) as other:
        other.execute("LOCK TABLE sign_ins IN ACCESS EXCLUSIVE MODE")
        answer, text = await house.browser().get("/admin", cookies={"sign_in": "somebody"})
        other.execute("LOCK TABLE conferences IN ACCESS EXCLUSIVE MODE")
        stranger, _ = await house.browser().get("/c/234567")
        other.rollback()
    assert answer.status == 503 and "Retry-After" in answer.headers
    assert "Xem cơ sở dữ liệu còn chạy" in text
    assert stranger.status == 503 and "Retry-After" in stranger.headers


@pytest.mark.parametrize("kind", ["postgresql"])
async def test_what_is_for_anybody_is_answered_though_nobody_knows_who_asks(house: House) -> None:
    """Else the words of a page that says so would be those of another language."""
    browser = house.browser()
    with away(house.config.database_url):
        for path in ("/static/js/i18n.js", "/i18n/en.js", "/favicon.ico", "/metrics"):
            answer, _ = await browser.get(path, cookies={"sign_in": "somebody"})
            assert answer.status == 200, path
        answer, text = await browser.get("/healthz", cookies={"sign_in": "somebody"})
        assert answer.status == 503 and '"database"' in text


async def test_no_log_line_holds_a_links_token_a_cookie_or_a_password(house: House) -> None:
    from server import logs

    kept = logging.getLogger().handlers[:], logging.getLogger().level
    written = io.StringIO()
    logs.configure("json", "info")
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    try:
        browser = house.browser()
        await browser.get("/join/bi-mat-cua-duong-dan")
        await browser.post("/sign-in", {"username": "thu", "password": PASSWORD})
    finally:
        logging.getLogger().handlers[:] = kept[0]
        logging.getLogger().setLevel(kept[1])
    lines = written.getvalue()
    assert '"path": "/join/…"' in lines and '"path": "/sign-in"' in lines
    for secret in ("bi-mat", PASSWORD, browser.cookie("sign_in"), browser.cookie("device")):
        assert secret and secret not in lines


def test_only_the_token_is_left_out_of_a_path() -> None:
    assert masked("/join/abc") == "/join/…" and masked("/join") == "/join"
    assert masked("/s/abc/") == "/s/abc/"


@pytest.mark.parametrize(
    ("wished", "accepted", "chosen"),
    [
        (None, "", "vi"),
        (None, "en-GB,en;q=0.9", "en"),
        (None, "vi-VN,vi;q=0.9,en;q=0.8", "vi"),
        (None, "fr,en;q=0.5,vi;q=0.7", "vi"),
        (None, "fr", "vi"),
        (None, "en;q=x,,;", "vi"),
        ("vi", "en", "vi"),
        ("xx", "en", "en"),
    ],
)
def test_a_readers_language(wished: str | None, accepted: str, chosen: str) -> None:
    assert choose(read_languages(), wished, accepted).code == chosen


async def test_static_files_are_compressed_and_revalidated(house: House) -> None:
    browser = house.browser()
    answer, text = await browser.get("/static/css/base.css", headers={"Accept-Encoding": "gzip"})
    assert answer.status == 200 and answer.headers["Content-Encoding"] == "gzip" and "{" in text
    again = {"If-None-Match": answer.headers["ETag"]}
    answer, text = await browser.get("/static/css/base.css", headers=again)
    assert answer.status == 304 and text == ""
    answer, _ = await browser.get("/static/js/i18n.js")
    assert answer.content_type == "text/javascript"


@pytest.mark.parametrize(
    "name", ["../setup.cfg", "..%2fsetup.cfg", "css/../../setup.cfg", "css", ""]
)
async def test_nothing_outside_of_static_is_served(house: House, name: str) -> None:
    from yarl import URL

    browser = house.browser()
    async with browser.session.get(
        URL(f"{browser.base}static/{name}", encoded=True), allow_redirects=False
    ) as answer:
        assert answer.status == 404


async def test_messages_for_scripts(house: House) -> None:
    answer, text = await house.browser().get("/i18n/en.js")
    assert answer.status == 200 and text.startswith("globalThis.diemcauMessages={")
    assert (await house.browser().get("/i18n/xx.js"))[0].status == 404


def test_a_word_is_translated_by_what_it_means_and_how_many_there_are() -> None:
    languages = read_languages()
    english, vietnamese = languages["en"], languages["vi"]
    assert english.pgettext("menu", "Điểm cầu") == "Sites" != english.gettext("Điểm cầu")
    assert english.pgettext("no such place", "Điểm cầu") == english.gettext("Điểm cầu")
    assert vietnamese.pgettext("menu", "Điểm cầu") == "Điểm cầu"
    moderators = ("%(num)s điều phối", "%(num)s điều phối")
    assert english.ngettext(*moderators, 1) % {"num": 1} == "1 moderator"
    assert english.ngettext(*moderators, 2) % {"num": 2} == "2 moderators"
    assert vietnamese.ngettext(*moderators, 1) % {"num": 1} == "1 điều phối"


@pytest.mark.parametrize(("code", "count"), [("vi", "50.000"), ("en", "50,000")])
def test_a_count_in_an_error_is_grouped_as_its_reader_writes(code: str, count: str) -> None:
    error = Invalid("Bảng có hơn %(most)s dòng. Hãy chia thành nhiều tệp.", most=50_000)
    assert f" {count} " in read_languages()[code].explain(error)
