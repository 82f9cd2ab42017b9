"""A real worker between real peers (aiortc): pictures and sound go where the desired state says."""

from __future__ import annotations

import asyncio

import pytest

from server.media import messages
from tests.media.harness import Grey, Page, WorkerProcess, eventually
from tests.media.lines import BadLine

pytestmark = pytest.mark.long

SITE = messages.Grant(publish=("site:a",), receive=True, own="site:a")
OTHER = messages.Grant(publish=("site:b",), receive=True, own="site:b")
DISPLAY = messages.Grant(receive=True)
GRANTS = {"seat-a": SITE, "seat-b": OTHER, "display": DISPLAY}


def near(value: int | None, shade: int) -> bool:
    """Is a decoded shade the published one, within what H.264 loses?"""
    return value is not None and abs(value - shade) < 12


async def test_stage_and_floor_move_between_publishers_without_renegotiation(
    worker: WorkerProcess,
) -> None:
    web = worker.web
    wall = ("site:a", "site:b")
    web.desire(GRANTS, stage="site:a", floor=("site:a",), wall=wall)
    await worker.publish("seat-a", "site:a", shade=60, tone_hz=400)
    await worker.publish("seat-b", "site:b", shade=200, tone_hz=1000, codec="VP8")
    page = await worker.receive("display", wall=3)
    await eventually(lambda: near(page.shade.get("stage"), 60))
    await eventually(lambda: near(page.shade.get("wall0"), 60))
    await eventually(lambda: near(page.shade.get("wall1"), 200))
    await eventually(lambda: 350 <= page.hz.get("audio0", 0) <= 450)
    told = {"stage": "site:a", "wall1": "site:b", "wall2": None, "presentation": None}

    def slots() -> dict[str, str | None]:
        """What the page was last told; after the pictures, which may come first."""
        latest = web.last(messages.Slots, session=page.session)
        return {} if latest is None else {slot: latest.slots[slot] for slot in told}

    await eventually(lambda: slots() == told)

    web.desire(GRANTS, stage="site:b", floor=("site:b",), wall=wall)
    await eventually(lambda: web.last(messages.Slots).slots["stage"] == "site:b")
    await eventually(lambda: near(page.shade["stage"], 200))
    await eventually(lambda: 950 <= page.hz["audio0"] <= 1050)
    count = page.frames["stage"]
    await eventually(lambda: page.frames["stage"] > count + 10)

    def uplinks() -> dict[str, tuple[int | None, int | None]]:
        """As told every two seconds."""
        latest = web.last(messages.Lines)
        lines = latest.lines if isinstance(latest, messages.Lines) else {}
        flowing = {source: line for source, line in lines.items() if line.bitrate_bps > 1000}
        return {source: (line.width, line.height) for source, line in flowing.items()}

    await eventually(lambda: uplinks() == {"site:a": (160, 120), "site:b": (160, 120)})
    assert web.last(messages.Lines).lines["site:a"].loss < 0.02


async def test_a_camera_that_is_off_is_told_apart_from_its_sound(worker: WorkerProcess) -> None:
    web = worker.web
    web.desire(GRANTS, stage="site:a", floor=("site:a",))
    await worker.publish("seat-a", "site:a", shade=60, tone_hz=400)
    (camera,) = [s for s in worker.peers[-1].getSenders() if s.kind == "video"]
    page = await worker.receive("display")
    await eventually(lambda: near(page.shade.get("stage"), 60))

    def told(picture: bool) -> bool:
        return [(p.alive, p.picture) for p in web.published()] == [(True, picture)]

    await eventually(lambda: told(True))
    camera.replaceTrack(None)
    await eventually(lambda: told(False))
    pictures, sounds = page.frames["stage"], page.frames["audio0"]
    await eventually(lambda: page.frames["audio0"] > sounds + 20)
    assert page.frames["stage"] == pictures
    camera.replaceTrack(Grey(200))
    await eventually(lambda: told(True))
    await eventually(lambda: near(page.shade["stage"], 200))


async def goes_on(page: Page) -> None:
    """Wait for new pictures and sounds, right ones."""
    pictures, sounds = page.frames["stage"], page.frames["audio0"]
    await eventually(lambda: page.frames["stage"] > pictures + 20)
    await eventually(lambda: page.frames["audio0"] > sounds + 50)
    await eventually(lambda: near(page.shade["stage"], 60))
    await eventually(lambda: 350 <= page.hz["audio0"] <= 450)


@pytest.mark.parametrize("leg", ["publisher", "receiver"])
async def test_pictures_and_sound_come_through_a_bad_line_and_back_after_its_end(
    worker: WorkerProcess, line: BadLine, leg: str
) -> None:
    """One in ten packets is lost, in bursts; then all are until nothing comes any more."""
    web = worker.web
    web.desire(GRANTS, stage="site:a", floor=("site:a",))
    if leg == "publisher":
        page = await worker.receive("display")
        await line.start(page.peer.remoteDescription.sdp)
        await worker.publish("seat-a", "site:a", shade=60, tone_hz=400, line=line.describe)
    else:
        answered = await worker.publish("seat-a", "site:a", shade=60, tone_hz=400)
        await line.start(answered.sdp)
        page = await worker.receive("display", line=line.describe)
    await eventually(lambda: page.frames.get("stage") and page.frames.get("audio0"))
    await goes_on(page)

    def lost() -> bool:
        """Does the worker tell of it?"""
        if leg == "publisher":
            uplinks = web.last(messages.Lines)
            return uplinks is not None and uplinks.lines["site:a"].loss > 0
        downlinks = web.last(messages.Downlinks)
        downlink = downlinks and downlinks.downlinks.get(page.session)
        return bool(downlink and downlink.loss)

    line.change(delay_ms=20, loss=0.1, burst=4)
    await eventually(lost)
    await goes_on(page)
    line.change(loss=1)
    before = None
    while page.frames != before:
        before = dict(page.frames)
        await asyncio.sleep(0.4)
    line.change(loss=0)
    await goes_on(page)
