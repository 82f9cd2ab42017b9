"""Processes die in the middle of a conference; pages and media come back by themselves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.async_api import expect

from tests.e2e.conftest import Demo
from tests.e2e.pages import SMALL, eventually
from tests.e2e.test_media import CENTRE_HUE
from tests.e2e.test_room import COUNT, bring_phone

pytestmark = pytest.mark.browser


async def test_web_worker_and_recorder_are_killed_in_turn(
    short_demo: Demo, sit: Callable[..., Any]
) -> None:
    demo = short_demo
    display = await sit(demo.urls["display"], *SMALL)
    phone = await bring_phone(demo, sit)
    await display.shows("#stage", CENTRE_HUE)

    # Web: the picture goes on meanwhile; what was pressed is done once it is back. That may be before
    # anything is said of the line, which is after two seconds.
    await phone.at("#check-in-button").wait_for()
    demo.kill("server.app")
    await phone.page.evaluate("document.getElementById('check-in-button').click()")
    await display.frames("#stage", 5)
    await phone.sees("#check-in", "Đã điểm danh lúc")
    await expect(phone.at("#connection-banner")).to_be_hidden()
    await expect(display.at("#connection-banner")).to_be_hidden()
    await expect(display.at(COUNT)).to_have_text("1")
    await phone.page.context.close()

    # The worker: the encoder publishes and the page receives again; the same receiver or a new one.
    worker_killed_at = datetime.now(UTC)
    demo.kill("server.media.worker")

    async def old_line_is_gone() -> bool:
        states = await display.page.evaluate("peers.map((peer) => peer.connectionState)")
        return len(states) > 1 and states[-1] == "connected"

    await eventually(old_line_is_gone, lambda: display.page.evaluate("peers.length"))
    await display.shows("#stage", CENTRE_HUE)
    await display.hears()

    # The recorder: what was recorded before and after plays as one.
    demo.kill("server.recorder")
    desk = await sit(demo.urls["moderator"])
    await desk.sees("#recording", "Đang ghi")
    await display.frames("#stage", 30)
    await display.page.context.close()
    await desk.press("[data-move=ended]:visible")
    await desk.press("dialog[open] button.danger")
    await desk.press("#replay-link")
    await desk.page.wait_for_url(f"**/replay/{demo.recording}")
    timeline = f"{demo.base_url}/replay/{demo.recording}/timeline.json"

    async def told() -> Any:
        return await (await desk.page.request.get(timeline)).json()

    async def closed() -> bool:
        return bool((await told()).get("ended"))

    await eventually(closed, told)
    duration_s = (await told())["duration_ms"] / 1000
    await desk.page.reload()
    boot = await desk.page.evaluate("JSON.parse(document.getElementById('boot').textContent)")
    gap_s = (worker_killed_at - datetime.fromisoformat(boot["zero_at"])).total_seconds()
    assert 0 < gap_s < duration_s
    await desk.at("#seek").fill(str(round(gap_s, 1) - 1))
    await desk.at("#speed").select_option("2")
    await desk.press("#play")
    video = desk.at("#stage video")

    async def over() -> bool:
        return bool(await video.evaluate("video => video.ended"))

    await eventually(over, lambda: video.evaluate("video => video.currentTime"))
    assert await video.evaluate("video => video.currentTime") >= duration_s - 0.5
    await desk.shows_still("#stage", CENTRE_HUE)
