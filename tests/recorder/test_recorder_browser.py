"""Chromium plays what was recorded, by hls.js, across many cuts and to the last second."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from benchmarks.load.chromium import CHROMIUM
from tests.recorder.publisher import Camera, Tone
from tests.recorder.test_recorder import Bridge

HLS = Path(__file__).parents[2] / "static" / "vendor" / "hls.js" / "hls.light.min.js"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--autoplay-policy=no-user-gesture-required"]
PAGE = "<!doctype html><video muted width=320></video>"
PLAY = """
async ([name, rate]) => {
  const Hls = (await import('/hls.js')).default;
  const video = document.querySelector('video'), seen = [], errors = [];
  let waits = 0, last = 0;
  const hls = new Hls({ backBufferLength: 30, maxBufferLength: 60 });
  hls.on(Hls.Events.ERROR, (_, data) => errors.push(`${data.type} ${data.details} ${data.fatal}`));
  hls.loadSource(name);
  hls.attachMedia(video);
  await new Promise((resolve) => video.addEventListener('canplay', resolve, { once: true }));
  video.currentTime = 0;
  video.playbackRate = rate;
  const canvas = new OffscreenCanvas(8, 8).getContext('2d', { willReadFrequently: true });
  const look = (_, frame) => {
    canvas.drawImage(video, 0, 0, 8, 8);
    seen.push([frame.mediaTime, canvas.getImageData(4, 6, 1, 1).data[1], video.videoWidth]);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  await video.play();
  video.addEventListener('waiting', () => { if (!video.ended) waits += 1; });
  const ended = new Promise((resolve) => video.addEventListener('ended', resolve, { once: true }));
  const stuck = new Promise((resolve) => setTimeout(resolve, 40000));
  await Promise.race([ended, stuck]);
  const buffered = video.buffered.length;
  const sound = video.webkitAudioDecodedByteCount;
  return { seen, errors, waits, buffered, sound, duration: video.duration,
           at: video.currentTime, ended: video.ended };
}
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The folder over HTTP, with the page and hls.js beside the recording."""
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "hls.js").write_bytes(HLS.read_bytes())

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.browser
@pytest.mark.alone
def test_chromium_plays_it_to_the_last_second(tmp_path: Path, served: str) -> None:
    cameras = [
        Camera("site:one", 90, 320, 180, 15),
        Camera("site:two", 150, 640, 360, 15),
        Camera("site:three", 210, 480, 270, 10),
    ]
    bridge = Bridge(tmp_path, *cameras, Tone("site:two", 440))
    bridge.run(1)
    for turn in range(14):
        camera = None if turn % 5 == 4 else cameras[turn % 3]
        bridge.show(camera.source if camera else None)
        if camera:
            camera.keyframe = True
        bridge.run(1.5)
    bridge.now_us += 4_000_000  # a hole, as after a crash
    for publisher in bridge.publishers:
        publisher.next_us = bridge.now_us
    bridge.recording.stop()
    bridge.recording = type(bridge.recording)(bridge.wanted)
    bridge.show("site:two")
    bridge.run(3)
    bridge.finish()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for _ in range(5):  # a busy machine stalls now and then; a hole stalls each time
            page = browser.new_page()
            page.goto(served)
            result = page.evaluate(PLAY, ["master.m3u8", 4])
            page.close()
            if result["ended"] and not result["errors"] and result["waits"] == 0:
                break
        browser.close()
    assert result["ended"] and not result["errors"], result["errors"]
    assert result["waits"] == 0 and result["buffered"] == 1
    assert abs(result["duration"] - 29) < 0.1 and result["at"] > 28.9
    assert result["sound"] > 0
    assert {320, 640, 480, 1280} <= {width for _, _, width in result["seen"]}
    assert result["seen"][-1][0] > 28.5
    by_width = {320: 90, 640: 150, 480: 210}
    right = [
        abs(green - (by_width[width] - 16) * 255 / 219) < 12
        for _, green, width in result["seen"]
        if width in by_width
    ]
    assert right and sum(right) >= 0.95 * len(right)
