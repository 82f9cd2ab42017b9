"""static/js/connection.js in real Chromium against the real gateway."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, async_playwright

from server.inbox import REFUSED
from server.snapshot import build_with_seq
from tests.cast import START
from tests.live.conftest import PATIENCE_S, Venue

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("kind", ["sqlite"]),
]

CONNECT = """async (boot) => {
  const { connect } = await import("/static/js/connection.js");
  window.told = [];
  window.line = connect({
    ...boot,
    onChange: (state, events) => window.told.push(...events.map((event) => event.seq)),
  });
}"""


TEXTS = [f"Câu {number}" for number in range(1, 6)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer waits for other processes for a fifth of a second only."""
    monkeypatch.setattr("server.db.engine.BUSY_TIMEOUT_MS", 200)


@pytest.fixture
async def page(venue: Venue) -> AsyncIterator[Page]:
    """A trainee's page, connected from what the server put into it."""
    actor = venue.cast.trainee
    state, seq = venue.database.read_now(build_with_seq, actor, START)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        context = await browser.new_context()
        name, secret = f"seat_{actor.holder}", venue.cast.secrets[actor.holder]
        await context.add_cookies([{"name": name, "value": secret, "url": venue.url}])
        page = await context.new_page()
        await page.goto(f"{venue.url}/blank")
        boot = {"seat": actor.holder, "role": "trainee", "seq": seq, "state": state}
        await page.evaluate(CONNECT, json.loads(json.dumps(boot)))
        await page.wait_for_function("window.line.online && window.line.state.live.clock")
        yield page
        await browser.close()


async def test_a_page_sends_hears_resumes_and_learns_of_its_end(venue: Venue, page: Page) -> None:
    asked = await page.evaluate("window.line.send('question.ask', {text: 'Có ai nghe không?'})")
    state = f"window.line.state.questions['{asked['question']}']"
    assert await page.evaluate(f"{state}.text") == "Có ai nghe không?"
    assert await page.evaluate("Math.abs(window.line.now() - Date.now()) < 5000")

    refusal = await page.evaluate(
        "window.line.send('stage.show', {source: null}).catch((e) => [e.code, e.message])"
    )
    assert refusal[0] == "forbidden" and refusal[1]

    # The line is cut while a command is sent: it is answered after the page has come back.
    moderator = await venue.open(venue.cast.moderator)
    for connection in venue.gateway.connections.of_seats([venue.cast.trainee.holder]):
        connection.socket.cut_off()
    await moderator.send("site.mute", {"site": venue.cast.hue, "muted": True}, "k")
    assert await page.evaluate("window.line.send('question.ask', {text: 'Lại là tôi'})")
    await page.wait_for_function(f"window.line.state.sites['{venue.cast.hue}'].muted")
    told = await page.evaluate("window.told")
    assert told == sorted(set(told)), "each event once, in order"

    organiser = await venue.open(venue.cast.organiser)
    async with page.expect_navigation():  # to the server's own page, which says why
        await organiser.send("seat.revoke", {"seat": venue.cast.trainee.holder}, "k")
    boot = {"seat": venue.cast.trainee.holder, "role": "trainee", "seq": 0, "state": {"live": {}}}
    await page.evaluate(CONNECT, boot)  # a page that is served all the same does not go round
    await page.wait_for_function("window.line.refusal?.code === 'unauthenticated'")


async def test_what_is_sent_again_keeps_its_place(
    impatient: None, database_url: str, venue: Venue, page: Page
) -> None:
    refused = REFUSED.labels("database")._value
    before = refused.get()
    with sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        await page.evaluate(
            """(texts) => void (window.sent = Promise.all(
              texts.map((text) => window.line.send("question.ask", { text }))))""",
            TEXTS,
        )
        async with asyncio.timeout(PATIENCE_S):
            while refused.get() == before:
                await asyncio.sleep(0.01)
        other.execute("ROLLBACK")
    numbers = await page.evaluate("window.sent.then((all) => all.map((each) => each.question))")
    assert numbers == sorted(numbers)


STAGE = """async () => {
  document.body.innerHTML = `<div id=toasts></div><button id=a></button><button id=b></button>
    <template id=toast-template><p class=toast><b data-text=text></b><button></button></p></template>
    <textarea id=box>Câu hỏi</textarea>`;
  const { actBy } = await import("/static/js/act.js");
  const { clearSent } = await import("/static/js/kept.js");
  const [act, box] = [actBy(window.line), document.getElementById("box")];
  window.ask = async (id) => {
    const [control, text] = [document.getElementById(id), box.value];
    if (await act(control, "question.ask", { text })) clearSent(box, text);
  };
}"""


async def test_who_waits_is_told_and_what_is_written_on_stays(
    impatient: None, database_url: str, venue: Venue, page: Page
) -> None:
    await page.evaluate(STAGE)
    notes, box = page.locator(".toast.info"), page.locator("#box")
    with sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        await page.evaluate("void (window.asked = Promise.all([ask('a'), ask('b')]))")
        await box.fill("Câu hỏi, và thêm nữa")
        await notes.wait_for()
        assert await notes.count() == 1, "one for all that waits"
        assert "được giữ lại" in await notes.inner_text()
        other.execute("ROLLBACK")
    await page.evaluate("window.asked")
    assert await notes.count() == 0 and await box.input_value() == "Câu hỏi, và thêm nữa"
    await page.evaluate("ask('a')")
    assert await box.input_value() == ""
