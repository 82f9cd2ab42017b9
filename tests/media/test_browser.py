"""Real Chromium pages publish their fake camera and receive by slots, without renegotiation."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright

from server.media import messages
from tests.media.harness import SLUG, WorkerProcess, eventually

pytestmark = pytest.mark.browser

ARGUMENTS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
]
GRANTS = {
    "seat-a": messages.Grant(publish=("site:a",), receive=True, own="site:a"),
    "seat-b": messages.Grant(publish=("site:b",), receive=True, own="site:b"),
}
SCRIPT = """<!doctype html><meta charset=utf-8><title>peer</title><script type=module>
window.publish = async (codec) => {
  const stream = await navigator.mediaDevices.getUserMedia(
    {video: {width: 320, height: 180, frameRate: 15}, audio: true});
  const peer = window.publisher = new RTCPeerConnection();
  for (const track of stream.getTracks()) {
    const transceiver = peer.addTransceiver(track, {direction: "sendonly", streams: [stream]});
    if (track.kind === "video") {
      const codecs = RTCRtpSender.getCapabilities("video").codecs;
      transceiver.setCodecPreferences(codecs.filter((c) => c.mimeType === "video/" + codec));
    }
  }
  await peer.setLocalDescription();
  const answer = await window.signalPublish(peer.localDescription.sdp);
  await peer.setRemoteDescription({type: "answer", sdp: answer});
};
window.restartPublisher = async () => {
  const peer = window.publisher;
  peer.restartIce();
  await peer.setLocalDescription();
  const answer = await window.signalRestart(peer.localDescription.sdp);
  await peer.setRemoteDescription({type: "answer", sdp: answer});
};
window.take = async (offer) => {
  const peer = window.receiver;
  await peer.setRemoteDescription({type: "offer", sdp: offer});
  await peer.setLocalDescription();
  await window.signalAccept(peer.localDescription.sdp);
};
window.receive = async () => {
  const peer = window.receiver = new RTCPeerConnection();
  peer.ontrack = ({track, transceiver}) => {
    const element = document.createElement(track.kind);
    element.id = transceiver.mid;
    element.autoplay = true;
    element.srcObject = new MediaStream([track]);
    document.body.append(element);
  };
  await window.take(await window.signalReceive());
};
window.inbound = async () => {
  const found = {};
  for (const report of (await window.receiver.getStats()).values()) {
    if (report.type === "inbound-rtp") {
      found[report.mid] = {frames: report.framesDecoded ?? 0,
        energy: report.totalAudioEnergy ?? 0, samples: report.totalSamplesReceived ?? 0,
        freezes: report.freezeCount ?? 0};
    }
  }
  return found;
};
window.path = async (peer) => {
  const reports = await peer.getStats();
  for (const report of reports.values()) {
    if (report.type === "transport") {
      return reports.get(reports.get(report.selectedCandidatePairId).remoteCandidateId).protocol;
    }
  }
};
window.srtp = async (peer) => {
  for (const report of (await peer.getStats()).values()) {
    if (report.type === "transport") return report.srtpCipher;
  }
};
</script>"""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for two pages."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        yield chromium
        await chromium.close()


@pytest.fixture
async def origin() -> AsyncIterator[str]:
    """A static server with the one page."""

    async def serve(request: web.Request) -> web.Response:
        return web.Response(text=SCRIPT, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}/"
    await runner.cleanup()


async def open_page(
    browser: Browser,
    origin: str,
    worker: WorkerProcess,
    holder: str,
    source: str,
    *,
    udp: bool = True,
) -> Page:
    """A page whose signalling goes to the worker as web's would; ``udp``: its network lets it."""
    page = await browser.new_page()
    sessions: dict[str, str] = {}

    async def ask(role: str, kind: Any, **values: Any) -> str:
        answer = await worker.web.ask(kind, holder=holder, **values)
        assert isinstance(answer, messages.Answered), answer
        sessions[role] = answer.session
        lines = answer.sdp.splitlines(keepends=True)
        return "".join(line for line in lines if udp or " udp " not in line)

    async def publish(sdp: str) -> str:
        return await ask("up", messages.Publish, conference=SLUG, source=source, sdp=sdp)

    async def restart(sdp: str) -> str:
        return await ask("up", messages.Restart, session=sessions["up"], sdp=sdp)

    async def receive() -> str:
        return await ask("down", messages.Receive, conference=SLUG, wall=16)

    async def accept(sdp: str) -> str:
        return await ask("down", messages.Accept, session=sessions["down"], sdp=sdp)

    async def offer_again() -> str:
        return await ask("down", messages.Restart, session=sessions["down"])

    await page.expose_function("signalPublish", publish)
    await page.expose_function("signalRestart", restart)
    await page.expose_function("signalReceive", receive)
    await page.expose_function("signalAccept", accept)
    await page.expose_function("signalOfferAgain", offer_again)
    await page.goto(origin)
    return page


async def advances(page: Page, mid: str, field: str = "frames", by: float = 10) -> None:
    """Wait until a slot's counter has grown by ``by``."""
    first = (await page.evaluate("inbound()")).get(mid, {}).get(field, 0)
    for _ in range(100):
        now = (await page.evaluate("inbound()")).get(mid, {}).get(field, 0)
        if now >= first + by:
            return
        await page.wait_for_timeout(100)
    raise AssertionError(f"{mid} stands still: {await page.evaluate('inbound()')}")


async def test_two_pages_see_and_hear_each_other(
    worker: WorkerProcess, browser: Browser, origin: str
) -> None:
    desired: dict[str, Any] = {"wall": ("site:a", "site:b"), "floor": ("site:a", "site:b")}
    worker.web.desire(GRANTS, stage="site:a", **desired)
    a = await open_page(browser, origin, worker, "seat-a", "site:a")
    b = await open_page(browser, origin, worker, "seat-b", "site:b", udp=False)
    await a.evaluate("publish('H264')")
    await b.evaluate("publish('VP8')")
    await a.evaluate("receive()")
    await b.evaluate("receive()")

    for page, tile in ((a, "wall1"), (b, "wall0")):
        await advances(page, "stage")
        await advances(page, tile)
        await advances(page, "audio0", "energy", 1e-4)
    assert [await page.evaluate("path(receiver)") for page in (a, b)] == ["udp", "tcp"]
    assert await b.evaluate("srtp(receiver)") == "SRTP_AEAD_AES_256_GCM"
    published = worker.web.last(messages.Published)
    assert published is not None
    assert {p.source: p.video for p in published.publications} == {
        "site:a": "H264",
        "site:b": "VP8",
    }
    # Nobody hears the own room: one voice, though two hold the floor.
    inbound = await a.evaluate("inbound()")
    assert inbound.get("audio1", {}).get("energy", 0) == 0

    # The stage changes codec and source; nothing is negotiated, and it goes on.
    worker.web.desire(GRANTS, stage="site:b", **desired)
    await eventually(
        lambda: worker.web.last(messages.Slots, holder="seat-a").slots["stage"] == "site:b"
    )
    await advances(a, "stage")

    # ICE restarts in both directions; pictures go on.
    await b.evaluate("restartPublisher()")
    await a.evaluate("(async () => take(await signalOfferAgain()))()")
    await advances(a, "stage", by=20)
    assert await a.evaluate("receiver.iceConnectionState") in ("connected", "completed")
    await a.evaluate("publisher.close()")
    await eventually(lambda: worker.web.last(messages.Closed, reason="left"))
