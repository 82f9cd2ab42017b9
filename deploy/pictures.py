"""Take the pictures of README and the guides from a running demo, by doing what they describe.

    .venv/bin/diemcau demo --port 0 > demo.out
    .venv/bin/python deploy/pictures.py demo.out

The demo's conference is acted out to its end (the vacant site joins and speaks, a trainee checks
in, asks and answers a quiz), so each run wants a fresh demo. A step that fails stops the script:
the guides then describe what no longer is.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import BrowserContext, Page, sync_playwright

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
LAPTOP, ROOM, PHONE = (1366, 768), (1920, 1080), (360, 740)
WIDEST = 1366
WAIT_S = 30.0
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-background-networking",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
]
QUESTION = "Xã chưa có máy quét thì số hóa hồ sơ tại bộ phận Một cửa thế nào?"


def main() -> None:
    """Act out the conference of the demo whose standard output is in a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path, help="what `diemcau demo` wrote on standard output")
    parser.add_argument("--to", type=Path, default=PICTURES, help="folder of the pictures")
    given = parser.parse_args()
    with given.demo.open(encoding="utf-8") as lines:
        told = json.loads(lines.readline())
    given.to.mkdir(parents=True, exist_ok=True)
    wait_until_live(told["base_url"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell"), args=FLAGS
        )
        try:
            Play(browser, told, given.to).act()
        finally:
            browser.close()


def wait_until_live(base_url: str) -> None:
    """Until ``/healthz`` says 200. Raises: TimeoutError."""
    deadline = time.monotonic() + 2 * WAIT_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{base_url}/healthz") as answer:
                if answer.status == 200:
                    return
        except urllib.error.URLError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"{base_url} is not live")


