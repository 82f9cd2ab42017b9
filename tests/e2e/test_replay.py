"""The end of a conference, and its replay at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.async_api import expect

from server.simulation.reference import AGENDA, CURRENT, QUIZZES
from tests.e2e.conftest import Demo
from tests.e2e.pages import NEAR_HUE, eventually, turn
from tests.e2e.test_media import CENTRE_HUE
from tests.e2e.test_room import ask, bring_phone

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

CLOSE_MS = 1500
"""How far a marker may be from what the test did, and the recording's end from the conference's."""

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
    short_demo: Demo, visit: Callable[..., Any]
) -> None:
    demo = short_demo
    display = await (await visit(demo.urls["display"], 1280, 720)).enter()
    desk = await (await visit(demo.urls["moderator"])).enter()
    phone = await bring_phone(demo, visit, display, person=0)
    await display.shows("#stage", CENTRE_HUE)
    done: dict[tuple[str, str], datetime] = {}

    question = "Bao giờ có mẫu mới?"
    await ask(phone, question)
    await desk.press(f"#lane-asked li:has-text('{question}') [data-question=approve]")
    await desk.press(f"#lane-approved li:has-text('{question}') [data-question=put_on_stage]")
    done["question", question] = datetime.now(UTC)
    await display.sees("#question p", question)
    await desk.press(f"#lane-approved li:has-text('{question}') [data-question=finish]")
    await desk.press("#next-item")
    done["agenda", AGENDA[CURRENT + 1].title] = datetime.now(UTC)
    await display.sees("#agenda-now", AGENDA[CURRENT + 1].title)
    await desk.press("#quiz-button")
    await desk.press(f"#activities li:has-text('{QUIZZES[0].title}') [data-launch]")
    done["activity", QUIZZES[0].items[0].text] = datetime.now(UTC)
    await display.sees("#quiz h2", QUIZZES[0].items[0].text)
    await desk.press("#run-card [data-run=close]")
    await desk.press("#run-card [data-run=finish]")

    await desk.press("[data-move=ended]:visible")
    await desk.press("dialog[open] button.danger")
    ended_at = datetime.now(UTC)
    await display.sees("#cover", "Hội nghị đã kết thúc")
    await desk.press("#replay-link")
    replay = desk
    await replay.page.wait_for_url(f"**/replay/{demo.recording}")

    boot = await replay.page.evaluate("JSON.parse(document.getElementById('boot').textContent)")
    zero_at = datetime.fromisoformat(boot["zero_at"])

    def ms(at: datetime) -> float:
        return (at - zero_at).total_seconds() * 1000

    async def timeline() -> dict[str, Any]:
        answer = await replay.page.request.get(demo.base_url + boot["timeline"])
        told: dict[str, Any] = await answer.json()
        return told

    async def closed() -> bool:
        return bool((await timeline()).get("ended"))

    await eventually(closed, timeline)
    duration_ms = (await timeline())["duration_ms"]
    assert abs(duration_ms - ms(ended_at)) <= CLOSE_MS
    journal = await (await replay.page.request.get(demo.base_url + boot["journal"])).json()
    told = {(each["kind"], each["text"]): each["at_ms"] for each in journal["markers"]}
    assert told.pop(("agenda", AGENDA[CURRENT].title)) <= CLOSE_MS
    assert set(told) == set(done)
    for key, at in done.items():
        assert abs(told[key] - ms(at)) <= CLOSE_MS, (key, told[key], ms(at))

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
    at_s = await video.evaluate("video => video.currentTime")
    assert at_s == pytest.approx(told["agenda", title] / 1000, abs=0.1)
    await replay.shows_still("#stage", CENTRE_HUE)
    await replay.at("#seek").fill(str(round(duration_ms / 1000 - 4, 1)))
    await video.evaluate(LISTEN)
    await replay.press("#play")

    async def at_the_end() -> bool:
        return bool(await video.evaluate("video => video.ended"))

    await eventually(at_the_end, lambda: video.evaluate("video => video.currentTime"))
    seen_s, heard_s = await video.evaluate("() => [seenUntil, heardUntil]")
    assert seen_s >= duration_ms / 1000 - 0.5, "the picture goes on to the end"
    assert heard_s >= duration_ms / 1000 - 1, "so does the sound"
    assert await video.evaluate("video => video.currentTime") >= duration_ms / 1000 - 0.5
    assert turn(await replay.hue("#stage"), CENTRE_HUE) <= NEAR_HUE
