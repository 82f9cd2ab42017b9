"""Publishers as browsers and encoders describe themselves: their offers, and layers of real sizes."""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from server.media import messages, resolution, rtcp, rtp, rtx
from tests.media.harness import WorkerProcess, eventually
from tests.media.raw import SLICE, RawPeer
from tests.media.test_pictures import parameters

PACKETS = Path(__file__).parent.parent / "packets"
GRANTS = {
    "seat-a": messages.Grant(publish=("site:a",), receive=True, own="site:a"),
    "display": messages.Grant(receive=True),
}


class Captured(RawPeer):
    """Sends as one would of which there is an offer."""

    captured: str
    number = 0

    def offer(self, *_: str) -> str:
        """The captured one, with this peer's credentials."""
        text = (PACKETS / self.captured).read_text()
        binding = self.peer.binding
        for name, value in (
            ("ice-ufrag", binding.ufrag),
            ("ice-pwd", binding.password),
            ("fingerprint", self.fingerprint),
        ):
            text = re.sub(f"^a={name}:.*$", f"a={name}:{value}", text, flags=re.MULTILINE)
        return text


class Browser(Captured):
    """Three layers, all keyframes."""

    codec: str
    ssrcs: tuple[int, ...]
    heights_px = (176, 352, 720)
    """of the layers, in the order of their RIDs"""
    stopped: int | None = None
    """the layer that its line, or its processor, has no room for"""

    def picture(self, place: int) -> bytes:
        """What tells a layer's size."""
        raise NotImplementedError

    def send(self, place: int) -> None:
        """A picture of one layer."""
        raise NotImplementedError

    async def film(self) -> None:
        """All layers but the one that stopped, 20 pictures a second."""
        while True:
            for place in {0, 1, 2} - {self.stopped}:
                self.send(place)
            self.number += 1
            await asyncio.sleep(0.05)


class Firefox(Browser):
    """VP8; its SSRCs are announced, and no packet bears a RID."""

    captured, codec = "firefox-simulcast-offer.sdp", "VP8"
    ssrcs = (1974974185, 2153312418, 994271080)
    repairing = (2414480311, 1479023369, 2359645352)

    def picture(self, place: int) -> bytes:
        """The head of a keyframe (RFC 6386, 9.1)."""
        sizes = struct.pack("<HH", 2 * self.heights_px[place], self.heights_px[place])
        return bytes.fromhex("10 d0a000 9d012a") + sizes

    def send(self, place: int) -> None:
        """Told apart by SSRC."""
        timestamp = 4500 * self.number
        self._send(120, self.number, timestamp, self.ssrcs[place], self.picture(place), b"")

    def repeat(self, place: int, sequence: int) -> None:
        """By RTX, in the stream that was announced for it."""
        body = rtx.payload(sequence, self.picture(place))
        self._send(124, 1, 4500 * sequence, self.repairing[place], body, b"")


class LargestFirst(Firefox):
    """A page may name its layers in any order."""

    heights_px = (720, 352, 176)


class Chromium(Browser):
    """H.264; its SSRCs are made known by the RIDs of packets."""

    captured, codec = "chromium-simulcast-offer.sdp", "H264"
    ssrcs = (10, 11, 12)
    payload_type, extension, rids = 108, 10, b"lmh"
    allocation, allocated = 9, b""
    """the extension by which it tells which layers it sends, and what it tells"""
    fading: int | None = None
    """the layer of which no keyframe comes"""

    def picture(self, place: int) -> bytes:
        """A parameter set."""
        return parameters(2 * self.heights_px[place], self.heights_px[place])

    def send(self, place: int) -> None:
        """With its RID."""
        elements = [(self.extension, self.rids[place : place + 1])]
        if self.allocated and place != self.fading:
            elements.append((self.allocation, self.allocated))
        block = rtp.extension_block(elements)
        kind, timestamp = self.payload_type, 4500 * self.number
        picture = SLICE if place == self.fading else self.picture(place)
        self._send(kind, self.number, timestamp, self.ssrcs[place], picture, block)


class ObsLayers(Chromium):
    """OBS 32.2.2 with three layers, the largest first."""

    captured = "obs-simulcast-offer.sdp"
    payload_type, extension, rids = 96, 2, b"012"
    heights_px = (720, 352, 176)


