"""Receivers of one layer who get it together, and what each of them counts as its own."""

from __future__ import annotations

import struct
from typing import cast

from server.media import messages, rtcp
from server.media.bursts import Burst
from server.media.fan import Fan
from server.media.sending import Lane
from tests.media.harness import WorkerProcess, eventually
from tests.media.packets import packet
from tests.media.raw import GRANTS, PARAMETERS, SLICE, Make, RawPeer


def _burst(*numbers: int) -> Burst:
    return Burst([packet(number, 3000 * number) for number in numbers])


def test_a_burst_is_taken_together_but_for_packets_from_before_somebody_came() -> None:
    fan = Fan()
    one, two = (cast(Lane, object()) for _ in range(2))
    assert fan.take(_burst(1), 1.0) is None, "nobody is there"
    fan.join("one", one, 10)
    fan.join("two", two, 12)
    lanes = fan.take(_burst(12, 13), 1.0)
    assert lanes is not None and lanes.lanes == (one, two)
    assert fan.take(_burst(11, 14), 2.0) is None, "11 is none of two's"
    fan.leave("two")
    fan.leave("two")
    lanes = fan.take(_burst(14, 11), 3.0)
    assert lanes is not None and lanes.lanes == (one,)
    lanes = fan.take(_burst(10), 4.0)
    assert lanes is not None
    tally = fan.tally
    assert (tally.packets, tally.octets, tally.number, tally.sent_at_s) == (5, 50, 14, 3.0)


async def test_each_receiver_has_its_own_numbers_repeats_and_reports(
    worker: WorkerProcess, raw: Make
) -> None:
    a, b = raw(), raw()
    pages = [raw() for _ in range(3)]
    worker.web.desire(GRANTS, stage="site:a")
    await a.publish(worker, "seat-a", "site:a")
    await b.publish(worker, "seat-b", "site:b")
    for page in pages:
        await page.receive(worker, "display", rtx=True)

    def stage(page: RawPeer) -> list[tuple[int, bytes]]:
        """(number, payload) from the first on, as sent."""
        got = page.got("stage")
        first = got[0][0].sequence if got else 0
        return [((h.sequence - first) & 0xFFFF, payload) for h, payload in got]

    def shown(page: RawPeer) -> str | None:
        """The source that a page was told to be on stage."""
        told = worker.web.last(messages.Slots, session=page.session)
        return told.slots["stage"] if told is not None else None

    async def send(peer: RawPeer, sequence: int, payload: bytes) -> None:
        before = [len(stage(page)) for page in pages]
        peer.send_video(sequence, 3000 * sequence, payload)
        await eventually(lambda: all(len(stage(p)) > n for p, n in zip(pages, before, strict=True)))

    await send(a, 5, PARAMETERS)
    for sequence in (6, 7, 9):
        await send(a, sequence, SLICE + b"%d" % sequence)
    await send(a, 8, SLICE + b"8")  # late
    expected = [(0, PARAMETERS), *((i, SLICE + b"%d" % (5 + i)) for i in range(1, 5))]
    for page in pages:
        assert sorted(stage(page)) == expected

    # One asks for a packet again, and gets it; nobody else does.
    def repeated(page: RawPeer) -> list[bytes]:
        return [p[h.payload_start :] for h, p in page.packets if h.ssrc not in page.slots.values()]

    number = pages[1].got("stage")[0][0].sequence + 4
    pages[1].peer.send_rtcp(rtcp.nack(1, pages[1].slots["stage"], [number]))
    await eventually(lambda: repeated(pages[1]))
    again = struct.pack("!H", number & 0xFFFF) + SLICE + b"9"
    assert [repeated(page) for page in pages] == [[], [again], []]

    # Another source takes the stage: numbers go on by one for each.
    worker.web.desire(GRANTS, stage="site:b")
    await eventually(lambda: not any(map(shown, pages)))  # it has sent nothing yet
    await send(b, 40, PARAMETERS)
    for sequence in range(41, 44):
        await send(b, sequence, SLICE + b"%d" % sequence)
    for page in pages:
        assert [number for number, _ in stage(page)][-4:] == [5, 6, 7, 8]

    def octets(page: RawPeer) -> int:
        return sum(len(payload) for payload in dict(stage(page)).values())

    # What each is told to have been sent is what came, without the repeat.
    def told(page: RawPeer) -> list[tuple[int, int]]:
        """(packets, octets) of the latest sender report on the stage."""
        found = []
        for report in page.reports:
            at = 0
            while at < len(report):
                kind, words, ssrc = struct.unpack_from("!xBHI", report, at)
                if kind == rtcp.SENDER_REPORT and ssrc == page.slots["stage"]:
                    found.append(struct.unpack_from("!II", report, at + 20))
                at += 4 + 4 * words
        return found[-1:]

    # After the publisher's own report a new one is due.
    b.peer.send_rtcp(rtcp.sender_report(b.video_ssrc, 1000 << 32, 0, 1, 1, "x"))
    await eventually(lambda: all(told(page) == [(9, octets(page))] for page in pages))
