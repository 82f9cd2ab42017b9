"""Firefox on a closed network: without H.264 in WebRTC it is told so, sees the stage, and is seen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.conftest import Demo
from tests.e2e.firefox import Firefox, run_firefox
from tests.e2e.pages import SMALL
from tests.e2e.test_media import CENTRE_HUE

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture(loop_scope="session")
async def firefox(tmp_path: Path) -> AsyncIterator[Firefox]:
    """One Firefox; what any page throws fails the test."""
    async with run_firefox(tmp_path) as running:
        yield running
    assert not running.errors, running.errors


async def test_without_h264_the_stage_is_the_live_recording_and_vp8_is_sent(
    demo: Demo, firefox: Firefox, sit: Callable[..., Any]
) -> None:
    room = await firefox.open(*SMALL)
    await room.enter(demo.urls["operator"])
    assert not await room.evaluate(
        "RTCRtpReceiver.getCapabilities('video').codecs.some(c => c.mimeType == 'video/H264')"
    )
    await room.sees("#codec-note", "không gửi được H.264 nên gửi VP8")
    await room.until("document.querySelector('#preview.has-picture') && true")
    await room.press("#join")
    await room.sees("#toasts", "không có H.264 nên hình đi chậm")

    # Its own picture reaches a browser that prefers H.264.
    desk = await sit(demo.urls["moderator"])
    await desk.frames("#wall li:has-text('Khoái Châu')", 5)

    # The stage moves, by the live recording; its sound comes by WebRTC, ahead of it.
    await room.sees("#stage figcaption", "hình đi chậm")
    await room.until("document.querySelector('#stage.has-picture') && true")
    await room.evaluate("nextFrames(document.querySelector('#stage video'), 10)")
    assert await room.evaluate("document.querySelector('#stage video').srcObject === null")
    await room.until("inbound().then(all => all.audio0?.energy > 1e-3)")

    # What is sent as VP8 does not come by WebRTC too.
    await desk.press("#wall button.video", "Khoái Châu")
    await desk.press("#tile-menu [data-tile=floor]")
    await desk.shows("#stage", await desk.hue("#wall li:has-text('Khoái Châu')"))
    await desk.frames("#stage", 10)
    assert not (await room.evaluate("inbound()")).get("stage", {}).get("frames")
    await room.go("about:blank")
    await desk.press("#wall button.video", "Điểm cầu trung tâm")
    await desk.press("#tile-menu [data-tile=floor]")
    await desk.shows("#stage", CENTRE_HUE)


async def test_who_cannot_decode_h264_at_all_is_told_so(demo: Demo, tmp_path: Path) -> None:
    """Firefox on Linux plays H.264 by the system's libavcodec, which need not be there."""
    async with run_firefox(tmp_path, **{"media.ffmpeg.enabled": False}) as firefox:
        desk = await firefox.open()
        await desk.enter(demo.urls["observer"])
        assert not await desk.evaluate(
            """MediaSource.isTypeSupported('video/mp4; codecs="avc1.42e01f"')"""
        )
        await desk.sees("#stage", "Trình duyệt này không có H.264 nên không có hình.")
        await desk.sees("#wall", "Trình duyệt này không hiện được")
        # Nothing is promised for ten seconds later.
        assert not await desk.evaluate("document.querySelectorAll('.toast').length")
