"""Chromium pages whose signalling goes to a worker as web's would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.async_api import Browser, Page

from server.media import messages
from tests.media.harness import SLUG, WorkerProcess

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
window.publish = async (codec, size = {width: 320, height: 180}, encodings = []) => {
  const stream = await navigator.mediaDevices.getUserMedia(
    {video: {...size, frameRate: 15}, audio: true});
  const peer = window.publisher = new RTCPeerConnection();
  for (const track of stream.getTracks()) {
    const transceiver = peer.addTransceiver(track, {direction: "sendonly", streams: [stream],
      sendEncodings: track.kind === "video" ? encodings : []});
    if (track.kind === "video") {
      const codecs = RTCRtpSender.getCapabilities("video").codecs;
      transceiver.setCodecPreferences(codecs.filter((c) => c.mimeType === "video/" + codec));
    }
  }
  await peer.setLocalDescription();
  const answer = await window.signalPublish(peer.localDescription.sdp);
  await peer.setRemoteDescription({type: "answer", sdp: answer});
  setInterval(tryLarger, 3000);
};
window.changing = Promise.resolve();
window.change = (edit) => window.changing = window.changing.then(async () => {
  const sender = window.publisher.getSenders().find((each) => each.track.kind === "video");
  const parameters = sender.getParameters();
  edit(parameters.encodings);
  await sender.setParameters(parameters);
});
window.activate = (rids) => change((encodings) => {
  for (const encoding of encodings) encoding.active = rids.includes(encoding.rid);
});
// As static/js/media/publish.js does: without it a browser that a busy machine has made careful may never
// send its largest layer again, since what it sends of small ones is too little to learn from.
window.tryLarger = async () => {
  const reports = [...(await window.publisher.getStats()).values()];
  if (!reports.some((each) => each.qualityLimitationReason === "bandwidth")) return;
  await change((encodings) => {
    const largest = encodings.findLast((each) => each.active && each.maxBitrate);
    if (largest) largest.maxBitrate += largest.maxBitrate % 10_000 ? 1000 : -1000;
  });
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
        packets: report.packetsReceived, lost: report.packetsLost,
        freezes: report.freezeCount ?? 0, height: report.frameHeight ?? 0,
        plis: report.pliCount ?? 0, nacks: report.nackCount ?? 0,
        repaired: report.retransmittedPacketsReceived ?? 0};
    }
  }
  return found;
};
window.path = async (peer) => {
  const reports = await peer.getStats();
  for (const report of reports.values()) {
    if (report.type === "transport") {
      // While another pair is being nominated, none is the selected one.
      const pair = reports.get(report.selectedCandidatePairId);
      return pair ? reports.get(pair.remoteCandidateId).protocol : null;
    }
  }
};
window.srtp = async (peer) => {
  for (const report of (await peer.getStats()).values()) {
    if (report.type === "transport") return report.srtpCipher;
  }
};
</script>"""


sessions_of: dict[Page, dict[str, str]] = {}
"""page → its sessions, ``up`` and ``down``"""


async def open_page(
    browser: Browser,
    origin: str,
    worker: WorkerProcess,
    holder: str,
    source: str,
    *,
    udp: bool = True,
    line: Callable[[str], str] = str,
) -> Page:
    """A page whose signalling goes to the worker as web's would; ``udp``: its network lets it;
    ``line`` changes the descriptions that it gets, so that it takes another line."""
    page = await browser.new_page()
    sessions: dict[str, str] = {}

    async def ask(role: str, kind: Any, **values: Any) -> str:
        answer = await worker.web.ask(kind, holder=holder, **values)
        assert isinstance(answer, messages.Answered), answer
        sessions[role] = answer.session
        lines = answer.sdp.splitlines(keepends=True)
        return line("".join(each for each in lines if udp or " udp " not in each))

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
    sessions_of[page] = sessions
    return page


async def advances(page: Page, mid: str, field: str = "frames", by: float = 10) -> None:
    """Wait until a slot's counter has grown by ``by``."""
    first = (await page.evaluate("inbound()")).get(mid, {}).get(field, 0)
    for _ in range(600):
        now = (await page.evaluate("inbound()")).get(mid, {}).get(field, 0)
        if now >= first + by:
            return
        await page.wait_for_timeout(100)
    raise AssertionError(f"{mid} stands still: {await page.evaluate('inbound()')}")
