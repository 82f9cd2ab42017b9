"""What somebody did while no answer could come outlives the page on which they did it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, WebSocketRoute, expect

from tests.e2e.conftest import Demo
from tests.e2e.pages import SMALL, Visitor
from tests.e2e.test_room import PHONE, bring_phone

pytestmark = pytest.mark.browser

ASKED = "Điện thoại hết pin thì câu này có mất không?"
EVENT = "42"
"""how a packet of Socket.IO begins that carries an event"""
AT_ONCE = "document.querySelector('%s').click()"
"""without waiting for a button that is busy"""


async def swallow_commands(page: Page) -> asyncio.Event:
    """While this is set, the server hears no command of pages that are opened from now on.

    A browser told to be offline is no such thing: it may still get one out while a page is left.
    """
    swallowing = asyncio.Event()

    def between(line: WebSocketRoute) -> None:
        server = line.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            if not (swallowing.is_set() and str(message).startswith(EVENT)):
                server.send(message)

        line.on_message(pass_on)

    await page.route_web_socket(re.compile("/socket.io/"), between)
    return swallowing


async def test_a_phone_is_closed_without_a_network_and_opened_again(
    demo: Demo, sit: Callable[..., Any]
) -> None:
    phone = await bring_phone(demo, sit)
    await phone.at("#check-in-button").wait_for()
    context, address = phone.page.context, phone.page.url.partition("#")[0]
    await context.set_offline(True)
    await expect(phone.at("#connection-banner")).to_be_visible()
    await phone.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    await expect(phone.at("#connection-banner")).to_be_in_viewport(ratio=1)
    await phone.press("#check-in-button")
    await phone.press(".places a[href='#ask']")
    await phone.at("#ask-text").fill(ASKED)
    await phone.press("#ask-button")
    await phone.page.close()
    await context.set_offline(False)

    phone = Visitor(await context.new_page())
    await phone.page.goto(address)
    await phone.sees("#check-in", "Đã điểm danh lúc")
    await phone.press(".places a[href='#ask']")
    await expect(phone.at("#my-questions li", ASKED)).to_have_count(1)

    # The same while the server stands still: what is on its way and what is sent again are one.
    with demo.halted("server.app"):
        await phone.at("#ask-text").fill(f"{ASKED} Còn nữa?")
        await phone.page.evaluate(AT_ONCE % "#ask-button")
        reloading = asyncio.create_task(phone.page.reload())
        await asyncio.sleep(1)
        assert not reloading.done()
    await reloading
    await expect(phone.at("#my-questions li", "Còn nữa?")).to_have_count(1)
    await expect(phone.at("#ask-text")).to_have_value("")
    await phone.page.wait_for_function("Object.keys(localStorage).length === 0")
    await phone.page.reload()
    await expect(phone.at("#my-questions li", ASKED)).to_have_count(2)


async def test_what_was_being_written_is_still_there_when_the_phone_is_freed(
    demo: Demo, sit: Callable[..., Any]
) -> None:
    code = demo.fresh_code()
    phone = await sit(demo.urls["check_in"], *PHONE, code=code)
    await phone.press(".places a[href='#ask']")
    await phone.at("#ask-text").fill(ASKED)
    operator = await sit(demo.urls["operator"], *SMALL)
    await operator.press("#join-silent")
    await operator.at("#roster-search").fill(code)
    await operator.press("#roster [data-phone]")
    await operator.press("dialog[open] .danger")
    await expect(phone.at("#drafts textarea")).to_have_value(ASKED)


async def test_a_desk_is_told_of_what_it_did_not_hear_back(
    demo: Demo, visit: Callable[..., Any]
) -> None:
    desk = await visit(demo.urls["moderator"])
    swallowing = await swallow_commands(desk.page)
    await desk.enter()
    current = desk.at("#agenda .now [data-text=title]")
    await expect(current).to_have_count(1)
    before = await current.all_inner_texts()
    swallowing.set()
    await desk.press("#next-item")
    asked: list[str] = []

    async def leave(dialog: Any) -> None:
        asked.append(dialog.type)
        await dialog.accept()

    desk.page.on("dialog", leave)
    await desk.page.goto("about:blank")
    assert asked == ["beforeunload"], "who leaves is asked first"
    swallowing.clear()
    await desk.page.go_back()
    await desk.sees(".toast", "Chưa rõ máy chủ đã nhận chưa: “Mục tiếp theo”")
    await expect(current).to_have_text(before)  # somebody looks first
    await desk.page.reload()
    await desk.at("#life").wait_for()
    await expect(desk.at(".toast")).to_have_count(0)
