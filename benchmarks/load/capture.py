"""Makes ``captures/chromium-720p.json`` and ``-180p.json``: what Chromium publishes, packet by packet.

Rows of (s, kind, marker, first bytes of the payload as hex, bytes of payload), one packet each, of
H.264 (1280×720 at up to 2.5 Mbit/s, 320×180 at up to 150 kbit/s) and Opus, in the order and at the
times in which they came. Of sound all bytes are kept: it is decoded and encoded again where it is
recorded, and noise would cost three times as much. The camera is a file: a picture that pans a little
under the grain of a cheap sensor, since the plain pattern of Chromium's own test camera costs a tenth
of what rooms do. So is the microphone: somebody speaks.
``python benchmarks/load/capture.py [seconds] [720 or 180]``.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import shutil
import sys
import tempfile
import time
import wave
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image, ImageChops

sys.path.insert(0, str(Path(__file__).parents[2]))

from playwright.async_api import async_playwright  # noqa: E402

from benchmarks.load.endpoints import Endpoint  # noqa: E402
from server.media import rtp  # noqa: E402
from server.media.feedback import Feedback  # noqa: E402
from server.simulation import voices  # noqa: E402

ARGUMENTS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
]
HEAD_BYTES = {"video": 24, "audio": None}
MAX_BPS = {720: 2_500_000, 180: 150_000}
GRAIN = 8
SCRIPT = """async ([bps, scale]) => {
  const stream = await navigator.mediaDevices.getUserMedia(
    {video: {width: 1280, height: 720, frameRate: 30}, audio: true});
  const peer = window.peer = new RTCPeerConnection();
  for (const track of [...stream.getVideoTracks(), ...stream.getAudioTracks()]) {
    const encodings = track.kind === "video" ? [{maxBitrate: bps, scaleResolutionDownBy: scale}] : undefined;
    const line = peer.addTransceiver(track, {direction: "sendonly", sendEncodings: encodings});
    if (track.kind === "video") {
      const codecs = RTCRtpSender.getCapabilities("video").codecs;
      line.setCodecPreferences(codecs.filter((c) => c.mimeType === "video/H264"
        && /42e01f/.test(c.sdpFmtpLine) && /packetization-mode=1/.test(c.sdpFmtpLine)));
    }
  }
  await peer.setLocalDescription();
  return peer.localDescription.sdp;
}"""


def film(path: Path) -> None:
    """Three seconds of such a camera, as MJPEG."""
    coarse = Image.effect_noise((88, 52), 90).resize((1408, 832), Image.Resampling.BICUBIC)
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=Fraction(30))
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuvj420p"
        for number in range(90):
            shift = 60 + round(30 * math.sin(number / 90 * 2 * math.pi))
            part = coarse.crop((shift, 50, shift + 1280, 770))
            grain = Image.effect_noise((1280, 720), GRAIN)
            seen = ImageChops.add(part, grain, 1, -128).convert("RGB")
            frame = av.VideoFrame.from_image(seen)
            container.mux(stream.encode(frame.reformat(format="yuvj420p")))
        container.mux(stream.encode(None))


def speech(path: Path) -> None:
    """Twenty seconds of a voice."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(voices.SAMPLE_RATE)
        sound.writeframes(voices.speak(0).tobytes())


class Capture(Endpoint):
    """Answers Chromium and writes down what comes."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1")
        self.rows: list[tuple[float, str, int, str, int]] = []
        self.begun_s: float | None = None
        self._types: dict[int, str] = {}
        self._id = 0
        self._ssrc = 0
        self._feedback = Feedback()
        self.peer.on_rtp = self._packet

    def answer(self, offer: str) -> str:
        """Our answer, with the offer's payload types and extension."""
        text = self.describe([("0", "video"), ("1", "audio")], "recvonly", "active")
        video, audio = re.findall(r"m=(?:video|audio) \d+ \S+ (\d+)", offer)
        self._types = {int(video): "video", int(audio): "audio"}
        self._id = int(re.findall(r"a=extmap:(\d+)[^\r\n]*transport-wide-cc", offer)[0])
        text = re.sub(r"\b102\b(?!\.)", video, text)
        text = re.sub(r"a=extmap:4 [^\r\n]*\r\n", "", text).replace(":111", f":{audio}")
        return text.replace("a=extmap:3 ", f"a=extmap:{self._id} ")

    def _packet(self, packet: memoryview, now_s: float) -> None:
        header = rtp.parse(packet)
        kind = self._types.get(header.payload_type) if header is not None else None
        if header is None or kind is None:
            return
        self._ssrc = header.ssrc
        for identifier, value in rtp.extensions(packet, header):
            if identifier == self._id:
                self._feedback.receive(int.from_bytes(value[:2], "big"), now_s)
        if self.begun_s is not None:
            payload = bytes(packet[header.payload_start : header.payload_end])
            marker = packet[1] >> 7
            row = (round(now_s - self.begun_s, 5), kind, marker, payload[: HEAD_BYTES[kind]].hex())
            self.rows.append((*row, len(payload)))

    async def report(self) -> None:
        """Without feedback Chromium stays small."""
        while True:
            await asyncio.sleep(0.1)
            for packet in self._feedback.report(1, self._ssrc):
                self.peer.send_rtcp(packet)


async def main(seconds: float, height_px: int) -> None:
    """Capture ``seconds`` once the picture has reached its size."""
    capture = Capture()
    with tempfile.TemporaryDirectory() as folder:
        camera, microphone = Path(folder) / "camera.mjpeg", Path(folder) / "microphone.wav"
        film(camera)
        speech(microphone)
        await record(capture, camera, microphone, seconds, height_px)
    rows = capture.rows
    octets = sum(row[4] for row in rows if row[1] == "video")
    print(f"{len(rows)} packets, {octets * 8 / seconds / 1e6:.2f} Mbit/s of pictures")
    path = Path(__file__).parents[1] / "captures" / f"chromium-{height_px}p.json"
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


async def record(
    capture: Capture, camera: Path, microphone: Path, seconds: float, height_px: int
) -> None:
    """Let Chromium publish ``camera`` and ``microphone``."""
    arguments = [
        *ARGUMENTS,
        f"--use-file-for-fake-video-capture={camera}",
        f"--use-file-for-fake-audio-capture={microphone}",
    ]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell"), args=arguments
        )
        page = await (await browser.new_context(permissions=["camera", "microphone"])).new_page()
        await page.route("**/*", lambda route: route.fulfill(body="", content_type="text/html"))
        await page.goto("http://localhost/")  # a secure context, where cameras exist
        offer = await page.evaluate(SCRIPT, [MAX_BPS[height_px], 720 / height_px])
        answer = capture.answer(offer)
        connecting = asyncio.create_task(capture.connect(offer))
        await page.evaluate(
            "(sdp) => window.peer.setRemoteDescription({type: 'answer', sdp})", answer
        )
        await connecting
        reporting = asyncio.create_task(capture.report())
        await asyncio.sleep(15)
        capture.begun_s = time.monotonic()
        await asyncio.sleep(seconds)
        reporting.cancel()
        await browser.close()


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(main(float(given[0]) if given else 10.0, int(given[1]) if given[1:] else 720))
