"""Two media workers: conferences are spread over them, and a killed one's go on at once on the other.

Real processes; the rooms are aiortc peers that do what a page does when it is told ``media_ready``.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from server.permissions import Role
from server.placement import Placement
from server.simulation.client import Refused, SeatClient
from tests.hardening.conference import LUMA, Made, make_conference
from tests.media.harness import Grey, Page, prefer
from tests.recorder.publisher import replay, spans
from tests.test_supervisor import Running, until

pytestmark = pytest.mark.long

PATIENCE_S = 60.0


def test_a_new_conference_goes_to_the_least_loaded() -> None:
    placement = Placement(2)
    assert (placement.rose(0), placement.rose(1)) == ([], [])
    assert [placement.place(slug, 10) for slug in ("a", "b", "c")] == [0, 1, 0]
    placement.loaded(0, 0.05)
    placement.loaded(1, 0.62)
    assert placement.place("d", 10) == 0, "by what a worker has to do, before the number of seats"
    assert placement.place("a", 500) == 0, "one that lives somewhere stays"
    placement.leave("d")
    assert placement.of("d") is None


def test_conferences_move_to_workers_that_live() -> None:
    placement = Placement(3)
    for worker in range(3):
        placement.rose(worker)
    assert [placement.place(slug, 1) for slug in "abcd"] == [0, 1, 2, 0]
    assert placement.fell(0) == ["a", "d"]
    assert {placement.of("a"), placement.of("d")} == {1, 2}, "spread over those left"
    assert placement.rose(0) == [], "nothing moves back"
    assert placement.place("e", 1) == 0
    placement.fell(0)
    placement.fell(1)
    assert placement.fell(2) == [], "nobody is left"
    assert set(placement.rose(1)) == {slug for slug in "abcde" if placement.of(slug) == 1}


def test_workers_that_have_not_come_yet_keep_what_was_meant_for_them() -> None:
    placement = Placement(2)
    assert [placement.place(slug, 1) for slug in "ab"] == [0, 1], "nobody is there yet"
    assert placement.rose(1) == []
    assert [placement.of(slug) for slug in "ab"] == [0, 1]
    assert placement.carried("b", 1)
    assert not placement.carried("a", 1), "and a worker lets go of what lives elsewhere"


class Two:
    """A server with two workers and a live conference on each."""

    def __init__(self, running: Running, made: list[Made]) -> None:
        self.running, self.made = running, made


@pytest.fixture
def two(tmp_path: Path, sqlite_template: Path) -> Iterator[Two]:
    path = tmp_path / "diemcau.sqlite3"
    shutil.copy(sqlite_template, path)
    made = [asyncio.run(make_conference(f"sqlite:///{path}", 1)) for _ in range(2)]
    running = Running(tmp_path, "--workers", "2")
    try:
        until(running.healthy)
        yield Two(running, made)
    finally:
        if running.process.poll() is None:
            running.stop()


class Room:
    """A site's page that publishes, and the desk's that receives; both rejoin when they are told."""

    def __init__(self, base: str, made: Made, codec: str = "H264") -> None:
        self.made, self._codec = made, codec
        self.operator, self.desk = SeatClient(base), SeatClient(base)
        self.page: Page | None = None
        self.joined = 0
        self._peers: list[RTCPeerConnection] = []
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        for client, role in ((self.operator, Role.OPERATOR), (self.desk, Role.MODERATOR)):
            await client.open(f"/join/{self.made.tokens[role]}", {})
            await client.connect()
        self._task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            self.desk.live.pop("media_ready", None)
            await self._join()
            self.joined += 1
            await until_true(lambda: "media_ready" in self.desk.live, 600)

    async def _join(self) -> None:
        while True:
            try:
                await self._leave()
                await self._publish()
                await self._receive()
                return
            except Refused:
                await asyncio.sleep(0.2)

    async def _publish(self) -> None:
        peer = self._peer()
        prefer(peer, peer.addTrack(Grey(LUMA)), self._codec)
        await peer.setLocalDescription(await peer.createOffer())
        offer = {"source": "camera", "sdp": peer.localDescription.sdp}
        answer = await self.operator.send("media.publish", offer)
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))

    async def _receive(self) -> None:
        offered = await self.desk.send("media.receive", {"wall": 1})
        page = Page(self._peer(), offered["session"])
        await page.answer(offered["sdp"])
        answer = {"session": page.session, "sdp": page.peer.localDescription.sdp}
        await self.desk.send("media.accept", answer)
        self.page = page

    def _peer(self) -> RTCPeerConnection:
        config = RTCConfiguration(bundlePolicy=RTCBundlePolicy.MAX_COMPAT)
        self._peers.append(RTCPeerConnection(config))
        return self._peers[-1]

    async def _leave(self) -> None:
        self.page = None
        await asyncio.gather(*(peer.close() for peer in self._peers))
        self._peers.clear()

    @property
    def shown(self) -> bool:
        return self.page is not None and abs(self.page.shade.get("stage", 0) - LUMA) < 8

    @property
    def port(self) -> int:
        """The media port of the worker that it receives from."""
        assert self.page is not None
        found = re.search(
            r"candidate:\S+ 1 udp \d+ \S+ (\d+)", self.page.peer.remoteDescription.sdp
        )
        assert found is not None
        return int(found[1])

    async def close(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await self._leave()
        await asyncio.gather(self.operator.close(), self.desk.close())


async def until_true(check: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    async with asyncio.timeout(patience_s):
        while not check():
            await asyncio.sleep(0.02)


async def both_shown(two: Two) -> tuple[list[Room], list[int]]:
    """A room of each conference with its stage, and the media ports of their workers."""
    rooms = [Room(two.running.base, made) for made in two.made]
    for room in rooms:
        await room.open()
    await until_true(lambda: all(room.shown for room in rooms))
    ports = [room.port for room in rooms]
    assert ports[0] != ports[1], "one conference on each worker"
    return rooms, ports


async def nothing_moves_back(moved: Room, port: int) -> None:
    """Now that the other worker is there again: a conference stays at the one with this port."""
    assert moved.page is not None
    page, frames = moved.page, moved.page.frames["stage"]
    await until_true(lambda: page.frames["stage"] > frames + 30)
    assert (moved.joined, moved.port, moved.page) == (2, port, page)


def worker_at(two: Two, port: int) -> str:
    """The name of the worker with this media port."""
    children = two.running.children().items()
    (name,) = (n for n, c in children if n[0:6] == "worker" and _holds(c["pid"], port))
    return name


async def test_a_killed_workers_conference_goes_on_elsewhere_at_once(two: Two) -> None:
    rooms, ports = await both_shown(two)
    moving, staying = rooms
    await until_true(lambda: (moving.desk.live.get("recording") or {}).get("duration_ms", 0) > 2000)

    killed = worker_at(two, ports[0])
    assert staying.page is not None
    undisturbed = staying.page
    os.kill(two.running.children()[killed]["pid"], signal.SIGKILL)
    await until_true(lambda: moving.joined > 1 and moving.shown)
    assert moving.port == ports[1], "on the other worker"
    frames = undisturbed.frames["stage"]
    await until_true(lambda: undisturbed.frames["stage"] > frames + 5)
    assert staying.joined == 1, "the other conference was not disturbed"

    await asyncio.to_thread(until, two.running.healthy)
    assert two.running.children()[killed]["restarts"] == 1, "the dead one was started again"
    await nothing_moves_back(moving, ports[1])

    await moving.desk.send("conference.move", {"to": "ended"})
    playlist = two.running.folder / "recordings" / moving.made.recording / "stage.m3u8"
    await until_true(lambda: playlist.read_text().endswith("#EXT-X-ENDLIST\n"))
    for room in rooms:
        await room.close()
    pieces = spans(playlist)
    for before, after in zip(pieces, pieces[1:], strict=False):
        assert (after[0], after[2]) == (before[1], before[3]), "no hole in the recording"
    result = replay(playlist)
    end_s = pieces[-1][1] / 90_000
    assert abs(result.luma_at(end_s - 1.5) - LUMA) < 8, "it went on with the room's picture"


async def test_a_worker_that_hangs_is_left_for_another(two: Two) -> None:
    """It has its sockets yet, and the kernel accepts for it, but it says nothing any more."""
    rooms, ports = await both_shown(two)
    moving, staying = rooms
    hung = two.running.children()[worker_at(two, ports[0])]["pid"]
    os.kill(hung, signal.SIGSTOP)
    try:
        await until_true(lambda: moving.joined > 1 and moving.shown)
        assert moving.port == ports[1] and staying.joined == 1
    finally:
        os.kill(hung, signal.SIGCONT)
    await asyncio.to_thread(until, two.running.healthy)
    await nothing_moves_back(moving, ports[1])
    assert moving.shown and staying.shown and staying.joined == 1
    for room in rooms:
        await room.close()


def _holds(pid: int, port: int) -> bool:
    """Does this process have the UDP socket of that port?"""
    inodes = set()
    for table in ("udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    links = (os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir())
    return any(link in inodes for link in links)
