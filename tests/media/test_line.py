"""Chromium behind a line that gets narrow and wide again, and behind one that loses some."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page

from server.media import messages
from tests.media.harness import WorkerProcess, eventually
from tests.media.lines import BadLine
from tests.media.pages import GRANTS, advances, open_page
from tests.media.test_simulcast import ENCODINGS, height

pytestmark = pytest.mark.browser


def downlink(worker: WorkerProcess) -> messages.Downlink | None:
    """How the only receiver's line is."""
    told = worker.web.last(messages.Downlinks)
    return next(iter(told.downlinks.values()), None) if told is not None else None


def stage(worker: WorkerProcess) -> messages.Slot:
    """What its stage gets of it."""
    found = downlink(worker)
    none = messages.Slot(0, 0, 0, "")
    return found.slots.get("stage", none) if found is not None else none


async def taller(page: Page, mid: str, least: int) -> None:
    """Wait until a slot's picture is higher; how high a busy machine gets is not asserted."""
    for _ in range(600):
        found = (await page.evaluate("inbound()")).get(mid, {}).get("height", 0)
        if found > least:
            return
        await page.wait_for_timeout(100)
    raise AssertionError(f"{mid}: {found}")


async def test_a_picture_follows_the_line_down_and_up(
    worker: WorkerProcess, browser: Browser, origin: str, line: BadLine
) -> None:
    worker.web.desire(GRANTS, stage="site:a", floor=("site:a",))
    answers: list[str] = []

    def keep(sdp: str) -> str:
        answers.append(sdp)
        return sdp

    a = await open_page(browser, origin, worker, "seat-a", "site:a", line=keep)
    await a.evaluate(
        "(encodings) => publish('H264', {width: 1280, height: 720}, encodings)", ENCODINGS
    )
    await line.start(answers[0])
    line.change(delay_ms=20)
    b = await open_page(browser, origin, worker, "seat-b", "site:b", line=line.describe)
    await b.evaluate("receive()")
    await taller(b, "stage", 180)

    line.change(way="down", rate_bps=250_000)
    await eventually(lambda: stage(worker).height_px == 180)
    await eventually(lambda: downlink(worker).reduced)
    await eventually(lambda: (stage(worker).worth_px, stage(worker).reason) == (720, "line"))
    await eventually(lambda: downlink(worker).carries_bps < 400_000)
    await height(b, "stage", 180)
    await advances(b, "stage")
    await advances(b, "audio0", "samples", 9600)

    line.change(way="down", rate_bps=0)
    await taller(b, "stage", 180)
    await advances(b, "stage")


REPEATED = """async () => {
  const found = {nacks: 0, repeated: 0, known: 0, reports: 0};
  for (const report of (await window.publisher.getStats()).values()) {
    if (report.kind !== "video") continue;
    found.nacks += report.type === "outbound-rtp" ? report.nackCount ?? 0 : 0;
    found.repeated += report.retransmittedPacketsSent ?? 0;
    found.reports += report.type === "remote-inbound-rtp";
    found.known += report.roundTripTimeMeasurements ?? 0;
  }
  return found;
}"""


async def test_a_browser_repeats_what_was_lost_each_time_that_it_is_asked(
    worker: WorkerProcess, browser: Browser, origin: str, line: BadLine
) -> None:
    """Which it does while it knows no round trip: within one it would repeat nothing twice."""
    worker.web.desire(GRANTS, stage="site:a")
    descriptions: list[str] = []

    def keep(sdp: str) -> str:
        descriptions.append(sdp)
        return sdp

    b = await open_page(browser, origin, worker, "seat-b", "site:b", line=keep)
    await b.evaluate("receive()")
    await line.start(descriptions[0])
    line.change(delay_ms=40)
    a = await open_page(browser, origin, worker, "seat-a", "site:a", line=line.describe)
    await a.evaluate("publish('H264')")
    await advances(b, "stage")
    line.change(way="up", loss=0.2)
    for _ in range(600):
        found = await a.evaluate(REPEATED)
        if found["nacks"] >= 30:
            break
        await a.wait_for_timeout(100)
    assert found["nacks"] >= 30 and found["repeated"] > 0.75 * found["nacks"], found
    assert found["reports"] and not found["known"], found
    await advances(b, "stage")
