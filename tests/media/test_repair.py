"""Layers on the wire, RTX in both directions, and publishers and receivers that misbehave."""

from __future__ import annotations

import asyncio
import itertools
import random
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from server.media import messages, negotiation, rtcp, rtp, rtx, sdp
from server.media.layer import UNWANTED_S
from server.media.publication import Publication
from server.media.subscription import Receiver
from server.media.switching import Switch
from server.media.uplink import EXCESS_S, MAX_BPS, MAX_PACKETS_PER_S
from server.recorder import rtp as recorder_rtp
from tests.media.harness import SLUG, WorkerProcess, eventually
from tests.media.raw import PARAMETERS, SLICE, Lossy, RawPeer

Make = Callable[[], RawPeer]
GRANTS = {
    "seat-a": messages.Grant(publish=("site:a",), receive=True, own="site:a"),
    "seat-b": messages.Grant(publish=("site:b",), receive=True, own="site:b"),
    "display": messages.Grant(receive=True),
}
LAYERS = f"""a=mid:v
a=extmap:5 {rtp.RID_URI}
a=extmap:6 {rtp.REPAIRED_RID_URI}
a=rid:q send
a=rid:h send
a=rid:f send
a=simulcast:send q;h;f
a=rtpmap:107 rtx/90000
a=fmtp:107 apt=106
"""
RIDS = ("q", "h", "f")


class Camera(RawPeer):
    """Sends three layers with SSRCs that are not announced: 10, 11 and 12; RTX by 20, 21 and 22."""

    def offer(
        self, direction: str = "sendonly", setup: str = "actpass", codec: str = "H264"
    ) -> str:
        """As Chromium's: RIDs, and no SSRCs."""
        text = super().offer(direction, setup, codec).replace("SAVPF 106", "SAVPF 106 107")
        return text.replace("a=mid:v\n", LAYERS)

    def layer(self, place: int, sequence: int, timestamp: int, payload: bytes) -> None:
        """One packet of a layer, with its RID."""
        block = rtp.extension_block([(5, RIDS[place].encode())])
        self._send(106, sequence, timestamp, 10 + place, payload + RIDS[place].encode(), block)

    def all(self, sequence: int, timestamp: int, payload: bytes) -> None:
        """The same of all layers; their time stamps are 1,000,000 apart."""
        for place in range(3):
            self.layer(place, sequence + 1000 * place, timestamp + 1_000_000 * place, payload)

    def repeat(self, place: int, sequence: int, timestamp: int, payload: bytes) -> None:
        """A retransmission."""
        block = rtp.extension_block([(6, RIDS[place].encode())])
        body = rtx.payload(sequence, payload + RIDS[place].encode())
        self._send(107, 1, timestamp, 20 + place, body, block)

    def asked(self) -> set[int]:
        """SSRCs that a keyframe was asked of since this was last called."""
        found = {i.ssrc for i in self.items(rtcp.KeyframeRequest)}  # type: ignore[attr-defined]
        self.reports.clear()
        return found


@pytest.fixture
async def camera() -> AsyncIterator[Camera]:
    """A publisher of three layers."""
    peer = Camera()
    yield peer
    await peer.close()


async def camera_and_display(worker: WorkerProcess, raw: Make, camera: Camera) -> RawPeer:
    """The camera on stage; gives the display."""
    worker.web.desire(GRANTS, stage="site:a")
    page = raw()
    await camera.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    return page


