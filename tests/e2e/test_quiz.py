"""A quiz from the desk's button to the chart on the room's screen."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import expect

from server.simulation.client import SeatClient
from server.simulation.reference import QUIZZES
from tests.e2e.conftest import Demo
from tests.e2e.pages import SMALL, eventually
from tests.e2e.test_room import ask, bring_phone

pytestmark = pytest.mark.browser

ITEM = QUIZZES[0].items[0]
OTHERS = 3
"""Simulated trainees who answer, at least."""
TITLE = "Trắc nghiệm có nhiều giờ"


HOLD = """options => {
  const press = () => options.dispatchEvent(new PointerEvent("pointerdown", { bubbles: true }));
  press();
  setInterval(press, 500);  // a press is over after two seconds
  window.read = new Set();
  const note = () => {
    for (const each of options.querySelectorAll(".option-text")) window.read.add(each.textContent);
  };
  note();
  new MutationObserver(note).observe(options, { subtree: true, childList: true, characterData: true });
}"""
"""A finger rests on the options; what stands in them meanwhile is read."""


async def prepare(demo: Demo) -> None:
    """A quiz that nobody has to hurry with: the demo's own closes after half a minute."""
    desk = SeatClient(demo.base_url)
    await desk.open(demo.urls["moderator"])
    await desk.connect()
    item = {"text": ITEM.text, "options": ITEM.options, "correct": ITEM.correct, "seconds": 3600}
    await desk.send("activity.create", {"title": TITLE, "items": [item]})
    await desk.close()


