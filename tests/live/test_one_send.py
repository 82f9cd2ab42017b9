"""What one turn of the loop has for one client goes in one send, in order."""

from __future__ import annotations

import re
from typing import Any

import pytest

from server.permissions import Actor
from tests.live.conftest import Venue

pytestmark = pytest.mark.parametrize("kind", ["sqlite"])


class Counted:
    """A transport that counts its sends."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.sends: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sends.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def counted(venue: Venue, actor: Actor) -> Counted:
    """What is sent to ``actor`` from now on."""
    [connection] = [each for each in venue.gateway.connections if each.actor == actor]
    line = connection.socket.line
    assert line is not None
    line._obstruct()  # all goes by the transport
    line.descriptor = -1
    line._transport = transport = Counted(line._transport)  # type: ignore[assignment]
    return transport


async def test_ones_own_event_and_its_acknowledgement_are_one_send(venue: Venue) -> None:
    page, desk = await venue.open(venue.cast.trainee), await venue.open(venue.cast.moderator)
    for each in (page, desk):
        await each.until(lambda p: "clock" in p.live)
    own, others = counted(venue, venue.cast.trainee), counted(venue, venue.cast.moderator)
    asked = [page.send("question.ask", {"text": "Bao giờ?"}, f"k{n}") for n in range(3)]
    assert all([(await answer)["ok"] for answer in asked])
    both = [send for send in own.sends if b"question.asked" in send and b'"ok":true' in send]
    assert len(both) == len([send for send in own.sends if b'"ok":true' in send]) == 3
    for send in both:
        assert send.index(b"question.asked") < send.index(b'"ok":true'), "the event comes first"
    await desk.until(lambda p: {e["data"].get("id") for e in p.events} >= {1, 2, 3})
    assert len(others.sends) >= 3 and len(page.state["sent"]) == 3


async def test_what_one_turn_has_for_one_client_is_one_send_in_order(venue: Venue) -> None:
    page, desk = await venue.open(venue.cast.organiser), await venue.open(venue.cast.moderator)
    for each in (page, desk):
        await each.until(lambda p: "clock" in p.live)
    own = counted(venue, venue.cast.organiser)
    [mine] = [c for c in venue.gateway.connections if c.actor == venue.cast.organiser]
    emit = venue.gateway._delivery.emit
    emit([mine], "live", [{"type": "n", "data": 1}])
    emit([mine], "live", [{"type": "n", "data": 2}])
    assert not own.sends, "they wait for each other"
    emit(list(venue.gateway.connections), "live", [{"type": "n", "data": 3}])
    emit([mine], "live", [{"type": "n", "data": 4}])
    await page.until(lambda p: p.live.get("n") == 4)
    numbers = [[int(n) for n in re.findall(rb'"data":(\d)', send)] for send in own.sends]
    assert numbers == [[1, 2, 3], [4]]


async def test_what_waits_is_sent_before_the_line_is_closed(venue: Venue) -> None:
    page = await venue.open(venue.cast.organiser)
    await page.until(lambda p: "clock" in p.live)
    [mine] = list(venue.gateway.connections)
    venue.gateway._delivery.emit([mine], "live", [{"type": "n", "data": "last"}])
    await venue.gateway._server.disconnect(mine.sid)
    await page.until(lambda p: p.closed)
    assert page.live["n"] == "last"
