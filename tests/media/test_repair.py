"""What was lost comes again, in both directions: by RTX, or the very same; never two under one index."""

from __future__ import annotations

import asyncio
import itertools
import random
import struct
import time
from collections import Counter
from typing import Any

import pytest

from server.media import negotiation, rtcp, rtp, rtx
from server.media.subscription import Receiver
from server.media.switching import Switch
from tests.media.camera import Camera, packet, publication
from tests.media.harness import WorkerProcess, eventually
from tests.media.raw import GRANTS, PARAMETERS, SLICE, Lossy, Make, RawPeer


async def test_retransmissions_go_in_streams_of_their_own(
    worker: WorkerProcess, raw: Make, camera: Camera
) -> None:
    worker.web.desire(GRANTS, stage="site:a")
    page = raw()
    await camera.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display", rtx=True)
    camera.layer(0, 5, 0, PARAMETERS)
    camera.layer(0, 7, 3000, SLICE + b"7")
    nack = (await eventually(lambda: camera.items(rtcp.Nack)))[0]
    assert nack == rtcp.Nack(10, (6,))
    camera.repeat(0, 6, 0, SLICE + b"6")
    camera._send(107, 2, 0, 20, b"", b"")  # padding, as of a probe
    await eventually(lambda: len(page.got("stage")) == 3)
    first = page.got("stage")[0][0].sequence
    by_number = {h.sequence - first: payload for h, payload in page.got("stage")}
    assert by_number == {0: PARAMETERS + b"q", 1: SLICE + b"6q", 2: SLICE + b"7q"}

    def repeated() -> list[tuple[rtp.Header, bytes]]:
        return [(h, p) for h, p in page.packets if h.ssrc not in page.slots.values()]

    page.peer.send_rtcp(rtcp.nack(1, page.slots["stage"], [first + 1]))
    header, packet = (await eventually(repeated))[0]
    assert header.payload_type == 103
    body = packet[header.payload_start :]
    assert struct.unpack("!H", body[:2])[0] == first + 1 and body[2:] == SLICE + b"6q"
    # Who asks for everything, over and over, gets little.
    for _ in range(60):
        page.peer.send_rtcp(rtcp.nack(1, page.slots["stage"], [first, first + 1, first + 2]))
        page.peer.send_rtcp(rtcp.pli(1, page.slots["stage"]))
        await asyncio.sleep(0.02)
    assert len(repeated()) <= 210


class Eavesdropper(Lossy):
    """Keeps what is on the line, as it is there."""

    def __init__(self, *place: Any) -> None:
        super().__init__(*place)
        self.heard: set[bytes] = set()

    def handle_srtp(self, data: memoryview, now_s: float) -> bool:
        self.heard.add(bytes(data))
        return super().handle_srtp(data, now_s)


async def test_what_is_asked_for_while_it_is_held_is_sent_once(
    worker: WorkerProcess, raw: Make
) -> None:
    """Who has no RTX is sent the very same again. Until it is forwarded it may yet be padded: sent as it
    came, it would be another packet under one index, which AES-GCM must not seal (RFC 7714, 8.1).
    """
    worker.web.desire(GRANTS, stage="site:a")
    a, page = raw(), RawPeer(Eavesdropper)
    await a.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")

    async def come(count: int) -> None:
        await eventually(lambda: len(page.got("stage")) == count)

    a.send_video(5, 0, PARAMETERS)
    for lap in range(1, 11):
        a.send_video(5 + 3 * lap, 3000 * lap, SLICE)
        await come(3 * lap - 1)
        number = page.got("stage")[0][0].sequence + 3 * lap
        a.send_video(3 + 3 * lap, 3000 * lap - 1, SLICE, marker=False)
        a.send_video(4 + 3 * lap, 3000 * lap - 1, SLICE + b"!", marker=False)
        page.peer.send_rtcp(rtcp.nack(1, page.slots["stage"], [number - 2]))
        await come(3 * lap + 1)
    assert isinstance(page.peer, Eavesdropper)
    numbers = Counter(data[2:4] for data in page.peer.heard if data[1] & 0x7F == 102)
    await page.close()
    assert len(numbers) == 31 and set(numbers.values()) == {1}


