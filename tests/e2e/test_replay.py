"""The end of a conference, and its replay at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.async_api import expect

from server.simulation.reference import AGENDA, CURRENT, QUIZZES
from tests.e2e.conftest import Demo
from tests.e2e.pages import SMALL, eventually
from tests.e2e.test_media import CENTRE_HUE
from tests.e2e.test_room import ask, bring_phone

pytestmark = pytest.mark.browser

CLOSE_MS = 1500
"""How far a marker may be from the time in which its cause was: pressed before, seen after."""

# Until when on the time line there were frames, and sound above a whisper.
LISTEN = """(video) => {
  const audio = new AudioContext(), source = audio.createMediaElementSource(video);
  const analyser = audio.createAnalyser(), samples = new Float32Array(analyser.fftSize);
  source.connect(analyser).connect(audio.destination);
  window.seenUntil = window.heardUntil = 0;
  const look = (_, frame) => {
    window.seenUntil = frame.mediaTime;
    analyser.getFloatTimeDomainData(samples);
    if (samples.some((sample) => Math.abs(sample) > 0.01)) window.heardUntil = video.currentTime;
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}"""


BAR = "bar => [Number(bar.style.getPropertyValue('--position')), bar.value / bar.max]"


async def test_while_the_conference_goes_on_the_bar_of_a_paused_replay_stays_true(
    demo: Demo, visit: Callable[..., Any]
) -> None:
    viewer = await visit(demo.urls["viewer"])
    await viewer.press("main form button[type=submit]")
    seek = viewer.at("#seek")

    async def length() -> float:
        return float(await seek.evaluate("bar => bar.max"))

    async def known() -> bool:
        return await length() > 1

    await eventually(known, length)
    before = await length()
    await seek.fill(str(round(before / 2, 1)))

    async def grown() -> bool:
        return await length() > before

    await eventually(grown, length)
    fill, thumb = await seek.evaluate(BAR)
    assert 0 < thumb < 0.5
    assert fill == pytest.approx(thumb)


async def test_what_was_live_is_replayed_to_its_last_second(
    short_demo: Demo, sit: Callable[..., Any]
) -> None:
    demo = short_demo
    display = await sit(demo.urls["display"], *SMALL)
    desk = await sit(demo.urls["moderator"])
    phone = await bring_phone(demo, sit)
    await display.shows("#stage", CENTRE_HUE)
    done: dict[tuple[str, str], tuple[datetime, datetime]] = {}

    question = "Bao giờ có mẫu mới?"
    await ask(phone, question)
    await desk.press(f"#lane-asked li:has-text('{question}') [data-question=approve]")
    pressed_at = datetime.now(UTC)
    await desk.press(f"#lane-approved li:has-text('{question}') [data-question=put_on_stage]")
    await display.sees("#question p", question)
    done["question", question] = pressed_at, datetime.now(UTC)
    await desk.press(f"#lane-approved li:has-text('{question}') [data-question=finish]")
    pressed_at = datetime.now(UTC)
    await desk.press("#next-item")
    await display.sees("#agenda-now", AGENDA[CURRENT + 1].title)
    done["agenda", AGENDA[CURRENT + 1].title] = pressed_at, datetime.now(UTC)
    await desk.press("#quiz-button")
    pressed_at = datetime.now(UTC)
    await desk.press(f"#activities li:has-text('{QUIZZES[0].title}') [data-launch]")
    await display.sees("#quiz h2", QUIZZES[0].items[0].text)
    done["activity", QUIZZES[0].items[0].text] = pressed_at, datetime.now(UTC)
    await desk.press("#run-card [data-run=close]")
    await desk.press("#run-card [data-run=finish]")

    await desk.press("[data-move=ended]:visible")
    pressed_at = datetime.now(UTC)
    await desk.press("dialog[open] button.danger")
    await display.sees("#cover", "Hội nghị đã kết thúc")
    ended = pressed_at, datetime.now(UTC)
    for done_with in (display, phone):
        await done_with.page.context.close()
    await desk.press("#replay-link")
    replay = desk
    await replay.page.wait_for_url(f"**/replay/{demo.recording}")

    boot = await replay.page.evaluate("JSON.parse(document.getElementById('boot').textContent)")
    zero_at = datetime.fromisoformat(boot["zero_at"])

    def within(at_ms: float, span: tuple[datetime, datetime]) -> bool:
        since_ms, until_ms = [(at - zero_at).total_seconds() * 1000 for at in span]
        return since_ms - CLOSE_MS <= at_ms <= until_ms + CLOSE_MS

    async def timeline() -> dict[str, Any]:
        answer = await replay.page.request.get(demo.base_url + boot["timeline"])
        told: dict[str, Any] = await answer.json()
        return told

    async def closed() -> bool:
        return bool((await timeline()).get("ended"))

    await eventually(closed, timeline)
    duration_ms = (await timeline())["duration_ms"]
    assert within(duration_ms, ended)
    journal = await (await replay.page.request.get(demo.base_url + boot["journal"])).json()
    told = {(each["kind"], each["text"]): each["at_ms"] for each in journal["markers"]}
    assert told.pop(("agenda", AGENDA[CURRENT].title)) <= CLOSE_MS
    assert set(told) == set(done)
    for key, span in done.items():
        assert within(told[key], span), (key, told[key], span, zero_at)

    # As a person sees it: chapters lead to their places, the end is reached with picture and sound.
    await replay.page.reload()
    await expect(replay.at("#markers li")).to_have_count(len(done) + 1)
    title = AGENDA[CURRENT + 1].title
    await replay.at("#search").fill(question.upper())
    await expect(replay.at("#questions .chapter", question)).to_be_visible()
    await replay.at("#search").fill("")
    await replay.press("#tabs [aria-controls=chapters-panel]")
    await replay.press("#chapters .chapter", title)
    video = replay.at("#stage video")

    async def at_s() -> float:
        return float(await video.evaluate("video => video.currentTime"))

    async def at_the_chapter() -> bool:
        return await at_s() == pytest.approx(told["agenda", title] / 1000, abs=0.1)

    await eventually(at_the_chapter, at_s)
    await replay.shows_still("#stage", CENTRE_HUE)
    await video.evaluate(LISTEN)

    async def at_the_end() -> bool:
        return bool(await video.evaluate("video => video.ended"))

    async def played_to_the_end() -> bool:
        """A busy browser may miss the last moments once; what is not recorded is missing each time."""
        await replay.at("#seek").fill(str(round(duration_ms / 1000 - 4, 1)))
        await replay.press("#play")
        await eventually(at_the_end, at_s)
        seen_s, heard_s = await video.evaluate("() => [seenUntil, heardUntil]")
        # The picture goes on to the end, and so does the sound.
        return bool(seen_s >= duration_ms / 1000 - 0.5 and heard_s >= duration_ms / 1000 - 1)

    await eventually(played_to_the_end, lambda: video.evaluate("() => [seenUntil, heardUntil]"))
    assert await at_s() >= duration_ms / 1000 - 0.5
    await replay.shows_still("#stage", CENTRE_HUE)
