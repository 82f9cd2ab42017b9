"""How a peer reaches the worker, and what happens when its way there changes in mid-call."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiortc.rtcdtlstransport import RTCCertificate

from server.media import messages
from server.media.ice import IceLite
from tests.media.harness import HAS_IPV6, WorkerProcess, eventually
from tests.media.raw import Lossy, RawPeer

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


class Forgetful(Lossy):
    """Each DTLS datagram is lost the first time, whichever way it goes."""

    def __init__(self, ice: IceLite, certificate: RTCCertificate) -> None:
        super().__init__(ice, certificate)
        self._seen: set[bytes] = set()
        send = self.binding.send
        self._path._transmit = lambda data: send(data) if self._again(data) else None

    def handle_dtls(self, data: bytes) -> None:
        """As the line does."""
        if self._again(data):
            super().handle_dtls(data)

    def _again(self, data: bytes) -> bool:
        if data in self._seen:
            return True
        self._seen.add(data)
        return False


@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
async def test_a_handshake_survives_the_loss_of_every_datagram(
    worker: WorkerProcess, setup: str
) -> None:
    """In both roles of DTLS. What OpenSSL repeats by itself is another datagram: lost, too."""
    site = RawPeer(Forgetful)
    worker.web.desire(GRANTS, stage="site:a")
    await site.publish(worker, "seat-a", "site:a", setup=setup)
    # The server's end may be connected somewhat later: its last flight was lost, too.
    pumping = asyncio.create_task(site.pump(500))
    told = worker.web.received
    await eventually(
        lambda: any(
            isinstance(m, messages.Published) and any(p.alive for p in m.publications) for m in told
        )
    )
    pumping.cancel()
    await site.close()


async def test_media_from_a_new_address_moves_a_publisher_at_once(worker: WorkerProcess) -> None:
    """Whatever a stranger sends with its SSRC from elsewhere moves nobody, replays included."""
    site, page = RawPeer(), RawPeer()
    worker.web.desire(GRANTS, stage="site:a")
    await site.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    sent: list[bytes] = []
    send = site.ice.send

    def keep(data: bytes | memoryview, path: object) -> None:
        sent.append(bytes(data))
        send(data, site.server)

    site.ice.send = keep  # type: ignore[method-assign]
    await site.pump(5)
    await eventually(lambda: len(page.got("stage")) == 10)
    media = [data for data in sent if data[0] >> 6 == 2 and not 192 <= data[1] <= 223]
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.setblocking(False)
    for data in media:
        stranger.sendto(data, site.server)
        stranger.sendto(data[:12] + bytes(len(data) - 12), site.server)
    await site.pump(5, start=5)
    await eventually(lambda: len(page.got("stage")) == 20)
    with pytest.raises(BlockingIOError):
        stranger.recv(2000)  # feedback still goes to the publisher

    moved = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    moved.setblocking(False)
    moved.bind(("127.0.0.1", 0))
    site.ice.send = lambda data, path: moved.sendto(data, site.server)  # type: ignore
    moved.settimeout(60)
    for start in (10, 20):  # media alone, no check
        before = len(site.reports)
        await site.pump(10, start=start)
        await eventually(lambda so_far=start: len(page.got("stage")) == 20 + 2 * so_far)
        assert await asyncio.to_thread(moved.recv, 2000), "feedback follows"
    assert len(site.reports) == before, "all of it"
    for peer in (site, page):
        await peer.close()
    stranger.close()
    moved.close()
