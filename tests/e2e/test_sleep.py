"""A room's PC sleeps: all of its browser stands still for a while, and is live again at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.e2e.conftest import Demo
from tests.e2e.pages import SMALL, Visitor, eventually
from tests.e2e.test_media import CENTRE_HUE, FAKE_CAMERA_HUE

pytestmark = pytest.mark.browser

ASLEEP_S = 6
"""Longer than a timer is ever late (static/js/wake.js)."""
PATHS = """peers.filter(peer => peer.connectionState === "connected")
  .map(peer => /a=ice-ufrag:(\\S+)/.exec(peer.remoteDescription.sdp)[1])"""


@asynccontextmanager
async def asleep(browser: Browser) -> AsyncIterator[None]:
    """The machine sleeps meanwhile, as far as the browser can tell."""
    told = await (await browser.new_browser_cdp_session()).send("SystemInfo.getProcessInfo")
    processes = [each["id"] for each in told["processInfo"]]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
        await asyncio.sleep(ASLEEP_S)
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def join(operator: Visitor) -> set[str]:
    """Send and receive; the two paths by then."""
    await operator.sees("#voice", "Micrô thu tốt.")
    await operator.press("#join")
    await operator.sees("#publish-state", "Đang gửi hình và tiếng")
    await operator.shows("#stage", CENTRE_HUE)
    await operator.hears()
    return await paths(operator)


async def paths(operator: Visitor) -> set[str]:
    """What the server calls its ends of the paths that work."""
    return set(await operator.page.evaluate(PATHS))


async def is_back(operator: Visitor, before: set[str]) -> None:
    """Both paths were agreed upon anew; picture and sound come."""

    async def anew() -> bool:
        now = await paths(operator)
        return len(now) == 2 and not now & before

    await eventually(anew, lambda: paths(operator))
    await operator.sees("#publish-state", "Đang gửi hình và tiếng")
    await operator.shows("#stage", CENTRE_HUE)
    await operator.hears()


async def test_who_wakes_is_live_again_even_where_the_server_has_forgotten_it(
    demo: Demo, sit: Callable[..., Any], browser: Browser
) -> None:
    # New paths, before the old ones are missed.
    operator = await sit(demo.urls["operator"], *SMALL)
    before = await join(operator)
    peers = await operator.page.evaluate("peers.length")
    async with asleep(browser):
        pass
    await is_back(operator, before)
    assert await operator.page.evaluate("peers.length") == peers, "the sessions are the same"

    # New sessions, of a worker that knows nothing of it.
    before = await paths(operator)
    async with asleep(browser):
        demo.kill("server.media.worker")
    await is_back(operator, before)
    desk = await sit(demo.urls["moderator"])
    await desk.shows("#wall li:has-text('Khoái Châu')", FAKE_CAMERA_HUE)
