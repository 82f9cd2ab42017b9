"""static/js/connection.js in real Chromium against the real gateway."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Dialog, Page
from sqlalchemy import func, select

from server import inbox
from server.attendance.models import CheckIn
from server.db.journal import JournalEntry
from server.permissions import Actor
from server.questions.models import Question
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

CONNECT = """async ([name, boot]) => {
  const { connect } = await import("/static/js/connection.js");
  window.told = [];
  const line = connect({
    ...boot,
    onChange: (state, events) => window.told.push(...events.map((event) => event.seq)),
  });
  line.left = { again: [], told: [] };
  line.outbox.onLeft(({ again, told }) => {
    line.left.again.push(...again);
    line.left.told.push(...told);
  });
  window[name] = line;
}"""


TEXTS = [f"Câu {number}" for number in range(1, 6)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer waits for other processes for a fifth of a second only."""
    monkeypatch.setattr("server.db.engine.BUSY_TIMEOUT_MS", 200)


@pytest_asyncio.fixture(loop_scope="session")
async def page(venue: Venue, browser: Browser) -> AsyncIterator[Page]:  # noqa: F811
    """A trainee's page, connected from what the server put into it."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{venue.url}/blank")
    await sit_down(venue, page, venue.cast.trainee, "line")
    yield page
    await context.close()


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


Refused = Callable[[int], Awaitable[None]]
"""waits until so many more were answered as later"""


@asynccontextmanager
async def outage(database_url: str) -> AsyncIterator[Refused]:
    """Nothing is taken meanwhile. What was sent and given up is done by nobody afterwards."""
    refused = inbox.REFUSED.labels("database")._value
    before = refused.get()

    async def more(count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while refused.get() < before + count:
                await asyncio.sleep(0.01)

    with sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        yield more
        other.execute("ROLLBACK")


DIRECT = """(site) => {
  let n = 0;
  Math.random = () => (n += 1) % 2; // what is sent first waits longest
  window.directed = Promise.all([
    window.desk.send("floor.give", { site, stage: true }),
    window.desk.send("site.mute", { site, muted: true }),
    window.desk.send("stage.show", { source: null }),
    window.desk.send("site.mute", { site, muted: false }),
  ]);
}"""


async def test_what_is_sent_again_keeps_its_place(
    impatient: None, database_url: str, venue: Venue, page: Page
) -> None:
    """Questions among each other; whatever a desk does, one click after the other."""
    await sit_down(venue, page, venue.cast.moderator, "desk")
    async with outage(database_url) as refused:
        await page.evaluate(DIRECT, venue.cast.hue)
        await page.evaluate(
            """(texts) => void (window.sent = Promise.all(
              texts.map((text) => window.line.send("question.ask", { text }))))""",
            TEXTS,
        )
        await refused(2)
    numbers = await page.evaluate("window.sent.then((all) => all.map((each) => each.question))")
    assert numbers == sorted(numbers)
    await page.evaluate("window.directed.then(() => {})")
    state = await page.evaluate("window.desk.state")
    assert state["sites"][str(venue.cast.hue)]["floor_since"]
    assert state["conference"]["stage"] is None, "what was chosen last"
    told = select(JournalEntry.type).order_by(JournalEntry.seq)
    with venue.database.read_session() as session:
        types = [each for each in session.scalars(told) if not each.startswith("question.")]
    assert types == ["floor.given", "stage.shown", "site.muted", "stage.shown", "site.muted"]


TAP = """([hue, asked]) => {
  const { line, desk } = window;
  void line.send("attendance.check_in", {}, "Điểm danh").catch(() => {});
  void line.send("question.ask", { text: asked }, "Gửi câu hỏi").catch(() => {});
  void desk.send("floor.give", { site: hue }, "Cho phát biểu").catch(() => {});
}"""
LEFT = """({ again, told }) => ({
  again: again.map((each) => each.type),
  told: told.map((each) => [each.type, each.label, Object.keys(each.payload)]),
})"""
KEPT = "Object.keys(localStorage).concat(Object.keys(sessionStorage))"


def dialogs_of(page: Page) -> list[str]:
    """Types of those that the page shows, each of which is answered by yes."""
    shown: list[str] = []

    async def accept(dialog: Dialog) -> None:
        shown.append(dialog.type)
        await dialog.accept()

    page.on("dialog", accept)
    return shown


async def test_a_page_sends_what_the_one_before_it_could_not(
    impatient: None, database_url: str, venue: Venue, page: Page
) -> None:
    """What means the same some minutes later; what directs the conference is only told."""
    cast = venue.cast

    async def come_back() -> None:
        await page.goto(f"{venue.url}/blank")
        await sit_down(venue, page, cast.trainee, "line")
        await sit_down(venue, page, cast.moderator, "desk")

    asked_to_stay = dialogs_of(page)
    await sit_down(venue, page, cast.moderator, "desk")
    await page.mouse.click(5, 5)  # a page that nobody has touched may ask nothing
    async with outage(database_url) as refused:
        await page.evaluate(TAP, [cast.hue, "Lương tính sao?"])
        await refused(2)
        await come_back()
        assert asked_to_stay == ["beforeunload"]
        await page.wait_for_function(
            "window.line.left.again.length && window.desk.left.told.length"
        )
        line = await page.evaluate(f"({LEFT})(window.line.left)")
        assert line == {"again": ["attendance.check_in", "question.ask"], "told": []}
        desk = await page.evaluate(f"({LEFT})(window.desk.left)")
        assert desk == {"again": [], "told": [["floor.give", "Cho phát biểu", []]]}
    answers = "Promise.all(window.line.left.again.map((each) => each.answer))"
    assert (await page.evaluate(answers))[1]["question"]
    assert await page.evaluate(KEPT) == []
    await page.wait_for_function(f"window.line.state.attendance['{cast.trainee.person_id}']")
    with venue.database.read_session() as session:
        assert session.scalars(select(Question.text)).all() == ["Lương tính sao?"]
        assert session.scalar(select(func.count()).select_from(CheckIn)) == 1
    assert not await page.evaluate(f"window.desk.state.sites['{cast.hue}'].floor_since")
    await page.mouse.click(5, 5)
    await come_back()
    assert asked_to_stay == ["beforeunload"], "nothing waits"
    assert await page.evaluate(f"({LEFT})(window.desk.left)") == {"again": [], "told": []}


async def test_a_tab_says_nothing_of_what_another_living_one_still_sends(
    impatient: None, database_url: str, venue: Venue, page: Page
) -> None:
    cast = venue.cast
    async with outage(database_url) as refused:
        await page.evaluate(TAP.replace("void desk", "// "), [0, "Ai gửi?"])
        await refused(2)
        other = await page.context.new_page()
        await other.goto(f"{venue.url}/blank")
        await sit_down(venue, other, cast.trainee, "line")
        assert await other.evaluate(f"({LEFT})(window.line.left)") == {"again": [], "told": []}
        assert len(await other.evaluate(KEPT)) == 2, "they are the first one's still"
        await page.close()  # as a browser does that is short of memory
        await other.wait_for_function("window.line.left.again.length === 2")
    await other.evaluate("Promise.all(window.line.left.again.map((each) => each.answer))")
    assert await other.evaluate(KEPT) == []
    with venue.database.read_session() as session:
        assert session.scalars(select(Question.text)).all() == ["Ai gửi?"]
        assert session.scalar(select(func.count()).select_from(CheckIn)) == 1


async def test_who_is_refused_for_good_is_not_asked_to_stay(
    impatient: None, database_url: str, venue: Venue, page: Page
) -> None:
    asked_to_stay = dialogs_of(page)
    await page.mouse.click(5, 5)
    async with outage(database_url) as refused:
        await page.evaluate(TAP.replace("void desk", "// "), [0, "Ai nghe?"])
        await refused(1)
        await page.context.clear_cookies()
        async with page.expect_navigation():  # to the server's own page, which says why
            for connection in venue.gateway.connections.of_seats([venue.cast.trainee.holder]):
                connection.socket.cut_off()
    assert asked_to_stay == []
    assert [name for name in await page.evaluate(KEPT) if "unsent" in name] == []


PUT_BACK = """async (age_ms) => {
  const [[name, value]] = window.entries;
  const kept = JSON.parse(value);
  localStorage.setItem(name, JSON.stringify({ ...kept, at_ms: kept.at_ms - age_ms }));
  localStorage.setItem("diemcau.unsent.broken.1.1", "{");
  localStorage.setItem("diemcau.unsent.other.1.1", JSON.stringify({ at_ms: kept.at_ms - 2 * 86400e3 }));
}"""
AGAIN = """async () => {
  const { again, told } = window.line.left;
  while (!again.length && !told.length) await new Promise((resolve) => setTimeout(resolve, 20));
  return [await Promise.all(again.map((each) => each.answer)), told.map((each) => each.payload.text)];
}"""


async def test_a_lost_answer_is_given_again_and_what_is_old_is_not_sent(
    venue: Venue, page: Page
) -> None:
    asked = await page.evaluate("""async () => {
          const sent = window.line.send("question.ask", { text: "Một lần" });
          window.entries = Object.entries(localStorage);
          return sent;
        }""")

    async def killed_then_back(age_ms: int) -> object:
        entries = await page.evaluate("window.entries")
        await page.evaluate(PUT_BACK, age_ms)  # as of a browser that was killed before the answer
        await page.goto(f"{venue.url}/blank")
        await page.evaluate("(entries) => (window.entries = entries)", entries)
        await sit_down(venue, page, venue.cast.trainee, "line")
        left = await page.evaluate(AGAIN)
        assert await page.evaluate(KEPT) == [], "what is broken or nobody's any more goes as well"
        return left

    assert await killed_then_back(0) == [[asked], []]
    assert await killed_then_back(16 * 60_000) == [[], ["Một lần"]]
    assert await killed_then_back(-16 * 60_000) == [[], ["Một lần"]], "a clock that was set back"
    with venue.database.read_session() as session:
        assert session.scalar(select(func.count()).select_from(Question)) == 1


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
    async with outage(database_url):
        await page.evaluate("void (window.asked = Promise.all([ask('a'), ask('b')]))")
        await box.fill("Câu hỏi, và thêm nữa")
        await notes.wait_for()
        assert await notes.count() == 1, "one for all that waits"
        assert "được giữ lại" in await notes.inner_text()
    await page.evaluate("window.asked")
    assert await notes.count() == 0 and await box.input_value() == "Câu hỏi, và thêm nữa"
    await page.evaluate("ask('a')")
    assert await box.input_value() == ""


async def test_what_two_late_answers_say_alike_is_said_once(venue: Venue, page: Page) -> None:
    await page.evaluate(STAGE)
    wrong = page.locator(".toast.wrong")
    await page.evaluate("""async () => {
      const { actBy } = await import("/static/js/act.js");
      const refuse = [];
      const late = () => new Promise((_, reject) => refuse.push(() => reject(new Error("Không được."))));
      const act = actBy({ online: true, send: late, outbox: { onLeft() {} } });
      const acts = ["a", "b"].map((id) => act(document.getElementById(id), "question.ask", {}));
      for (const each of refuse) each();
      await Promise.all(acts);
    }""")
    assert await wrong.all_inner_texts() == ["Không được."]
    await page.evaluate("""async () => {
      const { toast } = await import("/static/js/dom.js");
      toast("Không được.");
      toast("Được rồi.", { kind: "wrong" });
    }""")
    assert await page.locator(".toast").count() == 3, "another kind, other words"


KEEP_MANY = """async () => {
  const { UnsentCommands } = await import("/static/js/unsent.js");
  const unsent = new UnsentCommands("other", "page");
  const given = (number) => ({ key: `k${number}`, type: "question.ask", payload: {}, label: "" });
  const keys = [...Array(100).keys()].map((number) => unsent.keep(given(number)).key);
  const most = Object.keys(localStorage).length;
  for (const key of keys) unsent.forget(key);
  return [most, Object.keys(localStorage).length];
}"""


async def test_no_more_is_kept_than_a_person_can_have_done(venue: Venue, page: Page) -> None:
    assert await page.evaluate(KEEP_MANY) == [64, 0]
