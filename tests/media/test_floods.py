"""Peers that have proven themselves and send too much: others notice nothing, memory stays bounded, the log
says who.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time

from server.media import messages, rtcp, stun
from server.media.binding import Path
from server.media.checks import BURST, PER_S
from server.media.limits import Asking
from server.media.uplink import EXCESS_S, MAX_BPS, MAX_PACKETS_PER_S
from tests.media.harness import SLUG, WorkerProcess, eventually
from tests.media.raw import SLICE, Make, RawPeer
from tests.media.test_replay import came

GRANTS = {
    "seat-a": messages.Grant(publish=("site:a",), receive=True, own="site:a"),
    "seat-b": messages.Grant(publish=("site:b",), receive=True, own="site:b"),
    "display": messages.Grant(receive=True),
    "greedy": messages.Grant(receive=True),
}


class Room:
    """A site on stage that a page sees, and one more peer."""

    def __init__(self, worker: WorkerProcess, raw: Make) -> None:
        self.worker = worker
        self.site, self.page, self.other = raw(), raw(), raw()
        self.number = 0
        self.before_kb = 0

    async def open(self) -> None:
        """The two good ones are there."""
        self.worker.web.desire(GRANTS, stage="site:a", floor=("site:a",))
        await self.site.publish(self.worker, "seat-a", "site:a")
        await self.page.receive(self.worker, "display")

    async def turn(self, count: int = 1) -> None:
        """So many pictures; each peer checks its line now and then."""
        self.before_kb = self.before_kb or self.worker.process.memory_kb()
        if self.number % 10 == 0:
            for peer in (self.site, self.page, self.other):
                peer.check()
        self.number = await self.site.pump(count, start=self.number)

    async def undisturbed(self) -> None:
        """All pictures came, and the site's page was asked for no more keyframes than at its beginning."""
        await eventually(lambda: len(self.page.got("stage")) == 2 * self.number)
        assert len(self.site.items(rtcp.KeyframeRequest)) <= 3
        assert self.worker.process.memory_kb() - self.before_kb < 8_000


async def test_who_sends_far_more_than_it_may_is_dropped_told_of_and_cut_off(
    worker: WorkerProcess, raw: Make
) -> None:
    room = Room(worker, raw)
    await room.open()
    await room.other.publish(worker, "seat-b", "site:b")
    begin_s, sent, size = time.monotonic(), 0, 1200
    while (closed := worker.web.last(messages.Closed)) is None:
        # As much as is due, but no burst that would overflow the kernel's buffer, which is everybody's.
        due = round((time.monotonic() - begin_s) * 2.5 * MAX_BPS / 8 / size)
        for _ in range(min(200, due - sent)):
            room.other.send_video(sent, 3000 * sent, SLICE + bytes(size - 20))
            sent += 1
        await room.turn()
    assert (closed.holder, closed.reason) == ("seat-b", "excess")
    assert time.monotonic() - begin_s > EXCESS_S
    log = worker.process.logged("source=site:b holder=seat-b")
    assert "sends too much" in log and "cut off" in log
    await room.undisturbed()


