"""axe-core finds nothing on any page; a phone's targets are wide enough; the desk needs no mouse; pages rest.

WCAG 2.2 AA: https://www.w3.org/TR/WCAG22/. axe judges what is drawn, so every page is shown in both
colour schemes; what does not depend on colour is judged once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Page, expect

from tests.e2e.conftest import Demo
from tests.e2e.pages import Visitor, eventually

pytestmark = [pytest.mark.browser, pytest.mark.alone]

AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# Of a list or table whose rows are alike, a few: hundreds of people would take axe half a minute.
ROWS = ":is(li, tbody tr):nth-of-type(n + 9)"
# No preload: axe would copy the sheets into <style> elements, which our own policy forbids.
RUN = """
async ([rules, rows]) => {
  const options = {...rules, preload: false, resultTypes: ["violations"]};
  const {violations} = await axe.run({exclude: [rows]}, options);
  return violations.map(rule => `${rule.id}: ${rule.nodes.map(node => node.target).join(", ")}`);
}
"""
SETTLE = """
() => new Promise(done => requestAnimationFrame(() => {
  for (const each of document.getAnimations()) if (each instanceof CSSTransition) each.finish();
  requestAnimationFrame(done);
}))
"""
BETWEEN_LOOKS_MS = 500
PHONE = (360, 800)
TARGET_PX = 44
# Links within a sentence are as high as its lines (WCAG 2.5.8 excepts them).
SMALL_TARGETS = """
least => [...document.querySelectorAll("a, button, input, select, textarea, summary")]
  .map(each => each.closest("label") ?? each)
  .filter(each => each.checkVisibility({visibilityProperty: true}) && !each.closest("p, dd")
    && !each.matches(".skip-link, .visually-hidden"))
  .map(each => [each.outerHTML.slice(0, 120), each.getBoundingClientRect()])
  .filter(([, box]) => box.width && (box.width < least - .5 || box.height < least - .5))
  .map(([html, box]) => `${Math.round(box.width)}x${Math.round(box.height)} ${html}`)
"""
WIDTHS = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
UNSEEN_FOCUS = """
() => {
  const here = document.activeElement, look = getComputedStyle(here);
  const over = getComputedStyle(here, "::after");  // a picture draws its ring over itself
  const unseen = [look.outlineStyle, look.boxShadow, over.borderTopStyle].every(each => each === "none");
  return here !== document.body && unseen ? here.outerHTML.slice(0, 120) : null;
}
"""
ENDLESS = """
() => document.getAnimations().filter(each => each.effect.getComputedTiming().iterations === Infinity)
  .map(each => `${each.animationName} of ${each.effect.target.outerHTML.slice(0, 120)}`)
"""
SCHEMES: tuple[tuple[Literal["light", "dark"], dict[str, Any]], ...] = (
    ("light", {"runOnly": WCAG}),
    ("dark", {"runOnly": {"type": "rule", "values": ["color-contrast"]}}),
)
ORGANISER_PAGES = (
    "",
    "/edit",
    "/agenda",
    "/sites",
    "/roster",
    "/roster/import",
    "/people",
    "/quizzes",
    "/quizzes/new",
    "/links",
    "/reports",
    "/reports/questions",
    "/reports/quizzes",
    "/qr-sheet",
)
OWN_COLOURS = ("", "/roster", "/roster/import", "/quizzes/new", "/reports", "/qr-sheet")
"""Between them these show every component that organisers see; dark is judged on them alone."""


async def rests(visitor: Visitor) -> None:
    """Wait until a page in which nothing happens moves nothing: on a phone that is the battery of a day."""

    async def still() -> bool:
        return not await visitor.page.evaluate(ENDLESS)

    await eventually(still, lambda: visitor.page.evaluate(ENDLESS))


async def judge(page: Page, state: str = "", *, dark: bool = True) -> list[str]:
    """What axe finds wrong now, in light and (if wanted) in dark; with the page's path and state."""
    found: list[str] = []
    await page.evaluate(AXE.read_text(encoding="utf-8") + ";0")
    for scheme, rules in SCHEMES[: 1 + dark]:
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        wrong = await _wrong(page, rules)
        found += [f"{page.url} {state} {scheme} {each}" for each in wrong]
    return found


async def _wrong(page: Page, rules: dict[str, Any]) -> list[str]:
    """What axe finds each time that it looks: what it sees while a busy browser still draws is not wrong."""
    for last in (False, False, True):
        # A colour that is on its way to another would be judged by neither scheme.
        await page.evaluate(SETTLE)
        wrong: list[str] = await page.evaluate(RUN, [rules, ROWS])
        if last or not wrong:
            break
        await page.wait_for_timeout(BETWEEN_LOOKS_MS)
    return wrong


