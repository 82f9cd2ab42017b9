"""What people do and see in a browser, and what its receivers measure."""

from __future__ import annotations

import asyncio
import colorsys
import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from playwright.async_api import Locator, Page, expect

FLAGS = [
    "--no-sandbox",
    # A slow camera: three layers at thirty frames would keep two cores busy with encoding.
    "--use-fake-device-for-media-stream=fps=10",
    "--use-fake-ui-for-media-stream",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
]
SMALL = (960, 540)
"""A window for a page in which pictures move: software draws all of it for each of them."""
WAIT_S = 60
"""Longer than anything takes on a machine that does something else too."""
CSRF = re.compile(r'name="csrf" value="([^"]+)"')
NUMBER = re.compile(r"^\s*[\d.]+\s*$")
NEAR_HUE = 15
"""Degrees; the colours of neighbouring sites are 33 apart."""

# Measures at the receivers of WebRTC, and looks at what the video elements show.
PROBE = """
window.peers = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...given) { super(...given); window.peers.push(this); }
};
window.inbound = async () => {
  const found = {};
  for (const peer of window.peers.filter((each) => each.connectionState === "connected")) {
    for (const report of (await peer.getStats()).values()) {
      if (report.type === "inbound-rtp") {
        found[report.mid] = {packets: report.packetsReceived, frames: report.framesDecoded ?? 0,
          energy: report.totalAudioEnergy ?? 0};
      }
    }
  }
  return found;
};
window.look = (video) => {
  const canvas = new OffscreenCanvas(64, 36).getContext("2d");
  canvas.drawImage(video, 0, 0, 64, 36);
  const pixels = canvas.getImageData(0, 0, 64, 36).data, sum = [0, 0, 0];
  for (let at = 0; at < pixels.length; at += 1) if (at % 4 < 3) sum[at % 4] += pixels[at];
  return sum.map((each) => each / (pixels.length / 4));
};
window.nextFrames = (video, count) => new Promise((resolve) => {
  const seen = () => count-- > 0 ? video.requestVideoFrameCallback(seen) : resolve(true);
  seen();
});
"""

# What a video element is in that shows nothing new.
STATE = """video => ({
  paused: video.paused, ready: video.readyState, at: video.currentTime, width: video.videoWidth,
  drawn: video.checkVisibility(), page: document.visibilityState,
  peers: window.peers.map((each) => [each.connectionState, each.iceConnectionState,
    each.signalingState]),
  tracks: video.srcObject?.getTracks().map((each) => [each.readyState, each.muted]),
})"""


class Visitor:
    """One person's page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def enter(self) -> Visitor:
        """Press the button of a link's page; the seat's own page follows."""
        await self.page.locator("main form button[type=submit]").click()
        await self.page.wait_for_url("**/s/*/")
        return self

    async def take_seat(self, link: str, **form: str) -> None:
        """As ``enter`` on a link's page, which is not drawn: that costs half as much as the seat's own.

        It is pressed by ``test_accessibility.py``, for each role.
        """
        http, (scheme, host, *_) = self.page.context.request, urlsplit(link)
        origin = f"{scheme}://{host}"
        csrf = CSRF.search(await (await http.get(link)).text())
        assert csrf is not None, link
        told = await http.post(
            link, form={**form, "csrf": csrf[1]}, headers={"Origin": origin}, max_redirects=0
        )
        await self.page.goto(origin + told.headers["location"])
        assert "/s/" in self.page.url

    def at(self, selector: str, text: str | None = None) -> Locator:
        """What is at a selector, and of these what has a text."""
        return self.page.locator(selector, has_text=text)

    async def press(self, selector: str, text: str | None = None) -> None:
        """Click what is at a selector, when it can be clicked.

        The mouse comes from elsewhere: a click at once where it rested already, on what has just slid
        under it, is not heard (static/js/steady.js).
        """
        await self.page.mouse.move(1, 1)
        await self.at(selector, text).click(timeout=WAIT_S * 1000)

    async def sees(self, selector: str, text: str) -> None:
        """Wait until a text stands there."""
        await expect(self.at(selector)).to_contain_text(text)

    async def number_at(self, selector: str) -> int:
        """The number that stands there once there is one, written in the Vietnamese way."""
        await expect(self.at(selector)).to_have_text(NUMBER)
        text = await self.at(selector).inner_text()
        return int(text.replace(".", ""))

    async def frames(self, selector: str, count: int) -> None:
        """Wait for so many new frames in the video there."""
        video = self.at(f"{selector} video")
        try:
            await asyncio.wait_for(video.evaluate(f"video => nextFrames(video, {count})"), WAIT_S)
        except TimeoutError:
            told = await asyncio.gather(video.evaluate(STATE), self.page.evaluate("inbound()"))
            raise AssertionError(f"no new frames at {selector}: {told}") from None

    async def hue(self, selector: str) -> float:
        """The hue in degrees of the mean colour of the video there."""
        red, green, blue = await self.at(f"{selector} video").evaluate("look")
        return 360 * colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)[0]

    async def shows(self, selector: str, hue: float) -> None:
        """Wait until the picture there moves and has this hue."""
        await self.frames(selector, 1)
        await self.shows_still(selector, hue)
        await self.frames(selector, 5)

    async def shows_still(self, selector: str, hue: float) -> None:
        """Wait until the picture there has this hue."""

        async def has_hue() -> bool:
            return turn(await self.hue(selector), hue) <= NEAR_HUE

        await eventually(has_hue, lambda: self.hue(selector))

    async def sound(self) -> dict[str, float]:
        """Packets and energy of all that is received as sound, together."""
        inbound: dict[str, dict[str, float]] = await self.page.evaluate("inbound()")
        slots = [slot for mid, slot in inbound.items() if mid.startswith("audio")]
        return {name: sum(slot[name] for slot in slots) for name in ("packets", "energy")}

    async def hears(self, energy: float = 1e-4) -> None:
        """Wait until sound of so much energy has come from now on."""
        before = await self.sound()

        async def louder() -> bool:
            return bool((await self.sound())["energy"] >= before["energy"] + energy)

        await eventually(louder, self.sound)

    async def falls_silent(self) -> None:
        """Wait until no more sound comes, and what waited to be played has been."""

        async def silent() -> bool:
            before = await self.sound()
            await asyncio.sleep(0.5)
            after = await self.sound()
            faded = abs(after["energy"] - before["energy"]) < 1e-6
            return bool(after["packets"] == before["packets"] and faded)

        await eventually(silent, self.sound)


def turn(a: float, b: float) -> float:
    """The angle in degrees between two hues."""
    return abs((a - b + 180) % 360 - 180)


async def eventually(
    holds: Callable[[], Awaitable[bool]], told: Callable[[], Awaitable[object]]
) -> None:
    """Wait until something holds; say what was there instead where it never does."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_S
    while not await holds():
        if loop.time() > deadline:
            raise AssertionError(f"still {await told()}")
        await asyncio.sleep(0.1)
