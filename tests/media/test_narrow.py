"""When a page is told that its line makes pictures smaller."""

from __future__ import annotations

import time

from server.media import negotiation
from server.media.subscription import REDUCED_S, Receiver
from tests.media.camera import RIDS, Camera, packet, publication
from tests.media.test_bandwidth import report_of


async def test_a_line_that_was_dead_is_not_called_narrow_as_soon_as_it_is_back() -> None:
    camera, viewer = Camera(), Camera()
    found = publication(camera)
    begin_s = time.monotonic()

    def show(number: int) -> None:
        for place, rid in enumerate(RIDS):
            camera.peer.on_rtp(packet(10 + place, number, rid=rid), begin_s + number)

    show(0)
    slots = negotiation.slot_lines(0, True)
    page = Receiver("seat-a", viewer.peer, slots)
    page.agree(slots)
    page.downlink.measure()
    line = page.downlink.estimator
    assert line is not None and found.video is not None
    page.assign({"stage": found.video}, (), begin_s)

    def look(after_s: float) -> bool:
        line.tick(begin_s + after_s)
        page.choose(begin_s + after_s)
        return page.reduced(begin_s + after_s)

    line.report(report_of(line.send(1000, begin_s), 1.0), begin_s + 0.1)
    sent = [line.send(1000, begin_s + 0.1) for _ in range(10)]
    for second in range(10):
        show(second + 1)
        assert not any(look(second + part / 5) for part in range(5))
    assert line.silent
    line.report(report_of(sent[0], *[None] * 9, 11.0), begin_s + 10)
    line.report(report_of(line.send(1000, begin_s + 10), 11.1), begin_s + 10.1)
    assert not line.silent
    show(13)
    assert not look(10.2) and not look(10.1 + REDUCED_S)
    assert look(10.3 + REDUCED_S), "it still makes the picture smaller"
    for each in (camera, viewer):
        await each.close()
