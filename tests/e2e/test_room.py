"""A trainee's phone, the room's display, the moderator's desk and an advisor, together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import expect

from tests.e2e.conftest import Demo
from tests.e2e.pages import SMALL, Visitor, eventually

pytestmark = pytest.mark.browser

PHONE = (360, 800)
COUNT = "#check-in .numeral"


async def bring_phone(demo: Demo, sit: Callable[..., Any]) -> Visitor:
    """Of a trainee of Khoái Châu, by the address of the QR code and the own code."""
    phone: Visitor = await sit(demo.urls["check_in"], *PHONE, code=demo.fresh_code())
    return phone


async def ask(phone: Visitor, text: str) -> None:
    """By the place of the phone's page that is for it."""
    await phone.press(".places a[href='#ask']")
    await phone.at("#ask-text").fill(text)
    await phone.press("#ask-button")
    await expect(phone.at("#my-questions li", text)).to_be_visible()
    await expect(phone.at("#ask-text")).to_have_value("")


async def test_a_trainee_checks_in_by_the_code_on_the_display(
    demo: Demo, visit: Callable[..., Any], sit: Callable[..., Any]
) -> None:
    """A trainee types what the display shows, then the own code, as printed: in small letters."""
    display = await sit(demo.urls["display"], *SMALL)
    operator = await sit(demo.urls["operator"], *SMALL)
    await operator.press("#join-silent")
    before = await display.number_at(COUNT)

    code = (await display.at("#check-in .code").inner_text()).replace("·", "")
    phone = await visit(f"{demo.base_url}/c/{code}", *PHONE)
    await phone.at("[name=code]").fill(demo.fresh_code().lower())
    await phone.enter()
    await phone.press("#check-in-button")
    await phone.sees("#check-in", "Đã điểm danh lúc")

    async def counted() -> bool:
        return await display.number_at(COUNT) == before + 1

    await eventually(counted, lambda: display.number_at(COUNT))
    await operator.sees("#present b", str(before + 1))
    await phone.page.reload()
    await phone.sees("#check-in", "Đã điểm danh lúc")
    assert await display.number_at(COUNT) == before + 1
    width = await phone.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE[0], "the page is wider than the phone"


async def test_a_wrong_code_is_told_and_nothing_else(demo: Demo, visit: Callable[..., Any]) -> None:
    phone = await visit(demo.urls["check_in"], *PHONE)
    await phone.at("[name=code]").fill("KHONGCOMA")
    await phone.press("main form button[type=submit]")
    await expect(phone.at(".field.invalid .error")).to_be_visible()
    assert "/c/" in phone.page.url


async def test_a_question_is_asked_approved_shown_and_answered(
    demo: Demo, sit: Callable[..., Any]
) -> None:
    display = await sit(demo.urls["display"], *SMALL)
    desk = await sit(demo.urls["moderator"])
    phone = await bring_phone(demo, sit)

    text = "Xã chúng tôi <b>chưa</b> có máy quét, số hóa thế nào?"
    # It passes after some seconds: whoever waits for it begins before it comes.
    await asyncio.gather(ask(phone, text), phone.sees("#toasts", "Đã gửi câu hỏi."))
    # What was said of this place does not lie over the next one.
    await phone.press(".places a[href='#now']")
    await expect(phone.at("#now")).to_be_visible()
    assert await phone.at(".toast").count() == 0
    await phone.press(".places a[href='#ask']")

    # Set aside with a reason, which its asker reads; and taken up again.
    await desk.press(f"#lane-asked li:has-text('{text}') [data-set-aside]")
    await desk.at("#reason-dialog input").fill("Đã có trong tài liệu.")
    await desk.page.keyboard.press("Enter")
    await phone.sees("#my-questions", "Đã có trong tài liệu.")
    await desk.press("#aside-open")
    await desk.press(f"#lane-set_aside li:has-text('{text}') [data-question=approve]")
    await desk.press("#aside-dialog form button")
    await desk.press(f"#lane-approved li:has-text('{text}') [data-question=put_on_stage]")
    await display.sees("#question p", text)
    await display.sees("#question", "Khoái Châu")
    await phone.sees("#my-questions", "Đang trả lời")

    # By mistake: off the screens again, and back in its turn.
    await desk.press(f"#lane-approved li:has-text('{text}') [data-question=take_down]")
    await expect(display.at("#question")).to_be_hidden()
    await phone.sees("#my-questions", "Đã duyệt")
    await desk.press(f"#lane-approved li:has-text('{text}') [data-question=put_on_stage]")
    await display.sees("#question p", text)

    await desk.press(f"#lane-approved li:has-text('{text}') [data-question=finish]")
    await expect(display.at("#question")).to_be_hidden()
    await expect(desk.at("#lane-answered li", text)).to_be_visible()
    await expect(phone.at("#my-questions li.answered", text)).to_be_visible()


async def test_an_advisor_answers_in_writing_and_the_asker_reads_it(
    demo: Demo, sit: Callable[..., Any]
) -> None:
    desk = await sit(demo.urls["moderator"])
    advisor = await sit(demo.urls["advisor"])
    phone = await bring_phone(demo, sit)

    text, answer = "Kinh phí ở đâu?", "Từ ngân sách cấp xã, theo Nghị quyết của HĐND tỉnh."
    await ask(phone, text)
    await expect(advisor.at("li", text)).to_have_count(0)
    card = f"li:has-text('{text}')"
    await desk.press(f"#lane-asked {card} [data-question=approve]")
    await desk.at(f"#lane-approved {card} select").select_option(label="Tổ tham mưu")
    await advisor.at(f"#mine {card} textarea").fill(answer)
    await advisor.press(f"#mine {card} [type=submit]")
    await phone.sees("#my-questions", answer)
    await phone.sees("#my-questions", "Tổ tham mưu")
    await expect(desk.at("#lane-answered li", answer)).to_be_visible()
    await expect(advisor.at("#done li", answer)).to_be_visible()


async def test_a_room_that_sends_nothing_is_led_to_its_devices(
    demo: Demo, sit: Callable[..., Any]
) -> None:
    operator = await sit(demo.urls["operator"], *SMALL)
    await operator.press("#join-silent")
    for button, text in (("#mute-audio", "Bật micrô"), ("#mute-video", "Bật hình")):
        await operator.sees(button, text)
        await operator.press(button)
        await expect(operator.at("#preflight")).to_be_visible()
        await operator.press("#join-silent")
    await operator.press("#mute-video")
    await operator.press("#join")
    await operator.sees("#mute-audio", "Tắt micrô")
    await operator.sees("#mute-video", "Tắt hình")
    await operator.page.add_init_script(
        "navigator.mediaDevices.getUserMedia = "
        "() => Promise.reject(new DOMException('', 'NotAllowedError'))"
    )
    await operator.page.reload()
    await operator.sees("#mute-audio", "Bật micrô")
    await operator.sees("#mute-video", "Bật hình")