class Encoder(Captured):
    """One picture and one sound, without header extensions: told apart by what was announced."""

    video: tuple[int, int]
    """payload type and SSRC"""
    audio: tuple[int, int]
    missing = 3
    """a picture that is lost first, and asked for"""

    def picture(self, number: int) -> bytes:
        """One of a packet, a keyframe; the number makes it known."""
        return parameters(1280, 720) + number.to_bytes(2, "big")

    def send(self, number: int) -> None:
        """A picture."""
        kind, ssrc = self.video
        self._send(kind, number, 3600 * number, ssrc, self.picture(number), b"")

    def speak(self, number: int) -> None:
        """A packet of sound."""
        kind, ssrc = self.audio
        self._send(kind, number, 960 * number, ssrc, b"sound", b"", marker=False)

    def repeat(self, number: int) -> None:
        """A picture, as it was."""
        self.send(number)


class Ffmpeg(Encoder):
    """FFmpeg 9.0.2: the DTLS server; the SSRC of its retransmissions is in a group alone."""

    captured = "ffmpeg-offer.sdp"
    video, audio, repairing = (106, 1546506756), (111, 1546506755), (105, 1546506757)

    def repeat(self, number: int) -> None:
        """By RTX."""
        body = rtx.payload(number, self.picture(number))
        self._send(self.repairing[0], 1, 3600 * number, self.repairing[1], body, b"")


class Obs(Encoder):
    """OBS 32.2.2 (libdatachannel 0.24.5): asks for RIDs though it has one layer."""

    captured = "obs-offer.sdp"
    video, audio = (96, 136253112), (111, 136253111)


class Gstreamer(Encoder):
    """GStreamer 1.28.8 (simple-whip-client): offers no NACK, and its sound at port 0, ``bundle-only``."""

    captured = "gstreamer-offer.sdp"
    video, audio = (96, 2119649406), (100, 4141843446)
    missing = 0


@pytest.mark.parametrize("kind", [Ffmpeg, Obs, Gstreamer])
async def test_what_an_encoder_offers_is_seen_and_heard(
    worker: WorkerProcess, raw: Callable[[], RawPeer], kind: type[Encoder]
) -> None:
    worker.web.desire(GRANTS, stage="site:a", floor=("site:a",))
    encoder, page = kind(), raw()
    await encoder.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    for number in {1, 2, 3, 4} - {encoder.missing}:
        encoder.send(number)
        encoder.speak(number)
    if encoder.missing:
        nack = (await eventually(lambda: encoder.items(rtcp.Nack)))[0]
        assert nack == rtcp.Nack(encoder.video[1], (encoder.missing,))
        encoder.repeat(encoder.missing)
    pictures = {encoder.picture(number) for number in (1, 2, 3, 4)}
    await eventually(lambda: {payload for _, payload in page.got("stage")} == pictures)
    sounds = [mid for mid in page.slots if mid.startswith("audio")]
    await eventually(lambda: any(page.got(mid) for mid in sounds))
    await encoder.close()


@pytest.mark.parametrize("kind", [Firefox, LargestFirst, Chromium, ObsLayers])
async def test_each_slot_gets_the_layer_that_fits(
    worker: WorkerProcess, raw: Callable[[], RawPeer], kind: type[Browser]
) -> None:
    worker.web.desire(GRANTS, stage="site:a", wall=("site:a",))
    camera, page = kind(), raw()
    await camera.publish(worker, "seat-a", "site:a")
    filming = asyncio.create_task(camera.film())
    await page.receive(worker, "display", wall=1)

    def height(mid: str) -> int:
        page.check()  # a session that says nothing ends
        size = resolution.size(kind.codec, page.got(mid)[-1][1]) if page.got(mid) else None
        return size[1] if size is not None else 0

    await eventually(lambda: (height("stage"), height("wall0")) == (720, 176))
    for shown_px, height_px in ((400, 352), (180, 176), (1080, 720)):
        await worker.web.ask(
            messages.View, session=page.session, holder="display",
            heights_px={"stage": shown_px, "wall0": 400},
        )  # fmt: skip
        await eventually(lambda: (height("stage"), height("wall0")) == (height_px, 352))
    numbers = [header.sequence for header, _ in page.got("stage")]
    assert [(n - numbers[0]) & 0xFFFF for n in numbers] == list(range(len(numbers)))
    filming.cancel()
    await camera.close()