async def test_layers_are_told_apart_by_rid_and_switched_at_a_keyframe(
    worker: WorkerProcess, raw: Make, camera: Camera
) -> None:
    worker.web.desire(GRANTS, stage="site:a", wall=("site:a",))
    page = raw()
    await camera.publish(worker, "seat-a", "site:a")
    for place in range(3):  # what was captured together has these time stamps
        report = rtcp.sender_report(10 + place, 1000 << 32, 1_000_000 * place, 1, 1, "x")
        camera.all(1, 0, PARAMETERS)
        camera.peer.send_rtcp(report)
    await page.receive(worker, "display", wall=1)
    await eventually(lambda: {10, 12} <= camera.asked())
    camera.all(2, 9_000, PARAMETERS)
    await eventually(lambda: page.got("stage") and page.got("wall0"))
    assert page.got("stage")[0][1] == PARAMETERS + b"f", "whole pictures get the largest"
    assert page.got("wall0")[0][1] == PARAMETERS + b"q", "tiles the smallest"
    await asyncio.sleep(0.6)
    camera.asked()

    camera.all(3, 12_000, SLICE)
    answer = await worker.web.ask(
        messages.View, session=page.session, holder="display", heights_px={"stage": 400}
    )
    assert isinstance(answer, messages.Answered)
    camera.all(4, 15_000, SLICE)
    await eventually(lambda: camera.items(rtcp.KeyframeRequest))
    assert camera.asked() == {11}, "only the layer that is wanted is asked"
    # What still waits for the rest of its frame when the keyframe comes is not sent any more.
    await eventually(lambda: len(page.got("stage")) == 3)
    camera.all(5, 18_000, PARAMETERS)
    camera.all(6, 21_000, SLICE)
    await eventually(lambda: len(page.got("stage")) == 5 and len(page.got("wall0")) == 5)
    headers = [header for header, _ in page.got("stage")]
    assert [payload[-1:] for _, payload in page.got("stage")] == [b"f", b"f", b"f", b"h", b"h"]
    assert [h.sequence - headers[0].sequence for h in headers] == [0, 1, 2, 3, 4]
    steps = [h.timestamp - headers[0].timestamp for h in headers]
    assert [step & 0xFFFFFFFF for step in steps] == [0, 3000, 6000, 9000, 12_000]
    assert {payload[-1:] for _, payload in page.got("wall0")} == {b"q"}, "the tile has not changed"

    # Hidden: nothing comes, and only what somebody sees is to be sent.
    await worker.web.ask(
        messages.View, session=page.session, holder="display", heights_px={"stage": 0, "wall0": 0}
    )
    camera.all(7, 24_000, PARAMETERS)

    def hidden() -> bool:
        slots = worker.web.last(messages.Slots, session=page.session)
        return slots is not None and slots.slots["stage"] is None

    await eventually(hidden)
    assert len(page.got("stage")) == 5
    layers = worker.web.last(messages.Layers)
    assert layers is not None and layers.session == camera.session and "q" in layers.rids


async def test_what_may_soon_be_on_stage_sends_its_largest_layer(
    worker: WorkerProcess, raw: Make, camera: Camera
) -> None:
    """Where nobody looks at it yet; only who decides what comes on stage may say so."""
    worker.web.desire({**GRANTS, "desk": messages.Grant(receive=True, direct=True)})
    await camera.publish(worker, "seat-a", "site:a")

    def told() -> tuple[str, ...]:
        layers = worker.web.last(messages.Layers, session=camera.session)
        return layers.rids if layers is not None else ()

    camera.all(1, 0, PARAMETERS)
    await eventually(lambda: told() == ("q",))
    asking = {"conference": SLUG, "sources": ("site:a", "site:nowhere")}
    refused = await worker.web.ask(messages.Expect, holder="display", **asking)
    assert refused.code == "forbidden"
    assert isinstance(
        await worker.web.ask(messages.Expect, holder="desk", **asking), messages.Answered
    )
    await eventually(lambda: "f" in told())
    other = {"conference": SLUG, "sources": ("site:b",)}  # another desk's
    await worker.web.ask(messages.Expect, holder="desk", **other)
    await asyncio.sleep(UNWANTED_S + 0.5)
    assert "f" in told(), "which takes nothing back"


