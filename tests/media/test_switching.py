"""Streams on the wire: told apart by RID and by publisher, layers switched at keyframes."""

from __future__ import annotations

import asyncio

from server.media import messages, rtcp, rtp
from server.media.layer import UNWANTED_S
from server.recorder import rtp as recorder_rtp
from tests.media.camera import Camera, packet, publication
from tests.media.harness import SLUG, WorkerProcess, eventually
from tests.media.raw import GRANTS, PARAMETERS, SLICE, Make, RawPeer


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
