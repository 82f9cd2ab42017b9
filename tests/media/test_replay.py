"""What came once does not come again (RFC 3711, 3.3.2): by either way of reading, under keys that were
agreed on by a handshake, and in a running worker.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.media import feedback, messages, reading, rtcp, rtp
from server.media.binding import Path
from server.media.ice import IceLite
from server.media.peer import MAX_LATE_ANSWERS, Peer, make_certificate
from server.media.srtp import Srtp
from tests.media.built import needs_built
from tests.media.harness import WorkerProcess, eventually
from tests.media.raw import RawPeer, refusal_is_told

WINDOW, RTCP_WINDOW = 1024, 128
"""packets; one that is further behind the highest is taken for a replay. A browser's largest layer sends some
250 packets a second: 1,024 are four seconds, and what is missing is asked for within one"""
FURTHEST = 15_000
"""RFC 3711, 3.3.1: fewer than 2 ** 15 numbers lie between two packets that come one after the other"""


class Ends:
    """Two peers after their handshake, and both ways of reading what comes from the first."""

    def __init__(self) -> None:
        self.ours, self.theirs = _bound(), _bound()
        self.theirs.connect(self.ours.getsockname())
        self.outbound, self.inbound = asyncio.run(self._shake_hands())
        self.ssrcs = count(1)
        needs_built()
        self.reader = reading.Compiled(self.ours)
        inlet = self.reader.inlet(self.inbound, "owner")
        assert inlet is not None
        self._inlet = inlet
        self.reader.lead(self.theirs.getsockname(), inlet)

    async def _shake_hands(self) -> tuple[Srtp, Srtp]:
        loop = asyncio.get_running_loop()
        peers = []
        for sock, other in ((self.ours, self.theirs), (self.theirs, self.ours)):
            ice = IceLite(sock, "plain")
            ice.start(loop)
            certificate, fingerprint = make_certificate()
            peer = Peer(ice, certificate)
            peer.binding.path = other.getsockname()
            ice.lead(other.getsockname(), peer.binding)
            peers.append((peer, ice, tuple(fingerprint.split(" "))))
        for place, (peer, _, _) in enumerate(peers):
            algorithm, value = peers[1 - place][2]
            peer.describe_remote([(algorithm, value)], client=bool(place))
            peer.handle_reachable()
        await eventually(lambda: all(peer.connected for peer, *_ in peers))
        (receiving, *_), (sending, *_) = peers
        found = sending._outbound, receiving._inbound
        for peer, ice, _ in peers:
            peer.farewell = False
            ice.stop(loop)
        assert found[0] is not None and found[1] is not None
        return Srtp(found[0]._session), found[1]  # libsrtp's: it has room for more SSRCs

    def protected(self, ssrc: int, number: int) -> bytes:
        """Numbers of one SSRC in ascending order."""
        head = rtp.head(
            padding=False, marker=True, payload_type=96, sequence=number & 0xFFFF,
            timestamp=number, ssrc=ssrc, block=b"",
        )  # fmt: skip
        data = self.outbound.protect(head, struct.pack("!I", number), rtcp=False)
        assert data is not None
        return bytes(data)

    def report(self, ssrc: int) -> bytes:
        """One after the other."""
        data = self.outbound.protect(rtcp.receiver_report(ssrc, [], "page"), b"", rtcp=True)
        assert data is not None
        return bytes(data)

    def plain(self, data: bytes) -> bytes | None:
        """By Python."""
        found = self.inbound.unprotect(memoryview(data), rtcp=192 <= data[1] <= 223)
        return None if found is None else bytes(found)

    def compiled(self, data: bytes) -> bytes | None:
        """By compiled code."""
        self.theirs.send(data)
        ((found, _, arrival),) = self.reader.read(time.monotonic())
        assert arrival is not None
        return None if arrival.kind == reading.FORGED else bytes(found)

    def close(self) -> None:
        """Both sockets."""
        self.ours.close()
        self.theirs.close()


def _bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


@pytest.fixture(scope="module")
def ends() -> Iterator[Ends]:
    """See ``Ends``."""
    made = Ends()
    yield made
    made.close()


Way = Callable[[Ends, bytes], bytes | None]


@pytest.fixture(scope="module", params=[Ends.plain, Ends.compiled], ids=["plain", "compiled"])
def way(request: pytest.FixtureRequest) -> Way:
    """By which the packets are read."""
    found: Way = request.param
    return found


def accepted(order: list[int], window: int) -> list[bool]:
    """Of packets that come in this order, by their whole numbers: which are taken?"""
    seen: set[int] = set()
    found = []
    for number in order:
        new = number not in seen and number > max(seen, default=-1) - window
        found.append(new)
        if new:
            seen.add(number)
    return found


steps = st.one_of(st.integers(1, 3), st.integers(1, 200), st.integers(1, FURTHEST))
"""by how much numbers go on"""
delays = st.one_of(
    st.integers(0, 5), st.sampled_from([126, 127, 128, 129, 1022, 1023, 1024, 1025]),
    st.integers(0, 3000),
)  # fmt: skip
"""by how many numbers a packet is late"""
packets = st.tuples(steps, st.lists(delays, min_size=1, max_size=3))
"""a packet, and how late it comes, each time that it comes"""


def _order(coming: list[tuple[int, list[int]]], first: int) -> list[int]:
    """Numbers in the order in which they come."""
    order = []
    number = first
    for step, late in coming:
        number += step
        order += [(number + delay, number) for delay in late]
    return [number for _, number in sorted(order, key=lambda each: each[0])]


TURNS = [(FURTHEST, [0, 1024]) for _ in range(20)]
"""five times through all of the 65,536 numbers"""


@given(st.integers(0, 30_000), st.lists(packets, min_size=1, max_size=60))
@example(0, TURNS)
@example(30_000, [*TURNS[:3], *((1, [0, 3, 1023]) for _ in range(1100))])
@example(30_000, [(5_000, [0])] * 7 + [(600, [1023]), (423, [0]), (600, [1024]), (424, [0])])
def test_each_packet_is_taken_once_and_late_ones_within_the_window(
    ends: Ends, way: Way, first: int, coming: list[tuple[int, list[int]]]
) -> None:
    """Across wraps of the numbers too, of which the receiver has to keep count (RFC 3711, 3.3.1)."""
    ssrc, order = next(ends.ssrcs), _order(coming, first)
    if order[0] >= 1 << 15:  # a stream whose first packet is of a later turn is not readable
        order.insert(0, first)
    made = {number: ends.protected(ssrc, number) for number in sorted(set(order))}
    found = [way(ends, made[number]) for number in order]
    assert [plain is not None for plain in found] == accepted(order, WINDOW)
    for number, plain in zip(order, found, strict=True):
        assert plain is None or plain[12:] == struct.pack("!I", number)


@given(st.lists(packets, min_size=1, max_size=40))
@example([(1, [0, 127, 128]) for _ in range(300)])
def test_each_report_is_taken_once(
    ends: Ends, way: Way, coming: list[tuple[int, list[int]]]
) -> None:
    """SRTCP bears its whole number (RFC 3711, 3.4)."""
    ssrc, order = next(ends.ssrcs), _order([(1 + step % 150, late) for step, late in coming], 0)
    made = [ends.report(ssrc) for _ in range(max(order) + 1)]
    found = [way(ends, made[number]) for number in order]
    assert [plain is not None for plain in found] == accepted(order, RTCP_WINDOW)


def test_one_that_is_forged_moves_no_window(ends: Ends, way: Way) -> None:
    ssrc, dice = next(ends.ssrcs), random.Random(3)
    made = [ends.protected(ssrc, number) for number in range(3000)]
    assert way(ends, made[0])
    for number in range(1, 3000):
        forged = bytearray(made[number])
        forged[dice.randrange(12, len(forged))] ^= 1 << dice.randrange(8)
        assert way(ends, bytes(forged)) is None
    assert way(ends, made[1]), "as if nothing had come"


GRANTS = {
    "seat-a": messages.Grant(publish=("site:a",), receive=True, own="site:a"),
    "display": messages.Grant(receive=True),
}


MEDIA, DTLS = range(128, 192), range(20, 64)
"""first bytes (RFC 7983)"""


def watch(peer: RawPeer, kind: range = MEDIA) -> list[bytes]:
    """What it sends of one kind from now on, as whoever watches its line sees it."""
    seen: list[bytes] = []
    send = peer.ice.send

    def seeing(data: bytes | memoryview, path: Path) -> None:
        if data[0] in kind:
            seen.append(bytes(data))
        send(data, path)

    peer.ice.send = seeing  # type: ignore[method-assign]
    return seen


def heard(peer: RawPeer, kind: range) -> list[bytes]:
    """What comes to it of one kind from now on."""
    found: list[bytes] = []
    receive = peer.ice.receive

    def hearing(data: memoryview, path: Path, now_s: float) -> None:
        if data[0] in kind:
            found.append(bytes(data))
        receive(data, path, now_s)

    peer.ice.receive = hearing  # type: ignore[method-assign]
    return found


def came(peer: RawPeer) -> Callable[[int, int], int]:
    """How often has the packet of this SSRC with this number come since?"""
    found = heard(peer, MEDIA)
    return lambda ssrc, number: sum(
        not 192 <= each[1] <= 223
        and (int.from_bytes(each[8:12]), int.from_bytes(each[2:4])) == (ssrc, number)
        for each in found
    )


def told_of(site: RawPeer) -> list[int]:
    """Transport-wide numbers that the server said have come, in the order of its reports."""
    fcis = [rtcp.transport_wide(memoryview(each)) for each in site.reports]
    reports = [feedback.read(bytes(fci)) for fci in fcis if fci is not None]
    return [
        report.first + i
        for report in reports
        if report is not None
        for i, at_s in enumerate(report.arrived_s)
        if at_s is not None
    ]


async def test_a_publisher_that_is_watched_and_sent_again_is_heard_once(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    """From a stranger's address, and from its own: it is not where the stranger is, nobody gets anything
    twice, and it is told that each packet came once."""
    site, page = raw(), raw()
    worker.web.desire(GRANTS, stage="site:a", floor=("site:a",))
    await site.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    seen = watch(site)
    number = 0
    before_kb = worker.process.memory_kb()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(30):
            number = await site.pump(2, start=number)
            for data in seen[-60:]:
                stranger.sendto(data, site.server)
                site.socket.sendto(data, site.server)
            # Before the next flood: on a busy machine the kernel's own buffer would be full of them.
            await eventually(lambda: len(page.got("stage")) == 2 * number)
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.recv(2000)
    await eventually(lambda: len(told_of(site)) == 2 * number)
    assert sorted(told_of(site)) == list(range(2 * number))
    for mid in ("stage", "audio0"):
        numbers = [header.sequence for header, _ in page.got(mid)]
        assert numbers and len(set(numbers)) == len(numbers)
    assert worker.process.memory_kb() - before_kb < 8_000
    await refusal_is_told(worker, site, page)


async def test_what_a_receiver_asked_for_is_not_asked_for_again_by_who_watched_it(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    """A NACK, sent again and again: one repeat."""
    site, page = raw(), raw()
    worker.web.desire(GRANTS, stage="site:a")
    await site.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    found, seen = came(page), watch(page)
    number = await site.pump(10)
    await eventually(lambda: len(page.got("stage")) == 2 * number)
    again = page.slots["stage"], page.got("stage")[-1][0].sequence
    page.peer.send_rtcp(rtcp.nack(1, again[0], [again[1]]))
    (nack,) = seen
    await eventually(lambda: found(*again) == 2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(40):
            stranger.sendto(nack, page.server)
            page.socket.sendto(nack, page.server)
            number = await site.pump(1, start=number)
    await eventually(lambda: len(page.got("stage")) == 2 * number)
    assert found(*again) == 2


async def test_a_handshake_that_was_watched_and_sent_again_ends_nothing(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    """From a stranger's address nothing comes of it; from the peer's own the last flight is answered a few
    times, since it may have been lost, and everybody goes on."""
    site, page = raw(), raw()
    shaken = {peer: watch(peer, DTLS) for peer in (site, page)}
    worker.web.desire(GRANTS, stage="site:a", floor=("site:a",))
    await site.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display")
    answers = {peer: heard(peer, DTLS) for peer in (site, page)}
    number = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(30):
            for peer, seen in shaken.items():
                for data in seen * 3:
                    stranger.sendto(data, peer.server)
                    peer.socket.sendto(data, peer.server)
            number = await site.pump(1, start=number)
            await eventually(lambda: len(page.got("stage")) == 2 * number)
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.recv(2000)
    for peer, seen in shaken.items():
        assert len(seen) >= 2 and len(answers[peer]) <= 5 * MAX_LATE_ANSWERS
    assert worker.web.last(messages.Closed) is None
