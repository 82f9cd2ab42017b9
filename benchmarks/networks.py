"""Bad networks: what a room sees and hears of another one, over a line that a relay makes bad.

``diemcau serve`` with the reference conference; an operator's page in Chromium sends its fake camera
(three layers) and beeps, another room's display shows them. One leg at a time goes over
``load/relay.py``: the display's (``receiver``) or the operator's (``publisher``). Each line begins
anew with every round, and is the same for the same seed. ``clear`` is a line without faults: what
this machine, at this time, does by itself. Nothing is asserted about time; it exits with 1 where a
picture or sound does not come back within a minute of the line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import socket
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from load import servers
from load.chromium import CHROMIUM
from load.lines import CLEAR, Line
from load.watch import SCRIPT, Watch, Watched
from playwright.async_api import Browser, Page, async_playwright

from server import config as configuration
from server.db.schema import migrate
from server.simulation import demo

FLAGS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream=fps=15",
    "--use-fake-ui-for-media-stream",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
]
BACK_WITHIN_S = 60.0
SETTLE_S = 12.0
"""so long the largest picture is waited for before a line becomes bad"""
NOTHING_S = 20.0
LARGEST_PX = 720
FULL_HD = (1920, 1080)
"""a display's window: only there the largest picture is sent. Software draws all of it each time."""
SMALL = (960, 600)
"""the operator's: what it draws costs, and is not looked at"""
UNITS = {
    "longest_interval": "ms without a new picture",
    "freezes": "freezes as the browser counts them",
    "frozen": "s of them",
    "height": "px high, the picture shown most",
    "frames": "pictures shown a second",
    "concealment": "% of sound that the browser made up",
    "adapted_down": "s until a smaller picture is shown",
    "adapted_up": "s until the largest picture is shown again",
    "back": "s from the line's return to ten new pictures and sound: the first of them",
}
Figures = dict[str, float | None]


@dataclass
class Legs:
    """Both pages and their lines; ``bad`` is the one that is made bad, ``way`` its media's."""

    publisher: Page
    display: Page
    lines: dict[str, Line]
    seconds: float
    leg: str = "receiver"
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.display)

    @property
    def bad(self) -> Line:
        """The leg's line."""
        return self.lines[self.leg]

    @property
    def way(self) -> str:
        """The direction of media."""
        return "down" if self.leg == "receiver" else "up"

    @property
    def page(self) -> Page:
        """The page at the bad line."""
        return self.display if self.leg == "receiver" else self.publisher


def _figures(found: Watched) -> Figures:
    share = found.concealment
    return {
        "longest_interval": found.longest_ms,
        "freezes": found.counts.get("freezes"),
        "frozen": found.counts.get("frozen"),
        "height": found.height_px,
        "frames": found.frames_per_s,
        "concealment": 100 * share if share is not None else None,
    }


async def steady(legs: Legs, **way: float) -> Figures:
    """The same line all the time, two seconds (or as long again) after it has become so."""
    legs.bad.change(way=legs.way, **way)
    await asyncio.sleep(min(2.0, legs.seconds))
    await legs.watch.begin()
    await asyncio.sleep(legs.seconds)
    return _figures(await legs.watch.read())


async def narrowing(legs: Legs) -> Figures:
    """1.5, 0.5 and 2 Mbit/s, a third of the time each."""
    marks = []
    await legs.watch.begin()
    for rate_bps in (1.5e6, 0.5e6, 2e6):
        marks.append(await legs.watch.now_ms())
        legs.bad.change(way=legs.way, rate_bps=rate_bps)
        await asyncio.sleep(legs.seconds / 3)
    found = await legs.watch.read()
    narrow = found.between(marks[1], marks[2])
    wide = found.between(marks[2], found.end_ms)
    figures = _figures(found)
    figures["adapted_down"] = _first(narrow, lambda px: px < LARGEST_PX)
    figures["adapted_up"] = _first(wide, lambda px: px >= LARGEST_PX)
    figures["narrow_height"] = narrow.height_px
    figures["narrow_longest_interval"] = narrow.longest_ms
    figures["narrow_frames"] = narrow.frames_per_s
    return figures


def _first(found: Watched, wanted: Callable[[int], bool]) -> float | None:
    times = (at - found.begin_ms for at, height in found.frames if wanted(height))
    at_ms = next(times, None)
    return None if at_ms is None else at_ms / 1000


async def nothing(legs: Legs) -> Figures:
    """No line at all for 20 s, or as long as each line is measured where that is shorter."""
    legs.bad.change(loss=1.0)
    await asyncio.sleep(min(NOTHING_S, legs.seconds))
    legs.bad.change(loss=0.0)
    return {"back": await legs.watch.moves(BACK_WITHIN_S)}


async def blocked(legs: Legs) -> Figures:
    """UDP never comes through: the page begins anew, and goes by TCP."""
    await legs.page.evaluate("localStorage.setItem('tcp', '1')")
    legs.bad.change(way="up", loss=1.0)
    await legs.page.reload(wait_until="domcontentloaded")
    back_s = await legs.watch.moves(BACK_WITHIN_S)
    figures = {"back": back_s, **await steady(legs)}
    await legs.page.evaluate("localStorage.removeItem('tcp')")
    legs.bad.change(way="up", loss=0.0)
    await legs.page.reload(wait_until="domcontentloaded")
    return figures


