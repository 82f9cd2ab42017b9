"""A room that sends VP8 (Firefox on a closed network) is seen in the recording.

A real server, worker, recorder and transcoder; the room is an aiortc peer.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.recorder import rtp, vp8
from server.recorder.transcoder import NICE
from server.recorder.transcoding import TranscodedSource
from tests.hardening.conference import LUMA, Made, make_conference
from tests.hardening.test_workers import Room, until_true
from tests.recorder.publisher import replay
from tests.test_supervisor import Running, until

pytestmark = pytest.mark.long

START, REST = b"\x10", b"\x00"
KEY, INTER = b"\x10abc", b"\x11abc"


def packet(payload: bytes, timestamp: int, *, marker: bool = True) -> rtp.Packet:
    return rtp.Packet(marker, 0, timestamp, 1, payload)


def frames(assembler: vp8.Assembler, *given: tuple[rtp.Packet, bool]) -> list[tuple[bytes, bool]]:
    return [(f.data, f.key) for p, lost in given for f in assembler.feed(p, 0, lost)]


def test_frames_are_put_together_and_begin_with_a_keyframe() -> None:
    assembler = vp8.Assembler()
    assert frames(assembler, (packet(START + INTER, 1), False)) == []
    first, second = packet(START + KEY, 2, marker=False), packet(REST + b"def", 2)
    assert frames(assembler, (first, False), (second, False)) == [(KEY + b"def", True)]
    assert frames(assembler, (packet(START + INTER, 3), False)) == [(INTER, False)]
    torn = packet(REST + b"def", 4)
    assert frames(assembler, (torn, True), (packet(START + INTER, 5), False)) == []
    assert assembler.waiting
    assert frames(assembler, (packet(b"", 6), False), (packet(START + KEY, 7), False)) == [
        (KEY, True)
    ]
    # Without a marker the next frame's first packet ends the one before it.
    unmarked = packet(START + INTER, 8, marker=False)
    assert frames(assembler, (unmarked, False), (packet(START + INTER, 9), False)) == [
        (INTER, False),
        (INTER, False),
    ]


@pytest.mark.parametrize(
    "descriptor",
    ["10", "9000", "908007", "90808007", "90c0800701", "90e080070120", "903020", "90f080070120"],
)
def test_descriptors_of_every_form_are_skipped(descriptor: str) -> None:
    head = bytes.fromhex(descriptor)
    assert vp8.descriptor_length(head + KEY) == len(head)
    with pytest.raises(ValueError, match="cut off"):
        vp8.descriptor_length(head)


def test_a_source_waits_where_no_process_can_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    source, opened = TranscodedSource(), len(os.listdir("/proc/self/fd"))
    source.push(packet(START + KEY, 1), 5_000_000)
    source.take(5_000_000)
    assert source.child is None and source.waiting
    assert len(os.listdir("/proc/self/fd")) == opened


@pytest.fixture
def served(tmp_path: Path, sqlite_template: Path) -> Iterator[tuple[Running, Made]]:
    path = tmp_path / "diemcau.sqlite3"
    shutil.copy(sqlite_template, path)
    made = asyncio.run(make_conference(f"sqlite:///{path}", 1))
    running = Running(tmp_path)
    try:
        until(running.healthy)
        yield running, made
    finally:
        if running.process.poll() is None:
            running.stop()


def transcoders(running: Running) -> list[int]:
    """The recorder's children."""
    pid = running.children()["recorder-0"]["pid"]
    tasks = Path(f"/proc/{pid}/task")
    return [int(n) for each in tasks.iterdir() for n in (each / "children").read_text().split()]


async def test_the_recording_shows_a_room_that_sends_vp8(served: tuple[Running, Made]) -> None:
    running, made = served
    room = Room(running.base, made, codec="VP8")
    await room.open()

    def recorded_s() -> float:
        return float((room.desk.live.get("recording") or {}).get("duration_ms", 0)) / 1000

    await until_true(lambda: room.shown and transcoders(running))
    (first,) = transcoders(running)
    await until_true(lambda: os.getpriority(os.PRIO_PROCESS, first) == NICE)
    seen_s = recorded_s() + 4
    await until_true(lambda: recorded_s() > seen_s)
    os.kill(first, signal.SIGKILL)
    killed_s = recorded_s()
    await until_true(lambda: transcoders(running) not in ([], [first]))
    again_s = recorded_s() + 4
    await until_true(lambda: recorded_s() > again_s)
    await room.desk.send("stage.show", {"source": None})
    await until_true(lambda: not transcoders(running))
    empty_s = recorded_s()
    await until_true(lambda: recorded_s() > empty_s + 1)
    await room.desk.send("conference.move", {"to": "ended"})
    playlist = running.folder / "recordings" / made.recording / "stage.m3u8"
    await until_true(lambda: playlist.read_text().endswith("#EXT-X-ENDLIST\n"))
    await room.close()

    result = replay(playlist)
    assert abs(result.luma_at(killed_s - 1) - LUMA) < 8, "the room's picture"
    assert abs(result.luma_at(again_s) - LUMA) < 8, "and again, by the next transcoder"
    assert result.luma_at(empty_s + 0.5) < 60, "the card, once nothing is on stage"
    shown = [p.time_s for p in result.pictures if killed_s - 3 < p.time_s < killed_s - 1]
    assert len(shown) >= 15, "it moves"