async def test_a_quiz_is_launched_answered_charted_and_revealed(
    demo: Demo, sit: Callable[..., Any]
) -> None:
    await prepare(demo)
    display = await sit(demo.urls["display"], *SMALL)
    desk = await sit(demo.urls["moderator"])
    phone = await bring_phone(demo, sit)

    await desk.press("#quiz-button")
    await desk.press(f"#activities li:has-text('{TITLE}') [data-launch]")
    await display.sees("#quiz h2", ITEM.text)
    await expect(display.at("#quiz-bars")).to_be_hidden()

    await phone.press("#quiz-call")
    await phone.press("#options button", ITEM.options[0])
    await phone.sees("#quiz-card", "Đã ghi nhận lựa chọn A")
    await phone.press("#options button", ITEM.options[ITEM.correct])
    await phone.sees("#quiz-card", "Đã ghi nhận lựa chọn B")
    await expect(phone.at("#options .mine")).to_have_count(1)

    async def answered() -> int:
        text = await desk.at("#run-card [data-text=answered]").inner_text()
        return int(re.match(r"\d+", text).group())  # type: ignore[union-attr]

    async def enough() -> bool:
        return await answered() > OTHERS

    await eventually(enough, answered)
    # How many have answered is known meanwhile; what they chose is at the desk alone.
    share = desk.at("#run-card progress.meter.now")
    await expect(share).to_be_visible()
    assert 0 < await share.evaluate("bar => bar.value") <= 1
    await expect(desk.at("#run-chart li")).to_have_count(len(ITEM.options))
    await expect(desk.at("#run-chart progress:visible")).to_have_count(len(ITEM.options))
    at_desk = desk.at("#run-chart progress")

    async def values() -> list[int]:
        return await at_desk.evaluate_all("all => all.map((each) => Number(each.value))")

    async def known() -> bool:
        return sum(await values()) > OTHERS

    await eventually(known, values)
    await expect(display.at("#quiz-bars")).to_be_hidden()
    await expect(desk.at("#run-card [data-run=close]")).to_be_in_viewport(ratio=1)
    # A choice that is made while the line is lost, and comes when the item is closed, is no choice.
    await phone.page.context.set_offline(True)
    await expect(phone.at("#connection-banner")).to_be_visible()
    await phone.press("#options button", ITEM.options[0])
    await desk.press("#run-card [data-run=close]")
    await expect(display.at("#quiz-bars li")).to_have_count(len(ITEM.options))
    await phone.page.context.set_offline(False)
    await phone.sees(".toast.wrong", "không được tính")
    await phone.sees("#quiz-card", "Lựa chọn B của bạn được tính.")
    await expect(phone.at("#options button").first).to_be_disabled()

    # The moderator gives everybody time again: what came too late is chosen once more.
    await desk.press("#run-card [data-run=prolong]", "Mở lại 30 giây")
    await expect(display.at("#quiz-bars")).to_be_hidden()
    for _ in range(3):
        await desk.press("#run-card [data-run=prolong]", "Thêm 30 giây")
    # Whoever wavers while no answer can come has chosen what they pressed last.
    await phone.page.context.set_offline(True)
    for option in (0, ITEM.correct, 0):
        await phone.press("#options button", ITEM.options[option])
        await expect(phone.at("#options [aria-busy]")).to_contain_text(ITEM.options[option])
    await phone.page.context.set_offline(False)
    await expect(phone.at("#options [aria-busy]")).to_have_count(0)
    await phone.sees("#quiz-card", "Đã ghi nhận lựa chọn A")
    await phone.press("#options button", ITEM.options[ITEM.correct])
    await phone.sees("#quiz-card", "Đã ghi nhận lựa chọn B")
    await desk.press("#run-card [data-run=close]")
    await expect(display.at("#quiz-bars")).to_be_visible()

    # The chart is the same everywhere, and this phone's second choice is in it, not its first.
    figures = display.at("#quiz-bars li b")
    await expect(figures).to_have_text([re.compile(r"^[\d.]+ ·")] * len(ITEM.options))
    texts = await figures.all_inner_texts()
    votes = [int(text.split("·")[0].replace(".", "")) for text in texts]
    assert sum(votes) > OTHERS and votes[ITEM.correct] >= 1

    async def counted() -> bool:
        return await answered() == sum(votes)

    await eventually(counted, answered)

    async def charted() -> bool:
        return await values() == votes

    await eventually(charted, values)
    own = display.at("#quiz-sites li.own")
    await expect(own).to_contain_text("Khoái Châu")
    await expect(own.locator("b")).to_have_text(re.compile(r"^1 / \d+$"))
    await expect(display.at("#quiz-bars .correct")).to_have_count(0)

    await desk.press("#run-card [data-run=reveal]")
    await expect(display.at("#quiz-bars li.correct")).to_contain_text(ITEM.options[ITEM.correct])
    await phone.sees("#quiz-card", "Bạn trả lời đúng: B.")
    await expect(own.locator("b")).to_have_text("100%")
    await desk.press("#run-card [data-run=finish]")
    await expect(display.at("#quiz")).to_be_hidden()
    await expect(phone.at("#quiz-empty")).to_be_visible()

    # Run again, it begins anew.
    await desk.press("#quiz-button")
    await desk.press(f"#activities li:has-text('{TITLE}') [data-launch]")
    await phone.sees("#quiz-card", "Chọn một phương án.")
    await expect(phone.at("#options .mine")).to_have_count(0)
    await desk.press("#run-card [data-run=close]")
    await phone.sees("#quiz-card", "Bạn không có lựa chọn nào được tính.")
    await desk.press("#run-card [data-run=finish]")


async def test_options_keep_their_words_while_a_finger_is_on_one(
    demo: Demo, sit: Callable[..., Any]
) -> None:
    """They are drawn again when it is lifted; the card around them is drawn at once."""
    phone = await bring_phone(demo, sit)
    text = "Có phải đi xét nghiệm lại không?"
    await ask(phone, text)
    desk = SeatClient(demo.base_url)
    await desk.open(demo.urls["moderator"])
    await desk.connect()
    question = {
        "question": next(q["id"] for q in desk.state["questions"].values() if q["text"] == text)
    }
    await desk.send("question.approve", question)
    item = {"text": ITEM.text, "options": ITEM.options, "correct": ITEM.correct, "seconds": 3600}
    made = await desk.send("activity.create", {"title": "Một ngón tay", "items": [item]})
    run = await desk.send("activity.launch", {"activity": made["activity"]})

    await phone.press(".places a[href='#quiz']")
    await expect(phone.at("#options .option-text")).to_have_text(list(ITEM.options))
    await phone.at("#options").evaluate(HOLD)
    await desk.send("question.put_on_stage", question)
    await expect(phone.at("#question-now [data-text=text]")).to_have_text(text)
    assert await phone.page.evaluate("[...window.read].sort()") == sorted(ITEM.options)

    await desk.send("question.take_down", question)
    await desk.send("question.set_aside", question)
    await desk.send("activity.close", {"run": run["run"]})
    await desk.send("activity.finish", {"run": run["run"]})
    await desk.close()
