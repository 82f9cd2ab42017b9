"""The organiser's agenda: a browser writes dates in its own way, the page says them in ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import expect

from tests.e2e.conftest import Demo

pytestmark = pytest.mark.browser


async def test_each_day_is_said_over_its_first_row(demo: Demo, visit: Callable[..., Any]) -> None:
    organiser = await visit(demo.urls["organiser"])
    await organiser.press("main form button[type=submit]")
    await organiser.page.wait_for_url("**/conferences/**")
    await organiser.page.goto(f"{organiser.page.url}/agenda")
    said, dates = organiser.at("[data-say-day]"), organiser.at("[data-row] [type=date]")
    count = await dates.count()
    for n in range(count):
        await dates.nth(n).fill("2026-12-03")
    await expect(said).to_have_text(["Thứ Năm, 03/12/2026", *[""] * (count - 1)])
    await organiser.press("[data-add-row]")
    await expect(said).to_have_count(count + 1)
    await expect(said.last).to_be_empty()
    await expect(organiser.at("[data-row] legend").last).to_have_text(f"Mục {count + 1}")
    await dates.last.fill("2026-12-04")
    await expect(said.last).to_have_text("Thứ Sáu, 04/12/2026")
    await expect(said.first).to_have_text("Thứ Năm, 03/12/2026")
