"""Sound on its way from a publisher: what is missing is asked for, and comes in its own place."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
from aiortc.rtcdtlstransport import RTCCertificate

from server.media import messages, rtcp
from server.media.ice import IceLite
from server.media.output import BEHIND
from tests.media.harness import WorkerProcess, eventually
from tests.media.raw import Lossy, RawPeer

GRANTS = {
    "seat-a": messages.Grant(publish=("site:a",), receive=True, own="site:a"),
    "display": messages.Grant(receive=True),
}


class Overheard(Lossy):
    """Keeps what comes as it comes, before SRTP drops what it has had already."""

    def __init__(self, ice: IceLite, certificate: RTCCertificate) -> None:
        super().__init__(ice, certificate)
        self.came: list[bytes] = []

    def handle_srtp(self, data: memoryview, now_s: float) -> bool:
        """From the line."""
        self.came.append(bytes(data))
        return super().handle_srtp(data, now_s)


class Speaker(RawPeer):
    """Offers to repeat its sound, as our pages do."""

    def offer(
        self, direction: str = "sendonly", setup: str = "actpass", codec: str = "H264"
    ) -> str:
        """With NACK for Opus."""
        return super().offer(direction, setup, codec) + "a=rtcp-fb:109 nack\n"


@pytest.mark.parametrize("kind", [RawPeer, Speaker])
async def test_sound_that_is_missing_is_asked_for_where_that_was_offered(
    worker: WorkerProcess, raw: Callable[[], RawPeer], kind: type[RawPeer]
) -> None:
    worker.web.desire(GRANTS, floor=("site:a",))
    page, speaker = raw(), kind()
    answered = await speaker.publish(worker, "seat-a", "site:a")
    assert ("a=rtcp-fb:109 nack" in answered.sdp) == (kind is Speaker)
    await page.receive(worker, "display")
    for number in range(1, 200):
        speaker.send_audio(number, b"%d" % number)
        page.check()  # a session that says nothing ends
        await asyncio.sleep(0.02)
        if page.got("audio0"):
            break
    speaker.send_audio(number + 2, b"after the gap")
    if kind is Speaker:
        asked = (await eventually(lambda: speaker.items(rtcp.Nack)))[0]
        assert asked == rtcp.Nack(speaker.audio_ssrc, ((number + 1) & 0xFFFF,))
    else:
        await asyncio.sleep(0.2)
        assert not speaker.items(rtcp.Nack)
    speaker.send_audio(number + 1, b"the gap")
    await eventually(lambda: page.got("audio0")[-1][1] == b"the gap")
    (last, _), (late, _) = page.got("audio0")[-2:]
    assert (last.sequence - late.sequence) & 0xFFFF == 1, "in its own place"
    await speaker.close()


async def test_sound_goes_twice_to_whom_some_of_it_does_not_reach_and_no_more(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    worker.web.desire(GRANTS, floor=("site:a",))
    speaker, page = raw(), RawPeer(Overheard)
    await speaker.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")

    number = 0
    while not page.got("audio0"):
        number += 1
        speaker.send_audio(number, b"before")
        await asyncio.sleep(0.02)
    ssrc, highest = page.slots["audio0"], page.got("audio0")[-1][0].sequence
    for lost, expected in ((0, 0), (3, 50)):
        block = rtcp.ReportBlock(ssrc, 0, lost, highest + expected, 0, 0, 0)
        page.peer.send_rtcp(rtcp.receiver_report(1, [block], "page"))
    await asyncio.sleep(0.3)
    for i in range(1, 31):
        speaker.send_audio(number + i, b"%d" % i)
        await asyncio.sleep(0.02)
    await eventually(lambda: page.got("audio0")[-1][1] == b"30")
    copies = Counter(data for data in page.peer.came if data[8:12] == ssrc.to_bytes(4))
    assert list(copies.values())[-30:] == [2] * (30 - BEHIND) + [1] * BEHIND
    await page.close()


async def test_silence_of_which_hardly_anything_is_sent_is_no_loss_and_no_speech(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    """Opus' DTX (RFC 7587, 3.1.3): sequence numbers go on, time stamps jump."""
    web = worker.web
    web.desire(GRANTS, floor=("site:a",))
    page, speaker = raw(), Speaker()
    await speaker.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    sent = [0]
    """time stamps by number"""

    async def say(packets: int, level: int, every_ms: int = 20) -> None:
        for _ in range(packets):
            sent.append(sent[-1] + 48 * every_ms)
            number = len(sent) - 1
            speaker.send_audio(number, b"%d" % number, level, timestamp=sent[-1])
            page.check()  # a session that says nothing ends
            await asyncio.sleep(every_ms / 1000)

    def spoken() -> list[tuple[str, ...]]:
        return [m.sources for m in web.received if isinstance(m, messages.Speaking)]

    while not page.got("audio0"):
        await say(1, level=20)
    await say(20, level=20)
    await eventually(lambda: spoken() == [("site:a",)])
    await say(6, level=80, every_ms=400)
    await eventually(lambda: spoken()[1:] == [()])
    await say(30, level=20)
    await eventually(lambda: spoken()[2:] == [("site:a",)])

    heard = [(header, int(payload)) for header, payload in page.got("audio0")]
    assert [number for _, number in heard] == list(range(heard[0][1], len(sent)))
    assert len({(header.sequence - number) & 0xFFFF for header, number in heard}) == 1
    assert len({(header.timestamp - sent[number]) & 0xFFFFFFFF for header, number in heard}) == 1
    assert not speaker.items(rtcp.Nack)
    assert {block.lost for block in speaker.items(rtcp.ReportBlock)} == {0}
    lines = [
        line for m in web.received if isinstance(m, messages.Lines) for line in m.lines.values()
    ]
    assert {line.loss for line in lines} == {0}
    assert [publication.heard for publication in web.published()] == [True]
    await speaker.close()