async def test_what_came_by_a_retransmission_was_lost_all_the_same(camera: Camera) -> None:
    found = publication(camera)
    found.line(1.0)
    for number in (1, 2, 4, 5, 6, 7, 9, 10):
        camera.peer.on_rtp(packet(10, number), 0.01 * number)
    for number in (3, 8, 8, 9):  # once too often, and one that had come
        head = rtp.head(
            padding=False, marker=True, payload_type=107, sequence=number, timestamp=0, ssrc=20,
            block=rtp.extension_block([(6, b"q")]),
        )  # fmt: skip
        camera.peer.on_rtp(memoryview(head + rtx.payload(number, SLICE)), 0.2)
    assert found.packets == 10
    assert found.line(1.0).loss == pytest.approx(0.2)
    camera.peer.on_rtp(packet(10, 11), 0.3)
    assert found.line(1.0).loss == 0


async def test_a_group_is_given_as_it_is_sent(camera: Camera) -> None:
    """Who enters by a group of the past may ask for its packets again: none may change until then."""
    found = publication(camera)
    assert found.video is not None
    layer = found.video.layers[0]
    layer.outputs.add(Switch(90_000))
    for number, size in ((1, 50), (2, 100), (3, 101)):
        head = rtp.head(
            padding=False, marker=number == 1, payload_type=106, sequence=number,
            timestamp=3000 if number > 1 else 0, ssrc=10,
            block=rtp.extension_block([(5, b"q")]),
        )  # fmt: skip
        kind = PARAMETERS if number == 1 else SLICE
        camera.peer.on_rtp(memoryview(head + kind + bytes(size)), time.monotonic())
    assert layer.latest_group(time.monotonic()) == [], "one of them is going to be padded"
    group = await eventually(lambda: layer.latest_group(time.monotonic()))
    assert [number & 0xFFFF for number, _ in group] == [1, 2, 3]
    assert len({len(packet) for _, packet in group[1:]}) == 1


async def test_no_two_streams_of_a_page_have_one_ssrc(camera: Camera) -> None:
    """They are under one key. This seed drew one twice where each was drawn by itself."""
    random.seed(296_687)
    page = Receiver("seat-a", camera.peer, negotiation.slot_lines(64, True))
    ssrcs = [ssrc for sources in page.sources.values() for ssrc in sources]
    assert len(set(ssrcs)) == len(ssrcs) == 2 * (2 + 64 + 3)


async def test_the_last_packet_of_a_picture_goes_twice_to_whom_some_of_it_does_not_reach(
    worker: WorkerProcess, raw: Make
) -> None:
    """That it is missing shows only with the next picture."""
    worker.web.desire(GRANTS, stage="site:a")
    camera, page = raw(), raw()
    await camera.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display", rtx=True)
    sent = itertools.count()

    async def show(pictures: int) -> None:
        for _ in range(pictures):
            number = next(sent)
            for part in range(3):
                payload = SLICE if part or number else PARAMETERS
                numbers = 3 * number + part, 3000 * number
                camera.send_video(*numbers, payload + b"%d" % part, marker=part == 2)
            await asyncio.sleep(0.02)

    def repeated() -> list[bytes]:
        own = page.slots.values()
        found = [p[h.payload_start + 2 :] for h, p in page.packets if h.ssrc not in own]
        page.packets[:] = [(h, p) for h, p in page.packets if h.ssrc in own]
        return found

    await show(20)
    await eventually(lambda: len(page.got("stage")) == 60)
    assert repeated() == []
    ssrc, highest = page.slots["stage"], page.got("stage")[-1][0].sequence
    for lost, expected in ((0, 0), (3, 50)):
        block = rtcp.ReportBlock(ssrc, 0, lost, highest + expected, 0, 0, 0)
        page.peer.send_rtcp(rtcp.receiver_report(1, [block], "page"))
    await asyncio.sleep(0.3)
    await show(30)
    twice: list[bytes] = []

    def whole() -> bool:
        twice.extend(repeated())
        return len(page.got("stage")) == 150 and len(twice) >= 30

    await eventually(whole)
    assert twice == [SLICE + b"2"] * 30