async def _on_stage(
    worker: WorkerProcess, raw: Callable[[], RawPeer], stopped: int | None = None
) -> tuple[Chromium, RawPeer, asyncio.Task[None]]:
    """A camera that films (without the layer that is ``stopped``), who shows it, and the filming, which is
    to be cancelled."""
    worker.web.desire(GRANTS, stage="site:a")
    camera, page = Chromium(), raw()
    camera.stopped = stopped
    await camera.publish(worker, "seat-a", "site:a")
    filming = asyncio.create_task(camera.film())
    await page.receive(worker, "display")
    return camera, page, filming


async def test_a_smaller_layer_that_bridges_the_wait_does_not_stay(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    """However little the slot is larger than what that layer would be worth."""
    camera, page, filming = await _on_stage(worker, raw, stopped=2)
    await worker.web.ask(
        messages.View, session=page.session, holder="display", heights_px={"stage": 600}
    )

    def height() -> int:
        page.check()
        size = resolution.size("H264", page.got("stage")[-1][1]) if page.got("stage") else None
        return size[1] if size is not None else 0

    await eventually(lambda: height() == 352)
    await asyncio.sleep(1.0)  # it is chosen anew twice a second
    camera.stopped = None
    await eventually(lambda: height() == 720)
    filming.cancel()
    await camera.close()


async def test_what_is_told_of_a_slot_is_what_flows(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    """The publisher's line may carry less than the receiver's."""
    camera, page, filming = await _on_stage(worker, raw, stopped=2)

    def told() -> tuple[int, int, str]:
        page.check()
        latest = worker.web.last(messages.Downlinks)
        slot = latest.downlinks[page.session].slots.get("stage") if latest else None
        return (slot.height_px, slot.worth_px, slot.reason) if slot else (0, 0, "")

    await eventually(lambda: told() == (352, 720, "publisher"))
    filming.cancel()
    await camera.close()


async def test_a_layer_is_left_when_its_publisher_says_so_and_not_only_when_it_is_silent(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    camera, page, filming = await _on_stage(worker, raw)

    def shown() -> bytes:
        page.check()
        return page.got("stage")[-1][1] if page.got("stage") else b""

    await eventually(lambda: shown() == camera.picture(2))
    # All three with sizes do not fit one byte of length; two do. What is late of the largest comes yet.
    camera.allocated, camera.fading = bytes.fromhex("11 00 9601 f403 013f00b30f 027f01670f"), 2
    await eventually(lambda: shown() == camera.picture(1))
    camera.allocated, camera.fading = b"", None
    await eventually(lambda: shown() == camera.picture(2))  # it begins again
    camera.allocated, camera.fading = bytes.fromhex("01 00 9601"), 2
    await eventually(lambda: shown() == camera.picture(0))
    camera.allocated = bytes.fromhex("21 00 9601 f403 dc0b")
    await eventually(lambda: camera.items(rtcp.KeyframeRequest))
    camera.fading = None
    await eventually(lambda: shown() == camera.picture(2))
    filming.cancel()
    await camera.close()


async def test_the_next_layer_is_sent_again_where_the_largest_does_not_come(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    camera, page, filming = await _on_stage(worker, raw)

    def wanted(*rids: str) -> bool:
        page.check()
        told = worker.web.last(messages.Layers)
        return told is not None and told.rids == rids

    await eventually(lambda: wanted("l", "h"))  # nobody receives the other one
    camera.stopped = 2
    await eventually(lambda: wanted("l", "m", "h"))
    filming.cancel()
    await camera.close()


async def test_what_is_lost_comes_again_in_the_stream_that_was_announced_for_it(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    worker.web.desire(GRANTS, stage="site:a")
    camera, page = Firefox(), raw()
    await camera.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    for number in (1, 2, 4):
        camera.number = number
        camera.send(1)
    nack = (await eventually(lambda: camera.items(rtcp.Nack)))[0]
    assert nack == rtcp.Nack(camera.ssrcs[1], (3,))
    camera.repeat(1, 3)
    await eventually(lambda: len(page.got("stage")) == 4)
    assert {payload for _, payload in page.got("stage")} == {camera.picture(1)}
    first = page.got("stage")[0][0].sequence
    assert sorted(h.sequence - first for h, _ in page.got("stage")) == [0, 1, 2, 3]
    await camera.close()