SCENARIOS: dict[str, tuple[float, Callable[[Legs], Awaitable[Figures]]]] = {
    "clear": (0, steady),
    "loss_2": (40, lambda legs: steady(legs, loss=0.02)),
    "bursts_10": (20, lambda legs: steady(legs, loss=0.1, burst=4.0)),
    "narrowing": (20, narrowing),
    "reordering": (20, lambda legs: steady(legs, reorder=0.1)),
    "nothing": (20, nothing),
    "tcp": (0, blocked),
}
"""each with the line's delay, one way, in ms, which is there from the beginning"""


async def play(legs: Legs, leg: str, scenario: str) -> Figures:
    """One round: from a clear line to a clear line. ``returned``: seconds until all is well again."""
    legs.leg = leg
    delay_ms, lines = SCENARIOS[scenario]
    legs.bad.change(delay_ms=delay_ms)
    await legs.page.reload(wait_until="domcontentloaded")
    await legs.watch.moves(min(SETTLE_S, legs.seconds), LARGEST_PX)
    figures = await lines(legs)
    legs.bad.change(**CLEAR)
    figures["returned"] = await legs.watch.moves(BACK_WITHIN_S)
    print(json.dumps({"leg": leg, "line": scenario, **figures}), file=sys.stderr, flush=True)
    return figures


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def _open(browser: Browser, line: Line, token: str, width: int, height: int) -> Page:
    context = await browser.new_context(
        viewport={"width": width, "height": height}, permissions=["camera", "microphone"]
    )
    page = await context.new_page()
    await page.add_init_script(line.script)
    await page.add_init_script(SCRIPT)
    await page.goto(f"http://127.0.0.1:{line.port}/join/{token}")
    await page.locator("main form button[type=submit]").click()
    await page.wait_for_url("**/s/*/")
    return page


@asynccontextmanager
async def legs_of(options: argparse.Namespace, folder: Path) -> AsyncIterator[Legs]:
    """A server, and two browsers: each encodes or decodes in processes of its own."""
    config = configuration.load({}, data_dir=folder).with_(media_addresses=("127.0.0.1",))
    migrate(config.database_url)
    plan = await demo.load(config, 1)
    media = _free_port()
    command = [sys.executable, "-m", "server", "serve", "--port", "0", "--media-port", str(media)]
    environ = {
        "DIEMCAU_DATA_DIR": str(folder),
        "DIEMCAU_DATABASE_URL": config.database_url,
        "DIEMCAU_LOG_LEVEL": "warning",
        "DIEMCAU_MEDIA_ADDRESSES": "127.0.0.1",
    }
    async with AsyncExitStack() as stack:
        process = servers.start(command, None, folder, **environ)
        stack.callback(servers.stop, process)
        assert process.stdout is not None
        base = await asyncio.to_thread(process.stdout.readline)
        await asyncio.to_thread(servers.await_health, base.strip())
        lines = {"receiver": Line(), "publisher": Line()}
        for line in lines.values():
            await line.start(media, urlsplit(base.strip()).port or 0, options.seed)
            stack.push_async_callback(line.stop)
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        stack.push_async_callback(browser.close)
        operator = next(iter(plan.operators.values()))
        publisher = await _open(browser, lines["publisher"], operator, *SMALL)
        await publisher.locator("#join").click()
        display = await _open(browser, lines["receiver"], plan.links["display"], *options.window)
        yield Legs(publisher, display, lines, options.seconds)


async def measure(options: argparse.Namespace) -> bool:
    """All lines of both legs; prints what was found. False where something did not come back."""
    well = True
    with tempfile.TemporaryDirectory(prefix="diemcau-bench-") as folder:
        async with legs_of(options, Path(folder)) as legs:
            await legs.watch.moves(BACK_WITHIN_S)
            for leg in ("receiver", "publisher"):
                for scenario in SCENARIOS:
                    if not any(each in f"{leg}.{scenario}" for each in options.only):
                        continue
                    rounds = [await play(legs, leg, scenario) for _ in range(options.rounds)]
                    well = well and all(each["returned"] is not None for each in rounds)
                    report(f"networks.{leg}.{scenario}", rounds, options)
    return well


def report(name: str, rounds: list[Figures], options: argparse.Namespace) -> None:
    """The lines: the median of the rounds."""
    about = {
        "seconds": options.seconds,
        "seed": options.seed,
        "ran_on": f"{platform.platform()}, {os.cpu_count()} cores",
        "load_average": os.getloadavg()[0],
    }
    for figure in rounds[0]:
        values = [value for each in rounds if (value := each[figure]) is not None]
        value = round(statistics.median(values), 3) if len(values) == len(rounds) else None
        unit = UNITS.get(figure.removeprefix("narrow_"), "s until all was well on a clear line")
        row = {"value": value, "peer_value": None, "ratio": None, "rounds": values}
        print(json.dumps({"name": f"{name}.{figure}", "unit": unit, **row, **about}), flush=True)


def main() -> int:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="on each line")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--window", nargs=2, type=int, default=FULL_HD, help="px, of the display: wide, high"
    )
    parser.add_argument(
        "--only", nargs="+", default=[""], help="parts of names, e.g. receiver or publisher.loss_2"
    )
    return 0 if asyncio.run(measure(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
