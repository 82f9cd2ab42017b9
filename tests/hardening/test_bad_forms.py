"""Every form of the organiser's pages with input that no browser's own checks would let through."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urlencode

import aiohttp
import pytest
from yarl import URL

from server.web.rates import Rate, Rates
from tests.web.conftest import PASSWORD, House
from tests.web.organising import Organiser

NEW = {
    "title": "Tập huấn",
    "organiser": "Sở Nội vụ",
    "starts_at": "2026-12-03T08:00",
    "ends_at": "2026-12-03T17:00",
    "timezone": "Asia/Ho_Chi_Minh",
}
PAGES = ("/edit", "/agenda", "/sites", "/roster", "/roster/import", "/people", "/quizzes")
WRONG = (
    "",
    "\0abc",
    "9" * 5000,
    "9" * 19,
    "²",
    "0001-01-01T00:00",
    "9999-12-31T23:59",
    "0001-01-01",
)
"""Nothing; a NUL (PostgreSQL takes none); more digits than ``int`` reads (CVE-2020-10735) and than
64 bits hold; a digit that is no number; moments that no time zone can shift."""
FORM = "application/x-www-form-urlencoded"


class Forms(HTMLParser):
    """The forms of a page: address, encoding and the values that a browser would send."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[tuple[str, bool, dict[str, str]]] = []
        self._values: dict[str, str] = {}
        self._select = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "form":
            self._values = {}
            if given.get("method") == "post":
                multipart = "multipart" in given.get("enctype", "")
                self.forms.append((given.get("action", ""), multipart, self._values))
        elif tag in ("input", "textarea") and name and given.get("type") != "file":
            self._values[name] = given.get("value", "")
        elif tag == "select":
            self._select = name
        elif tag == "option" and (self._select not in self._values or "selected" in given):
            self._values[self._select] = given.get("value", "")


@pytest.fixture
def rates() -> Rates:
    return Rates(device=Rate(5000, 1000), address=Rate(5000, 1000))


async def _made(house: House) -> Organiser:
    organiser = await Organiser.sign_in(house)
    await organiser.done("/conferences/new", NEW)
    return organiser


async def test_every_field_of_every_form_refuses_nonsense_with_a_page(house: House) -> None:
    organiser = await _made(house)
    home = (await organiser.get("/conferences")).split('href="/conferences/tap-huan')[1]
    home = "/conferences/tap-huan" + home.split('"')[0]
    await organiser.done(f"{home}/sites", {"names": "Phòng A\nPhòng B", "kind": "remote"})
    sent: set[str] = set()
    for page in (*(home + page for page in PAGES), f"{home}/quizzes/new", f"{home}/links"):
        _, text = await organiser.browser.get(page)
        for action, multipart, values in Forms(text).forms:
            path = action or page
            kind = re.sub(r"\d+", "N", path)
            if path in ("/language", "/sign-out") or kind in sent:
                continue
            sent.add(kind)
            fields = [name for name in values if name not in ("csrf", "key")][:8]
            for field, wrong in [(field, wrong) for field in fields for wrong in WRONG]:
                form = values | {field: wrong}
                data = aiohttp.FormData(form)
                if multipart:
                    data = aiohttp.FormData()
                    for name, value in form.items():
                        data.add_field(name, value, content_type="text/plain")
                answer, text = await organiser.browser.raw("POST", path, data=data)
                told = (path, field, wrong[:20], text[:200])
                assert answer.status < 500, told
                assert answer.status == 303 or "<main" in text, told
    assert len(sent) >= 8, sent


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"title": "x"}'),
        (f"{FORM}; charset=klingon", b"title=x"),
        (FORM, b"title=\xff\xfe"),
        (FORM, b"title=%ff%fe"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"junk"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx',
        ),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
        ),
    ],
)
async def test_a_body_that_is_no_form_is_refused_with_a_page(
    house: House, content_type: str, body: bytes
) -> None:
    organiser = await Organiser.sign_in(house)
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', await organiser.get("/conferences/new"))
    assert token
    for headers in ({}, {"X-CSRF-Token": token[1]}):
        answer, text = await organiser.browser.raw(
            "POST", "/conferences/new", data=body, headers={"Content-Type": content_type, **headers}
        )
        assert 400 <= answer.status < 500 and "<main" in text, (answer.status, text[:300])


PARTS = "multipart/form-data; boundary=b"


@pytest.mark.parametrize("kind", ["sqlite"])
@pytest.mark.parametrize(
    ("content_type", "charset", "status"),
    [
        (f"{FORM}; charset=utf-8", "", 303),
        (f"{FORM}; charset=idna", "", 400),
        (PARTS, "", 303),
        (PARTS, "idna", 400),
        (PARTS, "x" * 40, 400),
    ],
)
async def test_forms_are_utf_8_whatever_they_say(
    house: House, content_type: str, charset: str, status: int
) -> None:
    """By some charsets a megabyte takes minutes to decode, in which nobody else would be heard."""
    browser = house.browser()
    _, page = await browser.get("/sign-in")
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert token
    form = {"csrf": token[1], "username": "thu", "password": PASSWORD}
    if charset:
        form = {"_charset_": charset, **form}
    parts = (
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n'
        f"Content-Type: text/plain; charset=utf-16\r\n\r\n{value}\r\n"
        for name, value in form.items()
    )
    body = urlencode(form) if content_type != PARTS else "".join(parts) + "--b--\r\n"
    answer, text = await browser.raw(
        "POST", "/sign-in", data=body.encode(), headers={"Content-Type": content_type}
    )
    assert answer.status == status, text


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_no_field_is_longer_than_can_be_read_in_no_time(house: House) -> None:
    """By a megabyte of marks, each below or above the one before, a normal form takes minutes."""
    marks = "A" + "\u0301\u0323" * 20_000
    stranger, path = house.browser(), "/sign-in"
    for form in ({"username": marks[:2_000]}, {"code": marks}):
        answer, text = await stranger.post(path, {"password": PASSWORD, **form})
        assert answer.status == 400 and "<main" in text
    organiser = await Organiser.sign_in(house)
    answer, text = await organiser.browser.post("/conferences/new", {**NEW, "title": marks})
    assert answer.status == 400 and "không hợp lệ" in text


async def test_an_address_with_a_nul_is_not_found(house: House) -> None:
    for path in ("/c/%00", "/conferences/%00", "/join?code=%00", "/s/%00/", "/replay/a%00b"):
        async with house.browser().session.get(URL(f"{house.server.make_url(path)}")) as answer:
            assert answer.status == 404 and "<main" in await answer.text(), path


async def test_what_was_typed_is_kept_when_it_is_refused(house: House) -> None:
    organiser = await Organiser.sign_in(house)
    typed = NEW | {"title": "Một tên dài & <lạ>", "ends_at": "2026-12-02T17:00"}
    answer, text = await organiser.post("/conferences/new", typed)
    assert answer.status == 400
    assert typed["title"] in text and typed["ends_at"] in text