async def fits_a_phone(page: Page) -> list[str]:
    """What is too small for a finger, and whether the page is wider than the phone."""
    wide, there = await page.evaluate(WIDTHS)
    found = [f"{page.url} {each}" for each in await page.evaluate(SMALL_TARGETS, TARGET_PX)]
    return found + ([f"{page.url} is {wide} px wide"] if wide > there else [])


async def test_pages_for_everybody(demo: Demo, visit: Callable[..., Any]) -> None:
    guest: Visitor = await visit(demo.base_url, *PHONE)
    found = []
    for path in ("/", "/sign-in", "/join", "/nowhere"):
        await guest.page.goto(demo.base_url + path)
        found += [*await judge(guest.page), *await fits_a_phone(guest.page)]
    for url in (demo.urls["check_in"], demo.urls["operator"]):
        await guest.page.goto(url)
        found += [*await judge(guest.page), *await fits_a_phone(guest.page)]
    assert not found, found


async def test_pages_of_the_organiser(demo: Demo, visit: Callable[..., Any]) -> None:
    organiser: Visitor = await visit(demo.urls["organiser"], *PHONE)
    await organiser.press("main form button[type=submit]")
    await organiser.page.wait_for_url("**/conferences/**")
    home, found = organiser.page.url, []
    for path in ORGANISER_PAGES:
        await organiser.page.goto(home + path)
        found += await judge(organiser.page, dark=path in OWN_COLOURS)
        found += await fits_a_phone(organiser.page)
    await organiser.page.goto(demo.base_url + "/admin")
    found += [*await judge(organiser.page), *await fits_a_phone(organiser.page)]
    assert not found, found


async def test_rooms_and_desks(demo: Demo, visit: Callable[..., Any]) -> None:
    found = []
    for role in ("display", "observer", "speaker"):
        seat = await (await visit(demo.urls[role])).enter()
        await expect(seat.at("#stage")).to_be_visible()
        await rests(seat)
        found += await judge(seat.page, role)
        await seat.page.context.close()
    operator = await (await visit(demo.urls["operator"])).enter()
    found += await judge(operator.page, "before joining")
    await operator.press("#join-silent")
    await expect(operator.at("#ask-floor")).to_be_visible()
    found += await judge(operator.page, "joined")
    viewer: Visitor = await visit(demo.urls["viewer"])
    await viewer.press("main form button[type=submit]")
    await expect(viewer.at("#seek")).to_be_visible()
    found += await judge(viewer.page)
    assert not found, found


async def test_a_phone_in_each_place(demo: Demo, visit: Callable[..., Any]) -> None:
    phone: Visitor = await visit(demo.urls["check_in"], *PHONE)
    await phone.at("[name=code]").fill(demo.fresh_code())
    await phone.enter()
    await expect(phone.at("#now")).to_be_visible()
    await rests(phone)
    found = []
    for place in ("now", "ask", "quiz", "me"):
        await phone.press(f".places a[href='#{place}']")
        await expect(phone.at(f"#{place}")).to_be_visible()
        found += [*await judge(phone.page, place), *await fits_a_phone(phone.page)]
    assert not found, found


async def test_the_desk_needs_no_mouse(demo: Demo, visit: Callable[..., Any]) -> None:
    desk = await (await visit(demo.urls["moderator"])).enter()
    await expect(desk.at("#wall li").first).to_be_visible()
    await rests(desk)
    found = await judge(desk.page)
    await desk.page.keyboard.press("?")
    await expect(desk.at("#keys-dialog")).to_be_visible()
    found += await judge(desk.page, "keys")
    await desk.page.keyboard.press("Escape")
    await expect(desk.at("#keys-dialog")).to_be_hidden()
    await desk.page.evaluate(SETTLE)
    await desk.page.keyboard.press("q")
    await expect(desk.at("#quiz-dialog")).to_be_visible()
    found += await judge(desk.page, "quizzes")
    await desk.page.keyboard.press("Escape")
    assert not found, found

    reached = set()
    for _ in range(60):
        await desk.page.keyboard.press("Tab")
        reached |= set(
            await desk.page.evaluate(
                "() => ['.desk-head', '#wall', '#requests', '.board', '.desk-side']"
                ".filter(part => document.activeElement.closest(part))"
            )
        )
        assert await desk.page.evaluate(UNSEEN_FOCUS) is None, "whoever tabs sees where"
    assert {".desk-head", "#wall"} <= reached, reached
