"""Publishers of odd pictures, without keyframes or of ever another size: others notice nothing,
memory stays bounded, requests stay few, the log says who."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from server.media import messages, negotiation, resolution, rtcp, rtp, sdp
from server.media.keyframes import MIN_INTERVAL_S, OVERDUE_S, Requests
from server.media.publication import Publication
from tests.media.harness import WorkerProcess, eventually
from tests.media.raw import GRANTS, SLICE, RawPeer

PICTURES = 100


def _golomb(value: int) -> str:
    """ue(v) of H.264, 9.1."""
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def parameters(width_px: int, height_px: int) -> bytes:
    """A sequence parameter set of constrained baseline (H.264, 7.3.2.1.1); multiples of 16."""
    sizes = [_golomb(width_px // 16 - 1), _golomb(height_px // 16 - 1)]
    bits = "".join([_golomb(0), _golomb(0), _golomb(2), _golomb(1), "0", *sizes, "1100", "1"])
    bits += "0" * (-len(bits) % 8)
    data = bytes.fromhex("6742e01f") + int(bits, 2).to_bytes(len(bits) // 8, "big")
    assert resolution.size("H264", data) == (width_px, height_px)
    return data


SIZES = [parameters(16 * k, 16 * k) for k in range(1, 100)]


async def _beside(
    worker: WorkerProcess, raw: Callable[[], RawPeer], payload: Callable[[int], bytes]
) -> RawPeer:
    """``site:b`` sends these pictures on a tile while ``site:a`` is on stage, which loses nothing."""
    good, odd, page = raw(), raw(), raw()
    worker.web.desire(GRANTS, stage="site:a", floor=("site:a",), wall=("site:b",))
    await good.publish(worker, "seat-a", "site:a")
    await odd.publish(worker, "seat-b", "site:b")
    await page.receive(worker, "display", wall=1)
    number = 0
    while not (page.got("stage") and page.got("audio0")):
        page.check()
        number = await good.pump(1, start=number)
    before_kb = worker.process.memory_kb()
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    for i in range(PICTURES):
        if i % 10 == 0:
            page.check()  # a session that says nothing ends
        for packet in range(4):
            odd.send_video(4 * i + packet, 3000 * i, payload(i) + bytes(1000))
        number = await good.pump(1, start=number)
    elapsed_s = loop.time() - begin_s
    await good.pump(1, start=number, tag=b"the last")
    for mid, fewest in (("stage", 2 * PICTURES), ("audio0", PICTURES)):
        await eventually(lambda mid=mid: page.got(mid)[-1][1].endswith(b"the last"))
        numbers = [header.sequence for header, _ in page.got(mid)]
        assert [(n - numbers[0]) & 0xFFFF for n in numbers] == list(range(len(numbers)))
        assert len(numbers) > fewest
    assert len(odd.items(rtcp.KeyframeRequest)) <= 3 + elapsed_s / MIN_INTERVAL_S
    assert len(good.items(rtcp.KeyframeRequest)) <= 3
    assert worker.process.memory_kb() - before_kb < 8_000
    assert worker.web.last(messages.Closed) is None
    return page


async def test_one_that_never_sends_a_keyframe_is_shown_to_nobody(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    page = await _beside(worker, raw, lambda i: SLICE)
    assert page.got("wall0") == [], "nobody could decode it"


async def test_one_of_ever_another_size_is_shown_and_told_of(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    page = await _beside(worker, raw, lambda i: SIZES[i % len(SIZES)])
    await eventually(lambda: len(page.got("wall0")) > 2 * PICTURES)
    told = worker.process.logged("changes its resolution all the time")
    assert told.count("source=site:b holder=seat-b") == 1


async def test_the_log_says_who_sends_no_keyframe(
    raw: Callable[[], RawPeer], caplog: pytest.LogCaptureFixture
) -> None:
    peer = raw()
    lines = negotiation.accept_offer(sdp.parse(peer.offer()), publishing=True)
    video = Publication("site:a", "seat-a", peer.peer, lines).video
    assert video is not None
    asked = 0
    for tick in range(1200):
        now_s = tick * 0.05
        head = rtp.head(
            padding=False, marker=True, payload_type=106, sequence=tick,
            timestamp=4500 * tick, ssrc=7,
        )  # fmt: skip
        peer.peer.on_rtp(memoryview(head + SLICE), now_s)
        video.layers[0].requests.want()
        asked += bool(video.requests(now_s))
        if now_s < OVERDUE_S:
            assert not caplog.messages
    assert asked <= 60 / MIN_INTERVAL_S + 1
    assert caplog.messages == ["sends no keyframe: source=site:a holder=seat-a asked_for_s=10"]


def test_who_answers_late_is_not_told_of() -> None:
    requests = Requests()
    for second in range(100):
        requests.want()
        requests.due(float(second))
        assert not requests.overdue_s(float(second))
        if second % 8 == 0:
            requests.arrived(second + 0.5)
