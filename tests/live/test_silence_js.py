"""static/js/connection.js where a network takes WebSockets and lets nothing through, or all are late.

In real Chromium, whose clock is the test's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route

from server.snapshot import build_with_seq
from tests.cast import START
from tests.e2e.conftest import browser  # noqa: F401
from tests.live.conftest import PATIENCE_S, Venue, visited

pytestmark = [
    pytest.mark.browser,
    pytest.mark.alone,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("kind", ["sqlite"]),
]
venue = visited

SWALLOWED = """
const Real = WebSocket;
window.WebSocket = class {
  constructor(...given) {
    if (window.letsThrough) return new Real(...given);
    setTimeout(() => this.onopen());
  }
  send() {}
  close() { setTimeout(() => this.onclose(new CloseEvent("close"))); }
};
"""
CONNECT = """async (boot) => {
  const { connect } = await import("/static/js/connection.js");
  window.told = [];
  window.line = connect({ ...boot, onStatus: (online) => window.told.push(online) });
}"""
TRIES_FIRST = "window.line.socket.io.opts.transports[0] === '%s'"
ENGINE = "window.line.socket.io.engine"


@pytest_asyncio.fixture(loop_scope="session")
async def page(venue: Venue, browser: Browser) -> AsyncIterator[Page]:  # noqa: F811
    """A trainee's page at the beginning of its first try."""
    trainee = venue.cast.trainee
    state, seq = venue.database.read_now(build_with_seq, trainee, START)
    cookie, secret = f"seat_{trainee.holder}", venue.cast.secrets[trainee.holder]
    boot = {"seat": trainee.holder, "role": "trainee", "seq": seq, "state": state}
    context = await browser.new_context()
    page = await context.new_page()
    await context.add_cookies([{"name": cookie, "value": secret, "url": venue.url}])
    await page.add_init_script(SWALLOWED)
    await page.clock.install(time=0)
    await page.goto(f"{venue.url}/blank")
    await page.clock.pause_at(3_600_000)
    await page.evaluate(CONNECT, boot)
    yield page
    await context.close()


async def test_a_page_without_a_line_says_so_and_polls_soon(page: Page) -> None:
    assert await page.evaluate("window.told") == []
    await page.clock.run_for(2100)
    assert await page.evaluate("window.told") == [False]
    await page.clock.run_for(3000)
    await page.wait_for_function("window.line.online")
    assert await page.evaluate(f"{ENGINE}.transport.name") == "polling"
    assert await page.evaluate("window.line.send('question.ask', {text: 'Nghe không?'})")
    assert await page.evaluate(TRIES_FIRST % "polling")


async def test_where_the_guess_was_wrong_the_next_try_is_by_websocket_again(page: Page) -> None:
    await page.evaluate("window.letsThrough = true")
    await page.clock.run_for(5100)
    await page.wait_for_function(f"{ENGINE}.transport.name === 'websocket' && window.line.online")
    assert await page.evaluate(TRIES_FIRST % "websocket")


async def test_nothing_is_said_of_a_line_that_is_back_before_anybody_could_read_it(
    page: Page,
) -> None:
    await page.evaluate("window.letsThrough = true")
    await page.clock.run_for(5100)
    await page.wait_for_function("window.line.online")
    await page.evaluate(f"{ENGINE}.close()")
    assert not await page.evaluate("window.line.online")
    await page.clock.run_for(1600)
    await page.wait_for_function("window.line.online")
    assert await page.evaluate("window.told") == [False, True, True]


async def test_where_nothing_gets_through_the_first_try_goes_on(page: Page) -> None:
    """A server that is late would have to take it up once more."""
    asked = asyncio.Event()

    async def refuse(route: Route) -> None:
        await route.abort()
        asked.set()

    await page.route("**/*", refuse)
    await page.evaluate(f"window.first = {ENGINE}")
    await page.clock.run_for(5100)
    await asyncio.wait_for(asked.wait(), PATIENCE_S)
    await page.clock.run_for(14_000)
    assert await page.evaluate(f"window.first === {ENGINE}")
    await page.clock.run_for(1000)
    await page.wait_for_function(f"{ENGINE}.readyState === 'closed'")


async def test_a_line_that_is_dead_while_the_server_is_there_is_left(page: Page) -> None:
    """The machine has another address now: TCP would find out after half a minute."""
    await page.evaluate("window.letsThrough = true")
    await page.clock.run_for(5100)
    await page.wait_for_function(f"{ENGINE}.transport.name === 'websocket' && window.line.online")
    await page.evaluate(f"window.first = {ENGINE}")
    await page.evaluate("window.line.doubt()")
    assert await page.evaluate(f"window.first === {ENGINE}"), "it was answered"

    await page.evaluate("window.first.transport.ws.send = () => {}")
    await page.evaluate("void window.line.doubt()")
    for _ in range(100):  # the answer that it goes by comes at a moment of its own
        await page.clock.run_for(100)
        if await page.evaluate(f"window.first !== {ENGINE}"):
            break
    await page.wait_for_function(f"window.first !== {ENGINE} && window.line.online")


async def test_a_page_that_looks_for_the_server_finds_it_as_soon_as_it_is_back(page: Page) -> None:
    """What began while there was no line never hears of its return."""
    await page.evaluate("window.letsThrough = true")
    await page.clock.run_for(5100)
    await page.wait_for_function("window.line.online")
    await page.evaluate(f"window.first = {ENGINE}")
    asked = asyncio.Event()

    async def swallow_the_first(route: Route) -> None:
        if asked.is_set():
            await route.continue_()
        asked.set()

    await page.route("**/connection.js", swallow_the_first)
    await page.evaluate("void window.line.doubt()")
    await asyncio.wait_for(asked.wait(), PATIENCE_S)
    await page.clock.run_for(600)
    await page.wait_for_function(f"window.first !== {ENGINE} && window.line.online")
