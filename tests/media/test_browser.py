"""Real Chromium pages publish their fake camera and receive by slots, without renegotiation."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser

from server.media import messages
from tests.media.harness import WorkerProcess, eventually
from tests.media.pages import GRANTS, advances, open_page

pytestmark = pytest.mark.browser
DTX = """() => {
  const signal = window.signalPublish;
  window.signalPublish = (sdp) => signal(sdp.replace("useinbandfec=1", "useinbandfec=1;usedtx=1"));
}"""
TONE = """async () => {
  const context = new AudioContext(), tone = new OscillatorNode(context);
  const out = new MediaStreamAudioDestinationNode(context);
  window.loudness = new GainNode(context);
  tone.connect(window.loudness).connect(out);
  tone.start();
  const sender = window.publisher.getSenders().find((each) => each.track.kind === "audio");
  await sender.replaceTrack(out.stream.getAudioTracks()[0]);
}"""


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
    for page, protocol in ((a, "udp"), (b, "tcp")):
        # On a busy machine what answers first may be TCP, and Chromium stay there.
        for _ in range(8):
            await advances(page, "stage")
            taken = await page.evaluate("path(receiver)")
            if taken == protocol:
                break
            await page.evaluate("receive()")
        assert taken == protocol
    assert await b.evaluate("srtp(receiver)") == "SRTP_AEAD_AES_128_GCM"
    assert {p.source: p.video for p in worker.web.published()} == {
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


async def test_a_microphone_that_sends_next_to_nothing_in_silence_is_heard_again(
    worker: WorkerProcess, browser: Browser, origin: str
) -> None:
    """Opus' DTX, which the publisher offers and the answer agrees on."""
    web = worker.web
    web.desire(GRANTS, floor=("site:a",))

    def speaks() -> bool:
        told = web.last(messages.Speaking)
        return told is not None and told.sources == ("site:a",)

    a = await open_page(browser, origin, worker, "seat-a", "site:a")
    b = await open_page(browser, origin, worker, "seat-b", "site:b")
    await a.evaluate(DTX)
    await a.evaluate("publish('H264')")
    await a.evaluate(TONE)
    await b.evaluate("receive()")
    await advances(b, "audio0", "energy", 0.1)
    await eventually(speaks)

    await a.evaluate("loudness.gain.value = 0")
    await eventually(lambda: not speaks())
    before = (await b.evaluate("inbound()"))["audio0"]
    await advances(b, "audio0", "samples", 2 * 48_000)
    silent = (await b.evaluate("inbound()"))["audio0"]
    played = (silent["samples"] - before["samples"]) / 960
    assert silent["packets"] - before["packets"] < played / 4, "packets of 20 ms each"
    await a.evaluate("loudness.gain.value = 1")
    await advances(b, "audio0", "energy", 0.1)
    await eventually(speaks)
    assert (await b.evaluate("inbound()"))["audio0"]["lost"] == 0
    assert max(line.loss for line in web.last(messages.Lines).lines.values()) < 0.02
