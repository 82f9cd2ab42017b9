"""Pictures and sound from room to room, in real browsers and measured at their receivers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest
from playwright.async_api import expect

from server.simulation.scenes import hue_of
from tests.e2e.conftest import Demo
from tests.e2e.pages import SMALL, Visitor, eventually

pytestmark = pytest.mark.browser

CENTRE_HUE = hue_of(0)
"""trung-tam's, on stage when a demo begins"""
FAKE_CAMERA_HUE = 120
"""Chromium's pacman stands before green."""


async def plays(page: Visitor, wanted: bool = True) -> None:
    """Wait until a page plays its room's sound, or does not."""
    script = "[...document.querySelectorAll('audio')].some((each) => each.srcObject)"

    async def heard() -> bool:
        return bool(await page.page.evaluate(script)) is wanted

    await eventually(heard, page.sound)


async def is_silent(page: Visitor, while_: Callable[[], Awaitable[None]]) -> None:
    """Wait until nothing comes to a page in all the time in which something else happens.

    Over and over: what was quiet for a moment may only have been late, on a busy machine.
    """

    async def nothing_comes() -> bool:
        await page.falls_silent()
        before = await page.sound()
        await while_()
        after = await page.sound()
        # Of what came before, the last may still fade away.
        faded = abs(after["energy"] - before["energy"]) < 1e-6
        return bool(after["packets"] == before["packets"] and faded)

    await eventually(nothing_comes, page.sound)


async def test_the_floor_moves_and_only_its_holder_is_seen_and_heard(
    demo: Demo, sit: Callable[..., Any]
) -> None:
    display = await sit(demo.urls["display"], *SMALL)
    await display.shows("#stage", CENTRE_HUE)
    await display.hears()

    desk = await sit(demo.urls["moderator"])
    await desk.press("#listen")
    await desk.shows("#stage", CENTRE_HUE)
    await desk.hears()
    await expect(desk.at("#wall button.speaking", "Điểm cầu trung tâm")).to_be_visible()

    operator = await sit(demo.urls["operator"], *SMALL)
    await operator.sees("#voice", "Micrô thu tốt.")
    await operator.press("#join")
    await operator.sees("#publish-state", "Đang gửi hình và tiếng")
    await operator.shows("#stage", CENTRE_HUE)

    # The moderator gives Khoái Châu the floor, on the wall.
    await desk.shows("#wall li:has-text('Khoái Châu')", FAKE_CAMERA_HUE)
    await desk.press("#wall button.video", "Khoái Châu")
    await desk.press("#tile-menu [data-tile=floor]")
    await desk.shows("#stage", FAKE_CAMERA_HUE)
    await display.shows("#stage", FAKE_CAMERA_HUE)
    await desk.hears(1e-5)  # short beeps

    # The room does not hear itself, and nobody else either, while the desk does.
    await is_silent(display, lambda: desk.hears(1e-5))

    # Muted by the server, it is not heard; nor is the one who had the floor before and goes on.
    await desk.press("#tile-menu [data-tile=mute]")
    await is_silent(desk, lambda: desk.frames("#wall li:has-text('trung tâm')", 10))

    await desk.press("#tile-menu [data-tile=mute]")
    await desk.hears(1e-5)

    # Its own microphone off, the room is told that nobody hears it.
    await operator.press("#mute-audio")
    for page, card in ((operator, "#floor"), (display, "#turn")):
        await page.sees(card, "Chưa có tiếng từ micrô của phòng.")
    await desk.sees("#wall li:has-text('Khoái Châu')", "chưa có tiếng")
    await operator.press("#mute-audio")
    for page, card in ((operator, "#floor"), (display, "#turn")):
        await page.sees(card, "Cả hội nghị nghe tiếng")

    await desk.press("#wall button.video", "Điểm cầu trung tâm")
    await desk.press("#tile-menu [data-tile=floor]")
    await display.shows("#stage", CENTRE_HUE)
    await display.hears()

    # A hand is raised, and the moderator lets the room speak from the queue. (A try before this
    # one may have left its own there.)
    reason = f"Trao đổi kinh nghiệm của huyện, lúc {datetime.now():%H:%M:%S}"
    await operator.at("#reason").fill(reason)
    await operator.press("#ask-floor")
    await expect(display.at("#turn")).to_be_visible()
    await desk.press(f"#requests li:has-text('{reason}') [data-request=give]")
    await expect(operator.at("#floor[data-state=speaking]")).to_be_visible()
    await display.shows("#stage", FAKE_CAMERA_HUE)

    # Its camera off, the card stands for it everywhere while it is heard; then it is back.
    await desk.sees("#connected", "3 / ")
    await operator.press("#mute-video")
    await expect(display.at("#stage:not(.has-picture) .no-picture")).to_contain_text("Khoái Châu")
    await expect(desk.at("#stage")).not_to_have_class(re.compile("has-picture"))
    await desk.sees("#connected", "2 / ")
    await desk.hears(1e-5)
    await operator.press("#mute-video")
    await display.shows("#stage", FAKE_CAMERA_HUE)
    await desk.sees("#connected", "3 / ")

    # Khoái Châu leaves: whoever comes after this test finds the centre on stage, as it did
    # (its tile is still the one that was chosen).
    await operator.page.context.close()
    await desk.press("#tile-menu [data-tile=floor]")
    await display.shows("#stage", CENTRE_HUE)


