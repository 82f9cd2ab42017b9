"""Sound on its way from a publisher: what is missing is asked for, and comes in its own place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from server.media import messages, rtcp
from tests.media.harness import WorkerProcess, eventually
from tests.media.raw import RawPeer

GRANTS = {
    "seat-a": messages.Grant(publish=("site:a",), receive=True, own="site:a"),
    "display": messages.Grant(receive=True),
}


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
