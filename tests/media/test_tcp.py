"""ICE over TCP: for networks that drop UDP, and against strangers."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator

import pytest

from server.listening import TAKEN_AT_ONCE
from server.media import messages, sdp, stun, tcp
from server.media.refusals import FEWEST_TOLD
from tests.listening import Watched
from tests.media.harness import SLUG, WorkerProcess, eventually
from tests.media.raw import PARAMETERS, RawPeer

GRANTS = {
    "seat-a": messages.Grant(publish=("site:a",), receive=True, own="site:a"),
    "display": messages.Grant(receive=True),
}


Listening = tuple[tcp.Listener, tuple[str, int], list[bytes], list[str]]
"""with where it listens, what comes over it and who is refused"""


class TcpPeer(RawPeer):
    """A peer whose network drops UDP."""

    def read(self, text: str) -> sdp.Description:
        """Take the server's TCP candidate."""
        description = super().read(text)
        line = next(line for line in text.splitlines() if " tcp " in line)
        parts = line.split()
        assert parts[-2:] == ["tcptype", "passive"]
        assert int(parts[3]) < int(text.partition(" udp ")[2].split()[0]), "UDP is preferred"
        self.server = (parts[4], int(parts[5]))
        return description

    async def connect(self, description: sdp.Description) -> None:
        """Dial, and go on as over UDP."""
        paths = tcp.Paths(self.ice.datagram, self.ice.lost, lambda _host: None)
        _, self.line = await asyncio.get_running_loop().create_connection(
            lambda: tcp.Connection(paths), *self.server
        )
        section = description.sections[0]
        self.peer.binding.path = self.line
        self.ice.lead(self.line, self.peer.binding)
        self.check()
        self.peer.describe_remote(section.fingerprints, client=section.setup != "active")
        self.peer.handle_reachable()
        await eventually(lambda: self.peer.connected)

    def check(self, *, password: str | None = None, sock: socket.socket | None = None) -> bytes:
        """A connectivity check over the connection."""
        username = f"{self.remote[0]}:{self.peer.binding.ufrag}"
        message = stun.request(
            os.urandom(12), username, password or self.remote[1], use_candidate=True
        )
        self.line.send(message)
        return message


async def offered(worker: WorkerProcess, site: TcpPeer) -> messages.Answered:
    """The answer to its offer; it has not connected yet."""
    worker.web.desire(GRANTS)
    answered = await worker.web.ask(
        messages.Publish, conference=SLUG, holder="seat-a", source="site:a", sdp=site.offer()
    )
    assert isinstance(answered, messages.Answered), answered
    site.read(answered.sdp)
    return answered


async def ended(stranger: socket.socket) -> bool:
    """Does the server end this connection?"""
    stranger.settimeout(60)
    try:
        return not await asyncio.to_thread(stranger.recv, 1)
    except ConnectionResetError:
        return True


@pytest.fixture
async def peers() -> AsyncIterator[tuple[TcpPeer, TcpPeer]]:
    pair = TcpPeer(), TcpPeer()
    yield pair
    for peer in pair:
        await peer.close()


async def test_media_flows_without_udp(
    worker: WorkerProcess, peers: tuple[TcpPeer, TcpPeer]
) -> None:
    site, page = peers
    worker.web.desire(GRANTS, stage="site:a", floor=("site:a",))
    await site.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    await site.pump(20)
    await eventually(lambda: len(page.got("stage")) >= 40)
    assert page.got("stage")[0][1] == PARAMETERS
    assert await eventually(lambda: page.got("audio0"))
    assert await eventually(lambda: site.reports), "feedback comes back over the connection"

    site.line.close()
    worker.web.received.clear()
    await site.connect(sdp.parse(site.offer()))  # a new connection of the same session
    await site.pump(5, start=20)
    await eventually(lambda: len(page.got("stage")) >= 45)


async def test_strangers_do_not_keep_others_out(
    worker: WorkerProcess, peers: tuple[TcpPeer, TcpPeer]
) -> None:
    site, _ = peers
    answered = await offered(worker, site)
    strangers = [socket.create_connection(site.server) for _ in range(tcp.MAX_UNPROVEN + 40)]
    for i, stranger in enumerate(strangers):
        if i % 2:
            stranger.sendall(b"\x00\x40half of a frame")
    await site.connect(site.read(answered.sdp))
    assert await ended(strangers[0]), "the oldest made room"
    for stranger in strangers:
        stranger.close()


