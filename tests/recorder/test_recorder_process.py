"""The real process over its real socket: cuts, SIGKILL in the middle, a worker that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from server.media import messages
from tests.recorder.publisher import Camera, Tone, media, replay, spans

pytestmark = pytest.mark.long


class Worker:
    """Plays the media worker: sends what its publishers make, in real time, and hears reports."""

    def __init__(
        self, socket: Path, wanted: messages.Recording, *publishers: Camera | Tone
    ) -> None:
        self.socket, self.wanted, self.publishers = socket, wanted, list(publishers)
        self.reports: list[messages.Recorded] = []

    async def connect(self) -> None:
        reader, self.writer = await asyncio.open_unix_connection(self.socket)
        self.listening = asyncio.create_task(self._listen(reader))
        self.send(messages.Record(self.wanted))

    def send(self, message: object) -> None:
        if isinstance(message, messages.Media):
            message = messages.Packets(self.wanted.id, message.at_us, (message,))
        self.writer.write(messages.encode(message))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        decoder = messages.Decoder(messages.FromRecorder)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                for message in decoder.feed(data):
                    if isinstance(message, messages.Recorded):
                        self.reports.append(message)
                    for publisher in self.publishers:
                        if isinstance(message, messages.Keyframe) and isinstance(publisher, Camera):
                            publisher.keyframe |= publisher.source == message.source

    def show(self, source: str | None) -> None:
        self.send(messages.Show(self.wanted.id, "stage", source, now_us()))

    async def play(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for message in media(self.publishers, now_us()):
                self.send(message)
            await asyncio.sleep(0.02)

    async def heard(self, state: str, duration_ms: int = 0) -> None:
        """Play until a new report says so, however slow the machine is."""
        self.reports.clear()
        async with asyncio.timeout(60):
            while not self.reports or (
                self.reports[-1].state != state or self.reports[-1].duration_ms < duration_ms
            ):
                await self.play(0.05)

    async def finish(self) -> messages.Recorded:
        self.send(messages.Finish(self.wanted.id, now_us()))
        self.reports.clear()
        async with asyncio.timeout(60):
            while not self.reports or self.reports[-1].state == "recording":
                await asyncio.sleep(0.02)
        return self.reports[-1]

    async def close(self) -> None:
        self.writer.close()
        self.listening.cancel()


def now_us() -> int:
    return time.time_ns() // 1000


async def start(socket: Path) -> asyncio.subprocess.Process:
    arguments = ["-m", "server.recorder", "--listen", str(socket)]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_unix_connection(socket)
                writer.close()
                return process
            await asyncio.sleep(0.05)


@pytest.fixture
async def recorder(tmp_path: Path) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """The process in a list, so that a test may replace it."""
    processes = [await start(tmp_path / "recorder.sock")]
    yield processes
    for process in processes:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 60)


def worker(tmp_path: Path, name: str, *publishers: Camera | Tone) -> Worker:
    wanted = messages.Recording(name, str(tmp_path / name), now_us(), "Hội nghị trực tuyến")
    return Worker(tmp_path / "recorder.sock", wanted, *publishers)


async def test_killed_in_the_middle_it_lacks_at_most_a_second(
    tmp_path: Path, recorder: list[asyncio.subprocess.Process]
) -> None:
    camera, tone = Camera("site:one", 150, reorder=0.2), Tone("site:one", 600)
    bridge = worker(tmp_path, "killed", camera, tone)
    folder = tmp_path / "killed"
    await bridge.connect()
    bridge.show("site:one")
    await bridge.play(4)
    killed_s = (now_us() - bridge.wanted.zero_us) / 1e6
    recorder[0].send_signal(signal.SIGKILL)
    await recorder[0].wait()
    promised_ms = bridge.reports[-1].duration_ms
    await bridge.close()
    recorder.append(await start(tmp_path / "recorder.sock"))
    await bridge.connect()
    bridge.show("site:one")
    await bridge.heard("recording", (now_us() - bridge.wanted.zero_us) // 1000)
    await bridge.play(2)
    finished_s = (now_us() - bridge.wanted.zero_us) / 1e6
    ended = await bridge.finish()
    end_s = ended.duration_ms / 1000
    await bridge.close()
    assert ended.state == "ended" and abs(end_s - finished_s) < 0.5
    assert promised_ms / 1000 > killed_s - 4
    pieces = spans(folder / "stage.m3u8")
    for before, after in zip(pieces, pieces[1:], strict=False):
        assert (after[0], after[2]) == (before[1], before[3])
    assert abs(pieces[-1][1] / 90_000 - end_s) < 0.01
    result = replay(folder / "stage.m3u8")
    assert abs(result.luma_at(1.5) - 150) < 6
    assert abs(result.luma_at(end_s - 0.1) - 150) < 6
    assert result.energy(600, 1) > 4000 and result.energy(600, end_s - 0.3) > 4000
    missing = [p.time_s for p in result.pictures if p.luma < 60 and 1 < p.time_s]
    assert min(missing) > killed_s - 1, "all but the last second before the kill is there"


async def test_a_worker_comes_and_goes_and_talks_nonsense(
    tmp_path: Path, recorder: list[asyncio.subprocess.Process]
) -> None:
    camera = Camera("site:one", 90)
    bridge = worker(tmp_path, "steady", camera)
    await bridge.connect()
    bridge.show("site:one")
    await bridge.play(1.5)
    await bridge.close()
    dice = random.Random(3)
    for nonsense in (b"\xff\xff\xff\xff", b"\0\0\0\3abc", dice.randbytes(3000)):
        reader, writer = await asyncio.open_unix_connection(bridge.socket)
        writer.write(nonsense)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 60) == b"", "the connection ends"
        writer.close()
    await bridge.connect()
    for _ in range(300):
        rtp = dice.randbytes(dice.randrange(40))
        codec = dice.choice(["H264", "VP8", "opus", "?"])
        bridge.send(messages.Media("site:bad", codec, now_us(), (rtp,)))
    bridge.send(messages.Packets("unknown", now_us(), ()))
    bridge.send(messages.Show("steady", "nowhere", "site:one", now_us()))
    await bridge.play(1.5)
    ended = await bridge.finish()
    await bridge.close()
    assert ended.state == "ended" and recorder[0].returncode is None
    result = replay(tmp_path / "steady" / "stage.m3u8")
    assert abs(result.luma_at(ended.duration_ms / 1000 - 0.1) - 90) < 6
    timeline = json.loads((tmp_path / "steady" / "timeline.json").read_text())
    assert timeline["ended"] and timeline["duration_ms"] == ended.duration_ms


async def test_terminated_it_leaves_the_recording_to_go_on(
    tmp_path: Path, recorder: list[asyncio.subprocess.Process]
) -> None:
    bridge = worker(tmp_path, "paused")
    await bridge.connect()
    await bridge.heard("recording", 1000)
    recorder[0].terminate()
    assert await asyncio.wait_for(recorder[0].wait(), 60) == 0
    await bridge.close()
    assert not json.loads((tmp_path / "paused" / "timeline.json").read_text())["ended"]
    recorder.append(await start(tmp_path / "recorder.sock"))
    await bridge.connect()
    await bridge.play(0.5)
    assert (await bridge.finish()).state == "ended"
    await bridge.close()
    assert replay(tmp_path / "paused" / "stage.m3u8").luma_at(1) < 60


async def test_a_disk_that_refuses_is_reported(
    tmp_path: Path, recorder: list[asyncio.subprocess.Process]
) -> None:
    bridge = worker(tmp_path, "refused")
    (tmp_path / "refused").write_text("a file where the folder should be")
    await bridge.connect()
    await bridge.heard("failed")
    os.remove(tmp_path / "refused")
    await bridge.heard("recording")
    assert (await bridge.finish()).state == "ended"
    await bridge.close()


async def test_a_disk_that_is_full_for_a_while(
    tmp_path: Path, recorder: list[asyncio.subprocess.Process]
) -> None:
    """The limit of a file's size makes every write fail, as a full disk does."""
    camera, tone = Camera("site:one", 150), Tone("site:one", 600)
    bridge = worker(tmp_path, "full", camera, tone)
    await bridge.connect()
    bridge.show("site:one")
    await bridge.heard("recording", 1500)
    before = resource.prlimit(recorder[0].pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    await bridge.heard("failed")
    full_s = (now_us() - bridge.wanted.zero_us) / 1e6
    assert recorder[0].returncode is None
    resource.prlimit(recorder[0].pid, resource.RLIMIT_FSIZE, before)
    await bridge.heard("recording", int(1000 * full_s) + 1000)
    await bridge.heard("recording", (now_us() - bridge.wanted.zero_us) // 1000)
    ended = await bridge.finish()
    await bridge.close()
    playlist = tmp_path / "full" / "stage.m3u8"
    pieces = spans(playlist)
    for before_it, after in zip(pieces, pieces[1:], strict=False):
        assert (after[0], after[2]) == (before_it[1], before_it[3]), "no hole"
    result, end_s = replay(playlist), ended.duration_ms / 1000
    assert abs(result.luma_at(1) - 150) < 6 and result.energy(600, 0.8) > 4000
    assert result.luma_at(full_s) < 60, "the card stands where nothing was recorded"
    assert abs(result.luma_at(end_s - 0.1) - 150) < 6
    assert result.energy(600, end_s - 0.5) > 4000


async def test_what_was_to_end_while_nobody_listened_ends_at_that_moment(
    tmp_path: Path, recorder: list[asyncio.subprocess.Process]
) -> None:
    bridge = worker(tmp_path, "late")
    await bridge.connect()
    await bridge.heard("recording", 1000)
    end_us = now_us()
    recorder[0].kill()
    await recorder[0].wait()
    await bridge.close()
    await asyncio.sleep(2)  # nobody is there to hear of the end
    recorder.append(await start(tmp_path / "recorder.sock"))
    bridge.wanted = msgspec.structs.replace(bridge.wanted, end_us=end_us)
    await bridge.connect()
    await bridge.heard("ended")
    await bridge.close()
    lasted_ms = (end_us - bridge.wanted.zero_us) / 1000
    assert abs(bridge.reports[-1].duration_ms - lasted_ms) < 100, "no later"
    assert replay(tmp_path / "late" / "stage.m3u8").luma_at(0.5) < 60