async def test_a_layer_that_stops_is_left_for_another(
    worker: WorkerProcess, raw: Make, camera: Camera
) -> None:
    page = await camera_and_display(worker, raw, camera)
    camera.all(1, 0, PARAMETERS)
    sending = [0, 1, 2]

    async def send() -> None:
        for number in range(2, 1000):
            for place in sending:
                camera.layer(place, 1000 * place + number, 3000 * number, PARAMETERS)
            await asyncio.sleep(0.02)

    def shows(rid: bytes) -> bool:
        return bool(page.got("stage")) and page.got("stage")[-1][1][-1:] == rid

    sender = asyncio.create_task(send())
    await eventually(lambda: shows(b"f"))
    sending.remove(2)
    await eventually(lambda: shows(b"h"))
    sending.append(2)
    await eventually(lambda: shows(b"f"))
    sender.cancel()


async def test_a_layer_that_began_anew_is_shown_by_a_keyframe_alone_whatever_is_wanted_meanwhile(
    worker: WorkerProcess, raw: Make, camera: Camera
) -> None:
    page = await camera_and_display(worker, raw, camera)

    def anew(sequence: int, payload: bytes) -> None:
        block = rtp.extension_block([(5, b"f")])
        camera._send(106, sequence, 3000 * sequence, 55, payload + b"f", block)

    async def wants(height_px: int) -> None:
        await worker.web.ask(
            messages.View, session=page.session, holder="display", heights_px={"stage": height_px}
        )

    for number in range(1, 4):
        camera.all(number, 3000 * number, PARAMETERS)
        await asyncio.sleep(0.05)
    await eventually(lambda: page.got("stage") and page.got("stage")[-1][1][-1:] == b"f")
    for sequence, height_px in ((20_000, 400), (20_001, 1080), (20_002, 1080)):
        anew(sequence, SLICE)
        await asyncio.sleep(0.1)
        await wants(height_px)
    shown = page.got("stage")
    anew(20_003, PARAMETERS)
    await eventually(lambda: len(page.got("stage")) > len(shown))
    assert SLICE + b"f" not in [payload for _, payload in page.got("stage")]
    last, first = shown[-1][0], page.got("stage")[len(shown)][0]
    assert (first.sequence - last.sequence) & 0xFFFF == 1


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


async def test_nobody_takes_over_anothers_stream(worker: WorkerProcess, raw: Make) -> None:
    worker.web.desire(GRANTS, stage="site:a", wall=("site:b",))
    a, b, page = raw(), raw(), raw()
    await a.publish(worker, "seat-a", "site:a")
    await b.publish(worker, "seat-b", "site:b")
    await page.receive(worker, "display", wall=1)
    assert a.video_ssrc == b.video_ssrc
    for number in range(3):
        b.send_video(number, 0, PARAMETERS + b"b")
        a.send_video(number, 0, PARAMETERS + b"a")
    await eventually(lambda: len(page.got("stage")) == 3 and len(page.got("wall0")) == 3)
    assert {payload[-1:] for _, payload in page.got("stage")} == {b"a"}
    assert {payload[-1:] for _, payload in page.got("wall0")} == {b"b"}


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


def publication(peer: RawPeer) -> Publication:
    """One of three layers, by itself."""
    lines = negotiation.accept_offer(sdp.parse(peer.offer()), publishing=True)
    return Publication("site:a", "seat-a", peer.peer, lines)


def packet(ssrc: int, sequence: int, size: int = 100, rid: str = "q") -> memoryview:
    head = rtp.head(
        padding=False, marker=True, payload_type=106, sequence=sequence & 0xFFFF,
        timestamp=3000 * sequence, ssrc=ssrc, block=rtp.extension_block([(5, rid.encode())]),
    )  # fmt: skip
    return memoryview(head + SLICE + bytes(size))


