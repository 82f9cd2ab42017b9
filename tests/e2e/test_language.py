"""Another language at a press, which undoes nothing of what somebody chose on the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import expect

from tests.e2e.conftest import Demo
from tests.e2e.pages import SMALL, Visitor
from tests.e2e.test_media import plays
from tests.e2e.test_room import bring_phone

pytestmark = pytest.mark.browser


async def speak_english(visitor: Visitor) -> None:
    await visitor.press(".language-switch [value=en]")
    await expect(visitor.at("html[lang=en]")).to_be_attached()


async def test_the_desk_goes_on_listening(demo: Demo, sit: Callable[..., Any]) -> None:
    desk = await sit(demo.urls["moderator"])
    await desk.press("#listen")
    await expect(desk.at("#listen")).to_have_attribute("aria-pressed", "true")
    await desk.press("#wall button.video", "Văn Lâm")
    await speak_english(desk)
    await desk.sees("#next-item", "Next item")
    await expect(desk.at("#listen")).to_have_attribute("aria-pressed", "true")
    await expect(desk.at("#wall button.selected")).to_contain_text("Văn Lâm")
    await desk.hears()
    await desk.press("#listen")
    await desk.page.reload()
    await desk.frames("#stage", 1)
    await expect(desk.at("#listen")).to_have_attribute("aria-pressed", "false")


async def test_a_speaker_goes_on_listening(demo: Demo, sit: Callable[..., Any]) -> None:
    speaker = await sit(demo.urls["speaker"])
    await speaker.press("#listen")
    await speaker.sees("#stage figcaption", "Điểm cầu trung tâm")
    await speaker.frames("#stage", 1)
    await speak_english(speaker)
    await expect(speaker.at("#listen")).to_have_attribute("aria-pressed", "true")
    await speaker.hears()


async def test_of_two_displays_the_same_plays_the_sound(
    demo: Demo, sit: Callable[..., Any]
) -> None:
    first, second = [await sit(demo.urls["display"], *SMALL) for _ in range(2)]
    await plays(first)
    await speak_english(first)
    await first.sees("#status", "LIVE")
    await plays(first)
    await plays(second, False)


async def test_a_room_stays_muted_where_it_was(demo: Demo, sit: Callable[..., Any]) -> None:
    operator = await sit(demo.urls["operator"], *SMALL)
    await operator.sees("#voice", "Micrô thu tốt.")
    await operator.press("#join")
    await operator.sees("#publish-state", "Đang gửi hình và tiếng")
    await operator.press("#mute-audio")
    await operator.press("#tab-ask")
    await operator.at("#ask-text").fill("Bao giờ có mẫu mới?")
    await speak_english(operator)
    await operator.sees("#publish-state", "Sending the picture only")
    await expect(operator.at("#mute-audio")).to_have_attribute("aria-pressed", "true")
    await expect(operator.at("#panel-ask")).to_be_visible()
    await expect(operator.at("#ask-text")).to_have_value("Bao giờ có mẫu mới?")


async def test_what_a_phone_was_writing_is_still_there(demo: Demo, sit: Callable[..., Any]) -> None:
    phone = await bring_phone(demo, sit)
    await phone.press(".places a[href='#ask']")
    await phone.at("#ask-text").fill("Bao giờ có mẫu mới?")
    await phone.press(".places a[href='#me']")
    await speak_english(phone)
    await phone.press(".places a[href='#ask']")
    await expect(phone.at("#ask-text")).to_have_value("Bao giờ có mẫu mới?")
    await phone.press("#ask-button")
    await expect(phone.at("#my-questions li", "Bao giờ có mẫu mới?")).to_be_visible()
    await phone.page.reload()
    await expect(phone.at("#my-questions li", "Bao giờ có mẫu mới?")).to_be_visible()
    await expect(phone.at("#ask-text")).to_have_value("")