async def test_a_shared_screen_is_presented_beside_the_stage(
    demo: Demo, sit: Callable[..., Any]
) -> None:
    display = await sit(demo.urls["display"], *SMALL)
    await expect(display.at("#presentation")).to_be_hidden()
    desk = await sit(demo.urls["moderator"])
    operator = await sit(demo.urls["operator"], *SMALL)
    await operator.press("#join-silent")
    await operator.press("#share")
    await expect(operator.at("#share")).to_have_text("Dừng chia sẻ")
    await desk.press("#wall button.video", "Khoái Châu")
    await desk.press("#tile-menu [data-tile=present]")
    await display.frames("#presentation", 3)
    await expect(display.at("#presentation.has-picture figcaption")).to_contain_text("Khoái Châu")

    # The page in another language could not go on with it: it asks first.
    await operator.press(".language-switch [value=en]")
    await operator.press("#confirm-dialog [value=cancel]")
    await display.frames("#presentation", 3)
    await operator.press(".language-switch [value=en]")
    await operator.press("#confirm-dialog [value=confirm]")
    await expect(operator.at("#share")).to_have_text("Share screen")
    await expect(display.at("#presentation")).to_be_hidden()
    await operator.page.context.close()
    await desk.press("#clear-presentation")


async def test_one_display_of_a_room_plays_its_sound(demo: Demo, sit: Callable[..., Any]) -> None:
    first, second = [await sit(demo.urls["display"], *SMALL) for _ in range(2)]
    await second.shows("#stage", CENTRE_HUE)
    await plays(first)
    await plays(second, False)

    # The speakers turn out to be wired to the second: whoever touches that one is asked.
    await expect(second.at("#silent-banner")).to_be_hidden()
    await second.press("#clock")
    await second.press("#sound-here")
    await plays(second)
    await plays(first, False)
    await expect(second.at("#silent-banner")).to_be_hidden()


async def test_a_hidden_display_receives_no_picture(demo: Demo, sit: Callable[..., Any]) -> None:
    async def pictures(display: Visitor) -> float:
        return float((await display.page.evaluate("inbound()"))["stage"]["packets"])

    async def stand_still() -> bool:
        before = await pictures(hidden)
        await seen.frames("#stage", 5)
        return await pictures(hidden) == before

    hidden, seen = [await sit(demo.urls["display"], *SMALL) for _ in range(2)]
    await hidden.shows("#stage", CENTRE_HUE)
    # Headless pages are never covered by others: the page is told that it is.
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    await hidden.page.evaluate(hide, True)
    await eventually(stand_still, lambda: pictures(hidden))
    await hidden.hears()
    await hidden.page.evaluate(hide, False)
    await hidden.shows("#stage", CENTRE_HUE)