async def test_a_frame_too_long_ends_the_connection(worker: WorkerProcess) -> None:
    site = TcpPeer()
    await offered(worker, site)
    with socket.create_connection(site.server) as stranger:
        stranger.sendall(b"\xff\xff")
        assert await ended(stranger)
    await site.close()


async def test_a_session_that_ends_before_its_check_is_answered_leaves_no_connection(
    worker: WorkerProcess,
) -> None:
    site = TcpPeer()
    answered = await offered(worker, site)
    with socket.create_connection(site.server) as line:
        check = stun.request(
            os.urandom(12), f"{site.remote[0]}:x", site.remote[1], use_candidate=True
        )
        line.sendall(len(check).to_bytes(2, "big") + check)
        await asyncio.sleep(0.1)
        await worker.web.ask(messages.Close, session=answered.session, holder="seat-a")
        assert await ended(line)
    await site.close()


async def test_who_opens_many_connections_for_nothing_is_told_of(worker: WorkerProcess) -> None:
    site = TcpPeer()
    await offered(worker, site)
    strangers = []
    for _ in range(FEWEST_TOLD + 1):
        strangers.append(socket.create_connection(site.server, source_address=("127.0.0.3", 0)))
        strangers[-1].sendall(b"\xff\xff")
    told = "refused kind=connection from=127.0.0.3"
    await eventually(lambda: "sessions=none" in worker.process.logged(told))
    for stranger in strangers:
        stranger.close()
    await site.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listening]:
    """One of our own."""
    got: list[bytes] = []
    refused: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))
    listener = tcp.Listener(
        listening, lambda data, _: got.append(bytes(data)), lambda _: None, refused.append
    )
    await listener.start()
    yield listener, listening.getsockname(), got, refused
    listener.stop()


async def test_a_connection_that_a_browser_did_not_need_is_no_refusal(listener: Listening) -> None:
    """Chromium opens one for each address and leaves it silent where UDP passes."""
    listens, address, _, refused = listener
    known = {"127.0.0.1"}
    for says, counts in ((b"", []), (b"\x00\x40half", ["127.0.0.1"])):
        with socket.create_connection(address) as line:
            line.sendall(says)
            await eventually(lambda: [c.silent for c in listens.paths.unproven] == [not says])
            listens.tick(time.monotonic() + tcp.UNPROVEN_S + 1, known.__contains__)
            assert await ended(line) and refused == counts
    with socket.create_connection(address) as line:
        await eventually(lambda: listens.paths.unproven)
        listens.tick(time.monotonic() + tcp.UNPROVEN_S + 1, set().__contains__)
        assert await ended(line) and len(refused) == 2, "silent, and nobody knows it"


async def test_who_proves_nothing_is_let_go_and_who_reads_nothing_loses_packets(
    listener: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    listens, address, got, refused = listener
    with socket.create_connection(address) as stranger:
        stranger.sendall(b"\x00\x03abc\x00\x00\x00\x02d")
        await eventually(lambda: got == [b"abc"])
        stranger.sendall(b"e")
        await eventually(lambda: got == [b"abc", b"de"])
        (connection,) = listens.paths.unproven
        packet = bytes(1200)
        assert connection.send(packet)
        sent = sum(connection.send(packet) for _ in range(20_000))
        assert connection.dropped == 20_000 - sent > 0
        listens.tick(time.monotonic() + tcp.UNPROVEN_S - 1, lambda _host: False)
        assert listens.paths.unproven
        listens.tick(time.monotonic() + tcp.UNPROVEN_S + 1, lambda _host: False)
        assert refused == ["127.0.0.1"]
        await eventually(lambda: not listens.paths.unproven)
    with socket.create_connection(address):
        await eventually(lambda: listens.paths.unproven)
        (connection,) = listens.paths.unproven
        connection.close()
        assert not any(connection.send(b"a burst of packets") for _ in range(9))
    assert "socket.send() raised" not in caplog.text


async def test_media_wait_for_few_who_come() -> None:
    watched = Watched()
    listener = tcp.Listener(watched, lambda *_: None, lambda _: None, lambda _: None)
    await listener.start()
    try:
        assert await watched.most_in_one_turn(300) <= TAKEN_AT_ONCE + 1
    finally:
        listener.stop()
