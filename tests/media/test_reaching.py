"""How a peer reaches the worker, and what happens when its way there changes in mid-call."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from server.media import messages
from tests.media.harness import HAS_IPV6, WorkerProcess, eventually
from tests.media.raw import RawPeer

GRANTS = {
    "seat-a": messages.Grant(publish=("site:a",), receive=True, own="site:a"),
    "display": messages.Grant(receive=True),
}


class RawPeer6(RawPeer):
    """A peer whose network has IPv6 alone."""

    host = "::1"


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
async def test_ipv4_and_ipv6_meet_in_one_room(worker: WorkerProcess) -> None:
    site, page = RawPeer6(), RawPeer()
    worker.web.desire(GRANTS, stage="site:a", floor=("site:a",))
    await site.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    await site.pump(20)
    await eventually(lambda: len(page.got("stage")) >= 40 and page.got("audio0"))
    assert await eventually(lambda: site.reports), "feedback comes back"
    for peer in (site, page):
        await peer.close()