async def test_who_sends_far_too_much_is_cut_off(
    camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    found = publication(camera)
    ended: list[str] = []
    found.uplink.on_excess = lambda: ended.append(found.source)
    size, number = 1200, 0
    step_s = size * 8 / (10 * 1_500_000)
    # Ten times what a camera may send is dropped in part; that alone ends nothing.
    while (now_s := number * step_s) < 2:
        camera.peer.on_rtp(packet(1, number, size), now_s)
        number += 1
    assert not ended
    taken = found.video and found.video.layers[0].arrivals.octets
    assert taken and taken <= MAX_BPS / 8 * (2 + 1)
    begin, number = number, 0
    while (now_s := 2 + number * size * 8 / (4 * MAX_BPS)) < 2.5 + EXCESS_S + 2:
        camera.peer.on_rtp(packet(1, begin + number, size), now_s)
        number += 1
        if ended:
            break
    assert ended == ["site:a"]
    assert found.line(2.0).excess and not found.line(2.0).excess, "told while it goes on"
    assert "sends too much: source=site:a holder=seat-a" in caplog.text


async def test_small_packets_count_as_the_work_that_they_are(camera: Camera) -> None:
    found = publication(camera)
    ended: list[str] = []
    found.uplink.on_excess = lambda: ended.append(found.source)
    for number in range(3 * MAX_PACKETS_PER_S * round(EXCESS_S + 2)):
        now_s = number / (3 * MAX_PACKETS_PER_S)
        camera.peer.on_rtp(packet(1, number, 1), now_s)
        if ended:
            break
    assert ended == ["site:a"]
    assert found.packets <= MAX_PACKETS_PER_S * (now_s + 1) + 1


async def test_streams_that_change_all_the_time_are_bounded(camera: Camera) -> None:
    found = publication(camera)
    begins = 0
    known = None
    for number in range(1000):
        camera.peer.on_rtp(packet(5000 + number, number), number * 0.01)
        assert found.video is not None
        begins += found.video.layers[0].ssrc != known
        known = found.video.layers[0].ssrc
    assert begins <= 4 + 10 * 0.5 + 1
    assert len(found.streams.ssrcs) <= 3
    # A RID that nobody announced, and one layer's SSRC in another's name.
    camera.peer.on_rtp(packet(77, 1, rid="x"), 20.0)
    assert 77 not in found.streams.ssrcs


async def test_the_recording_follows_the_largest_layer_as_one_stream(
    worker: WorkerProcess, camera: Camera
) -> None:
    recording = messages.Recording("r2", "/nowhere", 0, "Hội nghị")
    worker.web.desire(GRANTS, stage="site:a", recording=recording)
    await camera.publish(worker, "seat-a", "site:a")

    def recorded() -> list[recorder_rtp.Packet]:
        return [
            recorder_rtp.parse(data, m.sequence_shift, m.timestamp_shift, m.ssrc)
            for m in worker.recorder.media(recording.id)
            for data in m.packets
        ]

    sending = [0, 1, 2]

    async def send() -> None:
        for number in range(1000):
            for place in sending:
                camera.layer(place, 1000 * place + number, 3000 * number, PARAMETERS)
            await asyncio.sleep(0.02)

    sender = asyncio.create_task(send())
    await eventually(lambda: recorded() and recorded()[-1].payload[-1:] == b"f")
    sending.remove(2)
    await eventually(lambda: recorded()[-1].payload[-1:] == b"h")
    sender.cancel()
    headers = recorded()
    assert len({h.ssrc for h in headers}) == 1
    first = headers[0].sequence
    assert [(h.sequence - first) & 0xFFFF for h in headers] == list(range(len(headers)))
    stamps = [(h.timestamp - headers[0].timestamp) & 0xFFFFFFFF for h in headers]
    assert stamps == sorted(set(stamps)), "time goes on"
    layers = await eventually(lambda: worker.web.last(messages.Layers))
    assert "f" in layers.rids, "it is still wished for"
    worker.web.desire(GRANTS, stage="site:a")
