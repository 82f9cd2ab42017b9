"""Pictures that a narrow line carries as whole ones: what waits, what is left out, and a real page."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from playwright.async_api import Browser, Page

from server.media.bursts import Packet
from server.media.pacing import LEAST_BPS, MAX_WAIT_S, Pacer, Thinning, Verdict
from tests.media.encoder import Encoder, film, tone
from tests.media.harness import WorkerProcess, eventually
from tests.media.lines import BadLine
from tests.media.packets import packet
from tests.media.pages import GRANTS, advances, open_page
from tests.media.test_line import downlink, stage

GOES, RESUMES, LEFT_OUT = Verdict.GOES, Verdict.RESUMES, Verdict.LEFT_OUT


def taken(pacer: Pacer[int]) -> list[int]:
    """What goes now."""
    items = []
    while pacer.due:
        items.append(pacer.take())
    return items


def test_what_waits_goes_in_its_order_at_the_rate_of_the_line() -> None:
    pacer: Pacer[int] = Pacer()
    for item in range(200):
        pacer.put(item, 1000, key=False)
    assert pacer.wait_s() > 1
    items: list[int] = []
    for tick in range(101):
        pacer.refill(800_000, 0, tick * 0.01)
        items += taken(pacer)
    assert items == list(range(len(items)))
    assert len(items) == pytest.approx(100, abs=5)


def test_what_goes_past_leaves_less_for_what_waits() -> None:
    pacer: Pacer[int] = Pacer()
    for item in range(200):
        pacer.put(item, 1000, key=False)
    count = 0
    for tick in range(101):
        pacer.refill(800_000, 500, tick * 0.01)
        count += len(taken(pacer))
    assert count == pytest.approx(50, abs=5)


def test_nothing_saved_up_makes_a_burst_and_a_fallen_estimate_does_not_stop_all() -> None:
    pacer: Pacer[int] = Pacer()
    pacer.refill(800_000, 0, 0.0)
    for item in range(20):
        pacer.put(item, 1000, key=False)
    pacer.refill(800_000, 0, 60.0)
    assert len(taken(pacer)) <= 2
    pacer.refill(0, 0, 61.0)
    assert pacer.rate_bps == LEAST_BPS and pacer.due


def test_what_waits_for_keyframes_is_told_apart() -> None:
    pacer: Pacer[str] = Pacer()
    pacer.refill(800_000, 0, 0.0)
    pacer.put("key", 10_000, key=True)
    pacer.put("delta", 1000, key=False)
    assert pacer.wait_s() == pytest.approx(0.11)
    assert pacer.wait_s(but_keyframes=True) == pytest.approx(0.01)
    assert pacer.take() == "key"
    assert pacer.wait_s() == pytest.approx(0.01)
    assert pacer.take() == "delta" and pacer.empty


def picture(number: int, order: int, *, begins: bool = False) -> Packet:
    return packet(number, 3600 * order, begins=begins)


def test_a_picture_that_would_wait_too_long_is_left_out_up_to_the_next_keyframe() -> None:
    thinning = Thinning()
    long_s = MAX_WAIT_S + 0.1

    def judge(each: Packet, wait_s: float, delta_wait_s: float | None = None) -> Verdict:
        return thinning.judge(each, wait_s, wait_s if delta_wait_s is None else delta_wait_s, 5.0)

    assert judge(picture(10, 1, begins=True), 0) is GOES
    assert judge(picture(11, 1), long_s, 0) is GOES, "the rest of it"
    assert judge(picture(13, 2), long_s, 0) is GOES, "it only waits for the keyframe"
    assert judge(picture(14, 2), long_s) is GOES, "the rest of it"
    assert judge(picture(16, 3), long_s) is LEFT_OUT and thinning.since_s == 5.0
    assert judge(picture(17, 4), 0) is LEFT_OUT, "it needs the one before it"
    assert judge(picture(15, 2), long_s) is GOES, "a late one of what went"
    assert judge(picture(18, 5, begins=True), long_s, 0) is LEFT_OUT, "behind another keyframe"
    assert judge(picture(19, 5), 0) is LEFT_OUT
    assert judge(picture(20, 6, begins=True), 0) is RESUMES and thinning.since_s is None
    assert judge(picture(21, 6), long_s) is GOES
    assert thinning.key_timestamp == 6 * 3600


async def counts(page: Page, mid: str) -> dict[str, float]:
    found: dict[str, float] = (await page.evaluate("inbound()"))[mid]
    return found


@pytest.mark.browser
async def test_an_encoder_that_sends_more_than_a_line_carries_is_seen_whole_and_heard(
    worker: WorkerProcess, browser: Browser, origin: str, line: BadLine
) -> None:
    """It has one layer only: before, no picture came through at 0.5 Mbit/s, and a fifth of sound was lost."""
    worker.web.desire(GRANTS, stage="site:a", floor=("site:a",))
    encoder = Encoder()
    answered = await encoder.publish(worker, "seat-a", "site:a")
    playing = asyncio.create_task(encoder.play(film(800_000), tone()))
    await line.start(answered.sdp)
    line.change(delay_ms=20)
    page = await open_page(browser, origin, worker, "seat-b", "site:b", line=line.describe)
    await page.evaluate("receive()")
    await advances(page, "stage")

    line.change(way="down", rate_bps=500_000)
    await eventually(lambda: stage(worker).reason == "line")
    await eventually(lambda: downlink(worker).reduced)
    # A machine that is busy elsewhere loses something now and then; too much is lost all the time.
    for _ in range(5):
        before = [await counts(page, mid) for mid in ("stage", "audio0")]
        await advances(page, "stage", by=30)
        after = [await counts(page, mid) for mid in ("stage", "audio0")]
        came, lost = (
            [now[field] - then[field] for then, now in zip(before, after, strict=True)]
            for field in ("packets", "lost")
        )
        if whole := all(lost[i] < 0.05 * came[i] for i in (0, 1)):
            break
    assert whole, (came, lost)

    line.change(way="down", rate_bps=0)
    await eventually(lambda: stage(worker).reason == "size")
    await advances(page, "stage", by=50)
    playing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await playing
    await encoder.close()
