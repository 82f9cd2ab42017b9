"""An organiser at a browser: signs in, sends forms and files as their pages offer them."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import Any

import aiohttp
import xlsxwriter

from tests.web.conftest import PASSWORD, Browser, House

Page = tuple[aiohttp.ClientResponse, str]


class Organiser:
    """A signed-in browser."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    @classmethod
    async def sign_in(cls, house: House, username: str = "thu") -> Organiser:
        browser = house.browser()
        answer, _ = await browser.post("/sign-in", {"username": username, "password": PASSWORD})
        assert answer.status == 303
        return cls(browser)

    async def get(self, path: str, status: int = 200) -> str:
        """The words of a page."""
        answer, text = await self.browser.get(path)
        assert answer.status == status, text
        return html.unescape(text)

    async def bytes(self, path: str) -> bytes:
        """A file."""
        async with self.browser.session.get(self.browser.base.join(_url(path))) as answer:
            assert answer.status == 200
            return await answer.read()

    async def post(self, path: str, form: dict[str, str], *, page: str | None = None) -> Page:
        """Send a form; not followed."""
        answer, text = await self.browser.post(path, form, page=page)
        return answer, html.unescape(text)

    async def done(self, path: str, form: dict[str, str], *, page: str | None = None) -> str:
        """Send a form that must be accepted; gives where it leads."""
        answer, text = await self.post(path, form, page=page)
        assert answer.status == 303, text
        return answer.headers["Location"]

    async def upload(
        self,
        path: str,
        data: bytes,
        form: dict[str, str] | None = None,
        *,
        name: str = "danh-sach.xlsx",
        page: str | None = None,
    ) -> Page:
        """Send a file by its form."""
        _, text = await self.browser.get(page or path)
        token = re.search(r'name="csrf" value="([0-9a-f]+)"', text)
        assert token
        body = aiohttp.FormData({"csrf": token[1], **(form or {})})
        body.add_field(
            "file", io.BytesIO(data), filename=name, content_type="application/octet-stream"
        )
        answer, text = await self.browser.raw("POST", path, data=body)
        return answer, html.unescape(text)


def _url(path: str) -> Any:
    from yarl import URL

    return URL(path)


def workbook(rows: Sequence[Sequence[Any]]) -> bytes:
    """An XLSX file; strings are text, numbers are numbers."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    sheet = book.add_worksheet()
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            if isinstance(value, str):
                sheet.write_string(number, column, value)
            else:
                sheet.write(number, column, value)
    book.close()
    return out.getvalue()