class Play:
    """One conference, from the preparation to the replay."""

    def __init__(self, browser: Any, told: dict[str, Any], folder: Path) -> None:
        self._browser, self._told, self._folder = browser, told, folder

    def act(self) -> None:
        """Every scene in its order."""
        self.prepare()
        display, desk = self._open("display", ROOM), self._open("moderator", LAPTOP)
        phone = self._open("trainee", PHONE)
        operator = self._join()
        self._floor(operator, desk, display)
        self._check_in_and_ask(phone, desk, operator)
        self._on_stage(phone, desk, display)
        self._quiz(phone, desk, display)
        self._end(desk)

    def prepare(self) -> None:
        """The organiser's pages."""
        page = self._open("organiser", LAPTOP)
        home = page.url
        self._keep(page, "to-chuc")
        for name in ("sites", "roster", "roster/import", "links", "reports"):
            page.goto(f"{home}/{name}")
            self._keep(page, "to-chuc-" + name.replace("/", "-"))
        page.context.close()

    def _join(self) -> Page:
        operator = self._open("operator", LAPTOP)
        operator.locator("#preview.has-picture").wait_for()
        time.sleep(2)
        self._keep(operator, "diem-cau-kiem-tra")
        operator.click("#join")
        operator.locator("#stage.has-picture").wait_for()
        return operator

    def _floor(self, operator: Page, desk: Page, display: Page) -> None:
        operator.fill("#reason", "Trao đổi kinh nghiệm của huyện")
        operator.click("#ask-floor")
        desk.locator("#requests [data-request=give]").wait_for()
        time.sleep(3)
        self._keep(desk, "dieu-phoi")
        self._keep(operator, "diem-cau")
        desk.keyboard.press("1")
        display.locator("#turn").wait_for()
        operator.locator("#withdraw").wait_for(state="hidden")
        time.sleep(4)
        self._keep(operator, "diem-cau-phat-bieu")
        self._keep(display, "man-hinh-phat-bieu")

    def _check_in_and_ask(self, phone: Page, desk: Page, operator: Page) -> None:
        self._keep(phone, "hoc-vien-diem-danh")
        phone.click("#check-in-button")
        phone.locator("#check-in .fact").wait_for()
        phone.click(".places a[href='#ask']")
        phone.fill("#ask-text", QUESTION)
        self._keep(phone, "hoc-vien-hoi")
        phone.click("#ask-button")
        phone.locator("#my-questions li").wait_for()
        operator.locator("#roster li.checked").first.wait_for()

    def _on_stage(self, phone: Page, desk: Page, display: Page) -> None:
        asked = f"#lane-asked li:has-text('{QUESTION}')"
        approved = f"#lane-approved li:has-text('{QUESTION}')"
        desk.click(f"{asked} [data-question=approve]")
        desk.locator(approved).wait_for()
        desk.locator(f"{approved} select").select_option(label="TS. Nguyễn Thị Minh Hạnh")
        desk.click(f"{approved} [data-question=put_on_stage]")
        display.locator("#question").wait_for()
        # The main venue takes the floor again to answer.
        desk.locator("#wall li").first.locator("button").click()
        desk.click("#tile-menu [data-tile=floor]")
        phone.click(".places a[href='#now']")
        phone.evaluate("scrollTo(0, 0)")
        time.sleep(4)
        self._keep(display, "man-hinh")
        self._keep(desk, "dieu-phoi-cau-hoi")
        self._keep(phone, "hoc-vien")
        self._readme(display, desk, phone)
        speaker = self._open("speaker", LAPTOP)
        speaker.locator("#mine li").first.wait_for()
        time.sleep(3)
        self._keep(speaker, "bao-cao-vien")
        speaker.context.close()
        desk.click(f"{approved} [data-question=finish]")
        desk.locator(f"#lane-answered li:has-text('{QUESTION}')").wait_for()

    def _quiz(self, phone: Page, desk: Page, display: Page) -> None:
        desk.keyboard.press("Escape")
        desk.click("#quiz-button")
        desk.locator("#activities [data-launch]").first.click()
        phone.click(".places a[href='#quiz']")
        phone.locator("#options button").first.click()
        phone.locator("#options button.mine").wait_for()
        self._keep(phone, "hoc-vien-cau-do")
        self._keep(display, "man-hinh-cau-do")
        if desk.locator("#quiz-dialog[open]").count():
            desk.keyboard.press("Escape")
        desk.click("#run-card [data-run=close]")
        desk.click("#run-card [data-run=reveal]")
        display.locator("#quiz-bars li.correct").wait_for()
        time.sleep(1)
        self._keep(display, "man-hinh-dap-an")
        desk.click("#run-card [data-run=finish]")
        desk.locator("#run-card").wait_for(state="hidden")

    def _end(self, desk: Page) -> None:
        desk.click("#life-actions [data-move=ended]")
        desk.locator("dialog[open] .button.danger").click()
        desk.locator("#replay-link").wait_for()
        viewer = self._open("viewer", LAPTOP)
        until(viewer, "document.querySelector('#seek').max > 10")
        viewer.locator("#seek").evaluate(
            "seek => { seek.value = seek.max / 2; seek.dispatchEvent(new Event('input'));"
            " seek.dispatchEvent(new Event('change')); }"
        )
        viewer.click("#play")
        until(viewer, "document.querySelector('#stage video').currentTime > 5")
        time.sleep(3)
        self._keep(viewer, "xem-lai")

    def _open(self, role: str, size: tuple[int, int]) -> Page:
        """Somebody's page in a browser of one's own, entered by the link."""
        width, height = size
        context: BrowserContext = self._browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=2 if size == PHONE else 1,
            locale="vi-VN",
            permissions=["camera", "microphone"],
        )
        context.set_default_timeout(WAIT_S * 1000)
        page = context.new_page()
        page.goto(self._told["urls"][role])
        page.locator("main form button[type=submit]").first.click()
        page.wait_for_url(lambda url: "/join/" not in url, wait_until="commit")
        if role in ("display", "moderator"):
            page.locator("#stage.has-picture").wait_for()
        return page

    def _keep(self, page: Page, name: str) -> None:
        save(shot(page), self._folder / f"{name}.png")

    def _readme(self, display: Page, desk: Page, phone: Page) -> None:
        """The room's screen above the desk, a phone beside them."""
        parts = [
            (shot(display), (812, 457), (0, 0)),
            (shot(desk), (812, 457), (0, 469)),
            (shot(phone), (450, 926), (824, 0)),
        ]
        sheet = Image.new("RGB", (1274, 926), "#ffffff")
        for picture, size, place in parts:
            sheet.paste(picture.resize(size, Image.Resampling.LANCZOS), place)
        save(sheet, self._folder / "tong-quan.png")


def until(page: Page, expression: str) -> None:
    """Wait for it to hold (Playwright's own way needs ``eval``, which our CSP forbids)."""
    deadline = time.monotonic() + WAIT_S
    while not page.evaluate(expression):
        if time.monotonic() > deadline:
            raise TimeoutError(expression)
        time.sleep(0.2)


def shot(page: Page) -> Image.Image:
    """What the page shows now."""
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def save(picture: Image.Image, path: Path) -> None:
    """With a palette and no wider than a page shows it."""
    if picture.width > WIDEST:
        height = round(picture.height * WIDEST / picture.width)
        picture = picture.resize((WIDEST, height), Image.Resampling.LANCZOS)
    picture.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name} {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
