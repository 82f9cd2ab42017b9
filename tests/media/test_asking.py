"""What a publisher's line has lost is asked for at once, even before a later packet of its stream comes."""

from __future__ import annotations

import itertools

import pytest

from server.media import reading, rtcp, rtp
from server.media.publication import Publication
from server.media.reading import Arrival
from server.media.sequence import ECHO_S
from tests.media.camera import Camera, publication
from tests.media.harness import WorkerProcess, eventually
from tests.media.raw import GRANTS, PARAMETERS, SLICE

SOUND, SMALL, LARGE = 9, 10, 12
"""SSRCs"""


class Line:
    """What comes from a publisher, in the order of its transport-wide numbers but for what is lost."""

    def __init__(self, found: Publication, way: str) -> None:
        self._publication, self._way = found, way
        assert found.video is not None and found.audio is not None
        self.small, _, self.large = found.video.layers
        places = {SOUND: found.audio.layers[0], SMALL: self.small, LARGE: self.large}
        for ssrc, layer in places.items():
            assert found.streams.bind(layer, ssrc, 0.0)
        self._kinds = {SOUND: found.audio.payload_type, SMALL: 106, LARGE: 106}
        self._transport = 65_533

    def send(
        self, ssrc: int, number: int, now_s: float, *, marker: bool, lost: bool = False
    ) -> None:
        """One packet."""
        self._transport = (self._transport + 1) & 0xFFFF
        if lost:
            return
        block = rtp.extension_block([(3, self._transport.to_bytes(2, "big"))])
        data = rtp.head(
            padding=False, marker=marker, payload_type=self._kinds[ssrc], sequence=number,
            timestamp=0, ssrc=ssrc, block=block,
        ) + SLICE  # fmt: skip
        header = rtp.parse(data)
        assert header is not None
        if self._way == "plain":
            self._publication.peer.on_rtp(memoryview(data), now_s)
        else:
            arrival = Arrival(None, reading.MEDIA, True, 0, self._transport, -1, header)
            self._publication.peer.on_media(data, arrival, now_s)


@pytest.mark.parametrize("way", ["compiled", "plain"])
async def test_the_rest_of_a_picture_is_asked_for_before_the_next_one_comes(
    camera: Camera, way: str
) -> None:
    line = Line(publication(camera), way)
    line.send(SMALL, 1, 0.0, marker=True)
    line.send(LARGE, 1, 0.0, marker=False)
    line.send(LARGE, 2, 0.0, marker=False)
    assert line.large.arrivals.due(0.0) == []
    line.send(LARGE, 3, 0.0, marker=True, lost=True)
    line.send(SOUND, 1, 0.02, marker=False)
    assert line.large.arrivals.due(0.02) == [3], "there is no other of it that could be missing"
    for echo in (1, 2):
        assert line.large.arrivals.due(0.02 + echo * ECHO_S) == [3], "repeats may be lost as well"
    assert line.small.arrivals.due(0.02) == [], "its picture has ended"
    line.send(LARGE, 4, 0.05, marker=False)
    line.send(LARGE, 5, 0.05, marker=True)
    highest = line.large.arrivals.highest
    assert highest is not None and list(line.large.arrivals.holes) == [highest - 2]
    line.send(SMALL, 2, 0.05, marker=True, lost=True)
    line.send(SOUND, 2, 0.06, marker=False)
    assert line.large.arrivals.due(0.055) == [], "asked for already, and nothing was to come"


@pytest.mark.parametrize("way", ["compiled", "plain"])
async def test_who_sends_no_more_is_not_asked_for_the_rest(camera: Camera, way: str) -> None:
    line = Line(publication(camera), way)
    line.send(LARGE, 1, 0.0, marker=False)
    line.send(SOUND, 1, 5.0, marker=False, lost=True)
    line.send(SOUND, 2, 5.0, marker=False)
    assert line.large.arrivals.due(5.0) == []


async def test_it_is_asked_for_until_it_comes(worker: WorkerProcess, camera: Camera) -> None:
    worker.web.desire(GRANTS, stage="site:a")
    await camera.publish(worker, "seat-a", "site:a")
    numbers = itertools.count(1)

    def known() -> bool:
        number = next(numbers)
        camera.layer(0, number, 0, PARAMETERS)
        camera.layer(2, number, 0, PARAMETERS)
        return {10, 12} <= {each.ssrc for each in camera.items(rtcp.ReportBlock)}

    await eventually(known)
    lost = next(numbers)
    camera.layer(0, lost + 1, 3000, SLICE)
    camera.layer(2, lost + 2, 3000, SLICE)
    await eventually(lambda: camera.items(rtcp.Nack).count(rtcp.Nack(10, (lost,))) >= 3)
    camera.repeat(0, lost, 0, SLICE)
    camera.layer(2, lost + 6, 6000, SLICE)
    # Who asks for these has got the packet before them.
    later = {lost + 3, lost + 4, lost + 5}
    await eventually(lambda: later <= set(camera.items(rtcp.Nack)[-1].sequences))
    asked = len(camera.items(rtcp.Nack))
    await eventually(lambda: len(camera.items(rtcp.Nack)) >= asked + 2)
    assert {each.ssrc for each in camera.items(rtcp.Nack)[asked - 1 :]} == {12}
