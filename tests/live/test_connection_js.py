"""static/js/connection.js in real Chromium against the real gateway."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, async_playwright

from server import inbox
from server.permissions import Actor
from server.snapshot import build_with_seq
from tests.cast import START
from tests.live.conftest import PATIENCE_S, Venue

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("kind", ["sqlite"]),
]

CONNECT = """async ([name, boot]) => {
  const { connect } = await import("/static/js/connection.js");
  window.told = [];
  window[name] = connect({
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
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = await browser.new_page()
        await page.goto(f"{venue.url}/blank")
        await sit_down(venue, page, venue.cast.trainee, "line")
        yield page
        await browser.close()


async def sit_down(venue: Venue, page: Page, actor: Actor, name: str) -> None:
    """Connect one more seat, as a page of its own does."""
    state, seq = venue.database.read_now(build_with_seq, actor, START)
    cookie, secret = f"seat_{actor.holder}", venue.cast.secrets[actor.holder]
    await page.context.add_cookies([{"name": cookie, "value": secret, "url": venue.url}])
    boot = {"seat": actor.holder, "role": actor.role.value, "seq": seq, "state": state}
    await page.evaluate(CONNECT, [name, json.loads(json.dumps(boot))])
    await page.wait_for_function(f"window.{name}.online && window.{name}.state.live.clock")


async def test_a_page_sends_hears_resumes_and_learns_of_its_end(
    venue: Venue, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await page.evaluate("window.line.send('question.ask', {text: 'Có ai nghe không?'})")
    state = f"window.line.state.questions['{asked['question']}']"
    assert await page.evaluate(f"{state}.text") == "Có ai nghe không?"
    assert await page.evaluate("Math.abs(window.line.now() - Date.now()) < 5000")

    refusal = await page.evaluate(
        "window.line.send('stage.show', {source: null}).catch((e) => [e.code, e.message])"
    )
    assert refusal[0] == "forbidden" and refusal[1]

    # There is no room for a moment: it is sent again without anybody's doing.
    full = inbox.REFUSED.labels("full")._value
    before = full.get()
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "CAPACITY", 0)
        patch.setattr(inbox, "RETRY_AFTER_S", 0.1)
        await page.evaluate("void (window.later = line.send('question.ask', {text: 'Còn tôi?'}))")
        async with asyncio.timeout(PATIENCE_S):
            while full.get() == before:
                await asyncio.sleep(0.01)
    asked = await page.evaluate("window.later")
    assert await page.evaluate(f"window.line.state.questions['{asked['question']}'].text")

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
    await page.evaluate(
        CONNECT, ["line", boot]
    )  # a page that is served all the same does not go round
    await page.wait_for_function("window.line.refusal?.code === 'unauthenticated'")


DIRECT = """(site) => {
  let n = 0;
  Math.random = () => (n += 1) % 2; // what is sent first waits longest
  window.directed = Promise.all([
    window.desk.send("floor.give", { site, stage: true }),
    window.desk.send("stage.show", { source: null }),
  ]);
}"""


async def test_what_is_sent_again_keeps_its_place(
    impatient: None, database_url: str, venue: Venue, page: Page
) -> None:
    """Questions among each other; the floor and the stage too, which is shown who is given the floor."""
    refused = inbox.REFUSED.labels("database")._value
    before = refused.get()
    await sit_down(venue, page, venue.cast.moderator, "desk")
    with sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        await page.evaluate(DIRECT, venue.cast.hue)
        await page.evaluate(
            """(texts) => void (window.sent = Promise.all(
              texts.map((text) => window.line.send("question.ask", { text }))))""",
            TEXTS,
        )
        async with asyncio.timeout(PATIENCE_S):
            while refused.get() < before + 2:
                await asyncio.sleep(0.01)
        other.execute("ROLLBACK")
    numbers = await page.evaluate("window.sent.then((all) => all.map((each) => each.question))")
    assert numbers == sorted(numbers)
    await page.evaluate("window.directed.then(() => {})")
    state = await page.evaluate("window.desk.state")
    assert state["sites"][str(venue.cast.hue)]["floor_since"]
    assert state["conference"]["stage"] is None, "what was chosen last"


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
