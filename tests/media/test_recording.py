"""The recorder is fed what the stage shows and the floor says, and nothing else."""

from __future__ import annotations

import time
from typing import Any

from server.media import messages, rtcp, rtp
from tests.media.harness import Recorder, WorkerProcess, eventually
from tests.media.raw import PARAMETERS, Make

GRANTS = {
    f"seat-{name}": messages.Grant(publish=(f"site:{name}", f"site:{name}:screen"))
    for name in "abc"
}
RECORDING = messages.Recording("r1", "/nowhere", 0, "Hội nghị")


def told(recorder: Recorder) -> list[Any]:
    """What the recorder heard of this recording: others' that nobody confirmed are told again."""
    mine = (RECORDING, RECORDING.id)
    return [message for message in recorder.received if message.recording in mine]


async def test_the_recorder_follows_stage_floor_and_presentation(
    worker: WorkerProcess, raw: Make
) -> None:
    web, recorder = worker.web, worker.recorder
    a, b, screen = raw(), raw(), raw()
    on_air = {"stage": "site:a", "floor": ("site:b",), "recording": RECORDING}
    web.desire(GRANTS, **on_air)
    await a.publish(worker, "seat-a", "site:a")
    await b.publish(worker, "seat-b", "site:b")
    await screen.publish(worker, "seat-a", "site:a:screen")

    def media() -> set[tuple[str, str]]:
        return {(m.source, m.codec) for m in recorder.media(RECORDING.id)}

    # What comes before the recorder is there is not kept for it.
    await eventually(lambda: any(isinstance(m, messages.Record) for m in told(recorder)))
    count = 0
    for peer in (a, b, screen):
        count = await peer.pump(3)
    await eventually(lambda: media() == {("site:a", "H264"), ("site:b", "opus")})
    begin = told(recorder)
    assert begin[0] == messages.Record(RECORDING)
    assert {(m.track, m.source) for m in begin if isinstance(m, messages.Show)} == {
        ("stage", "site:a"),
        ("presentation", None),
    }
    picture = next(m for m in recorder.media(RECORDING.id) if m.codec == "H264")
    header = rtp.parse(picture.packets[0])
    assert header is not None and header.ssrc == a.video_ssrc
    assert picture.packets[0][header.payload_start : header.payload_end] == PARAMETERS
    assert (picture.sequence_shift, picture.timestamp_shift, picture.ssrc) == (0, 0, 0)
    assert abs(picture.at_us - time.time_ns() // 1000) < 10_000_000

    # A cut: the next source is asked for a keyframe at once.
    b.reports.clear()
    web.desire(GRANTS, **{**on_air, "stage": "site:b", "presentation": "site:a:screen"})
    await eventually(lambda: b.items(rtcp.KeyframeRequest))
    show = [m for m in told(recorder) if isinstance(m, messages.Show)][2:]
    assert [(m.track, m.source) for m in show] == [
        ("stage", "site:b"),
        ("presentation", "site:a:screen"),
    ]
    recorder.received.clear()
    for peer in (b, screen):
        await peer.pump(3, start=count)
    await eventually(
        lambda: {("site:b", "H264"), ("site:b", "opus"), ("site:a:screen", "H264")} == media()
    )

    recorder.say(messages.Keyframe("site:b", "r1"))
    b.reports.clear()
    await eventually(lambda: b.items(rtcp.KeyframeRequest))
    recorder.say(messages.Recorded("r1", "recording", 1000))
    await eventually(lambda: web.last(messages.Recorded))

    # The recorder dies and comes back: it is told everything again.
    await recorder.stop()
    recorder.received.clear()
    worker.recorder_path.unlink(missing_ok=True)
    await recorder.start(worker.recorder_path)
    await eventually(lambda: len(told(recorder)) >= 3)
    again = told(recorder)[0]
    assert isinstance(again, messages.Record) and again.recording == RECORDING
    newest_us = max(m.at_us for m in recorder.media(RECORDING.id))
    assert again.until_us == newest_us > 0, "what the first one may have lost comes again"
    assert {(m.track, m.source) for m in told(recorder) if isinstance(m, messages.Show)} == {
        ("stage", "site:b"),
        ("presentation", "site:a:screen"),
    }

    web.desire(GRANTS, **{**on_air, "recording": None})
    await eventually(lambda: any(isinstance(m, messages.Finish) for m in told(recorder)))
    recorder.received.clear()
    await b.pump(3, start=2 * count)
    assert media() == set()