async def test_a_publishers_reports_count_as_what_it_sends(
    worker: WorkerProcess, raw: Make
) -> None:
    room = Room(worker, raw)
    await room.open()
    await room.other.publish(worker, "seat-b", "site:b")
    told = "sends too much: source=site:b holder=seat-b"
    before = worker.process.logged(told).count(told)
    report = rtcp.sender_report(room.other.video_ssrc, 1 << 40, 5, 6, 7, "x")
    async with asyncio.timeout(60):
        while worker.process.logged(told).count(told) == before:
            for _ in range(MAX_PACKETS_PER_S // 10):
                room.other.peer.send_rtcp(report)
            await room.turn()
    await room.undisturbed()


def everything(ssrc: int) -> bytes:
    """A NACK of 4,930 numbers, as large as a packet may be."""
    entries = b"".join(struct.pack("!HH", 17 * i, 0xFFFF) for i in range(290))
    return rtcp.packet(rtcp.NACK, rtcp.TRANSPORT_FEEDBACK, struct.pack("!II", 1, ssrc) + entries)


async def test_who_asks_for_far_too_much_is_not_read_and_others_are(
    worker: WorkerProcess, raw: Make
) -> None:
    """Reading is work: 2,000 such packets a second took all of a core."""
    room = Room(worker, raw)
    await room.open()
    greedy = room.other
    await greedy.receive(worker, "greedy")
    found = came(greedy)
    await room.turn(30)
    await eventually(lambda: len(greedy.got("stage")) >= 50)
    numbers = [header.sequence for header, _ in greedy.got("stage")][-20:]
    for number in numbers:
        for _ in range(3):
            greedy.peer.send_rtcp(everything(0xDEAD))
        greedy.peer.send_rtcp(rtcp.nack(1, greedy.slots["stage"], [number]))
    await room.turn(3)
    await room.undisturbed()

    def answered() -> list[int]:
        return [n for n in numbers if found(greedy.slots["stage"], n) > 1]

    assert len(answered()) <= 6, "at the beginning of a window at most"
    assert "holder=greedy" in worker.process.logged("asks too much")
    before = len(answered())
    async with asyncio.timeout(60):
        while len(answered()) == before:  # who asks for less is heard again
            greedy.peer.send_rtcp(rtcp.nack(1, greedy.slots["stage"], numbers))
            await asyncio.sleep(Asking.WINDOW_S / 20)
            await room.turn()


async def test_who_only_receives_and_sends_media_is_told_of(
    worker: WorkerProcess, raw: Make
) -> None:
    room = Room(worker, raw)
    await room.open()
    await room.other.receive(worker, "greedy")
    before = worker.process.logged("asks too much").count("holder=greedy")
    number = 0
    async with asyncio.timeout(60):
        while worker.process.logged("asks too much").count("holder=greedy") == before:
            for _ in range(100):
                room.other.send_video(number, 3000 * number, bytes(1000))
                number += 1
            await room.turn()
    await room.undisturbed()


class Elsewhere(RawPeer):
    """At an address of its own, by which the log tells it apart; keeps what its checks are answered."""

    host = "127.0.0.2"

    def __init__(self) -> None:
        super().__init__()
        self.answers = 0
        self.ice.checks.take = self._answered  # type: ignore[method-assign]

    def _answered(self, data: bytes, path: Path, now_s: float) -> None:
        self.answers += data[:2] == stun.BINDING_SUCCESS.to_bytes(2)


async def test_who_checks_its_line_without_end_is_answered_as_often_as_it_needs(
    worker: WorkerProcess, raw: Make
) -> None:
    """A valid check is dear: 10,000 a second took half of a core."""
    room = Room(worker, raw)
    room.other = flooder = Elsewhere()
    await room.open()
    await flooder.publish(worker, "seat-b", "site:b")
    told = "refused kind=check-flood from=127.0.0.2"
    began_s, sent, before = time.monotonic(), 0, worker.process.logged(told)
    async with asyncio.timeout(60):
        while f"{SLUG}/seat-b" not in worker.process.logged(told).removeprefix(before):
            for _ in range(300):
                flooder.check()
            sent += 300
            await room.turn()
    await room.undisturbed()
    assert flooder.answers <= BURST + PER_S * (time.monotonic() - began_s) < sent
    answered = flooder.answers
    async with asyncio.timeout(60):
        while flooder.answers == answered:  # who goes on as others do is answered again
            flooder.check()
            await asyncio.sleep(0.1)
    assert worker.web.last(messages.Closed) is None
    await flooder.close()


async def test_a_check_that_was_watched_and_is_sent_without_end_keeps_nobody_from_staying_or_moving(
    worker: WorkerProcess, raw: Make
) -> None:
    site, page = Elsewhere(), raw()
    worker.web.desire(GRANTS, stage="site:a")
    await site.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    await site.pump(5)  # its path is in use: no check elsewhere takes it away
    watched = site.check()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as moved,
    ):
        stranger.setblocking(False)

        async def flood() -> int:
            """Until no more of it is answered; how much was."""
            found = before = 0
            while True:
                for _ in range(BURST):
                    stranger.sendto(watched, site.server)
                await asyncio.sleep(0.05)
                with contextlib.suppress(BlockingIOError):
                    while stranger.recv(2000):
                        found += 1
                if found - before < BURST // 2:
                    return found
                before = found

        await flood()
        for _ in range(20):
            answered = site.answers
            site.check()
            await eventually(lambda so_far=answered: site.answers > so_far)
            stranger.sendto(watched, site.server)
        restarted = await worker.web.ask(
            messages.Restart, session=site.session, holder="seat-a", sdp=site.offer()
        )
        site.read(restarted.sdp)
        site.check(sock=moved)
        moved.settimeout(60)
        assert await asyncio.to_thread(moved.recv, 2000), "an answer, to the new address"
    await site.pump(5, start=5)
    await eventually(lambda: len(page.got("stage")) == 20)
    await site.close()
