"""A Chromium publisher's layers: each slot gets the one that it shows, the others are not sent."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page

from server.media import messages
from tests.media.harness import WorkerProcess, eventually
from tests.media.pages import GRANTS, advances, open_page, sessions_of

pytestmark = pytest.mark.browser
ENCODINGS = [
    {"rid": "q", "scaleResolutionDownBy": 4, "maxBitrate": 150_000},
    {"rid": "h", "scaleResolutionDownBy": 2, "maxBitrate": 500_000},
    {"rid": "f", "scaleResolutionDownBy": 1, "maxBitrate": 1_500_000},
]


async def view(worker: WorkerProcess, page: Page, holder: str, **heights_px: int) -> None:
    """The page tells how high it shows its slots."""
    answer = await worker.web.ask(
        messages.View, session=sessions_of[page]["down"], holder=holder, heights_px=heights_px
    )
    assert isinstance(answer, messages.Answered), answer


async def height(page: Page, mid: str, wanted: int) -> None:
    """Wait until a slot's picture is ``wanted`` pixels high: Chromium tries a larger one again only now and
    then where it was busy."""
    for _ in range(600):
        found = (await page.evaluate("inbound()")).get(mid, {}).get("height", 0)
        if found == wanted:
            return
        await page.wait_for_timeout(100)
    raise AssertionError(f"{mid}: {found}, not {wanted}")


async def test_each_slot_gets_the_layer_that_it_shows(
    worker: WorkerProcess, browser: Browser, origin: str
) -> None:
    worker.web.desire(GRANTS, stage="site:a", wall=("site:a",))
    a = await open_page(browser, origin, worker, "seat-a", "site:a")
    b = await open_page(browser, origin, worker, "seat-b", "site:b")
    await a.evaluate(
        "(encodings) => publish('H264', {width: 1280, height: 720}, encodings)", ENCODINGS
    )
    await b.evaluate("receive()")
    await height(b, "stage", 720)
    await height(b, "wall0", 180)
    # A busy machine stands still now and then; a switch that freezes does so each time.
    for _ in range(8):
        before = (await b.evaluate("inbound()"))["stage"]
        await down_and_up(worker, a, b)
        stage = (await b.evaluate("inbound()"))["stage"]
        seamless = stage["freezes"] == before["freezes"] and stage["plis"] <= before["plis"] + 1
        if seamless:
            break
    assert seamless, (before, stage)


async def down_and_up(worker: WorkerProcess, a: Page, b: Page) -> None:
    """The stage by its smallest layer, by the next, and by the largest again."""
    await view(worker, b, "seat-b", stage=180, wall0=0)
    await height(b, "stage", 180)

    def hidden() -> bool:
        slots = worker.web.last(messages.Slots, holder="seat-b")
        return slots is not None and slots.slots["wall0"] is None

    await eventually(hidden)
    assert worker.web.last(messages.Slots, holder="seat-b").slots["stage"] == "site:a"
    # What nobody receives is paused, and begins again when it is wanted.
    await eventually(lambda: worker.web.last(messages.Layers).rids == ("q",))
    await a.evaluate("activate(['q'])")
    await advances(b, "stage")
    await view(worker, b, "seat-b", stage=360, wall0=360)
    await eventually(lambda: "h" in worker.web.last(messages.Layers).rids)
    await a.evaluate("(rids) => activate(rids)", list(worker.web.last(messages.Layers).rids))
    await height(b, "stage", 360)
    await view(worker, b, "seat-b", stage=720)
    await eventually(lambda: "f" in worker.web.last(messages.Layers).rids)
    await a.evaluate("(rids) => activate(rids)", list(worker.web.last(messages.Layers).rids))
    await height(b, "stage", 720)
    await advances(b, "stage")
