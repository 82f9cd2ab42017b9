"""A page to which the server has never been there: it says what is going on after two seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Route, expect

from tests.e2e.conftest import Demo
from tests.e2e.pages import Visitor

pytestmark = pytest.mark.browser

BANNER = "#connection-banner"
HELD = """
const holding = setInterval(() => {
  const [awaited] = document.getElementById("connection-banner")?.getAnimations() ?? [];
  if (!awaited) return;
  clearInterval(holding);
  awaited.pause();
  window.awaited = awaited;
}, 20);
"""
LOOKS = """banner => [1999, 2001].map((at) => {
  window.awaited.currentTime = at;
  return [getComputedStyle(banner).visibility, banner.offsetHeight > 20];
})"""


async def take_seat(demo: Demo, visitor: Visitor, role: str) -> None:
    """A trainee's own link is of one device."""
    if role == "trainee":
        await visitor.take_seat(demo.urls["check_in"], code=demo.fresh_code())
    else:
        await visitor.take_seat(demo.urls[role])


@pytest.mark.parametrize("role", ["moderator", "operator", "display", "advisor", "trainee"])
async def test_a_page_whose_scripts_do_not_come_says_so(
    demo: Demo, browse: Callable[..., Any], role: str
) -> None:
    """They come over the same line. Style alone waits, by a clock that the test holds."""
    visitor = await browse(360, 800)
    come, asked = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        asked.set()
        await come.wait()
        await route.continue_()

    await visitor.page.route("**/static/js/*.js", late)
    await visitor.page.add_init_script(HELD)
    opening = asyncio.create_task(take_seat(demo, visitor, role))
    await asked.wait()
    await visitor.page.wait_for_function("window.awaited")
    banner = visitor.at(BANNER)
    assert await banner.evaluate(LOOKS) == [["hidden", False], ["visible", True]]
    await expect(banner).to_contain_text("Đang nối với máy chủ.")
    come.set()
    await opening
    await expect(banner).to_be_hidden()


@pytest.mark.parametrize("role", ["moderator", "operator", "advisor", "trainee"])
async def test_a_page_whose_first_connection_does_not_come_says_so_wherever_it_is_scrolled_to(
    demo: Demo, browse: Callable[..., Any], role: str
) -> None:
    visitor = await browse(360, 400)
    await visitor.page.route("**/socket.io/**", lambda route: route.abort())
    await visitor.page.route_web_socket("**/socket.io/**", lambda _: None)
    await take_seat(demo, visitor, role)
    await visitor.sees(BANNER, "Chưa nối được")
    await visitor.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    await visitor.page.wait_for_function("scrollY > 100")
    await expect(visitor.at(BANNER)).to_be_in_viewport(ratio=1)
