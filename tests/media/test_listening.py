"""What receivers send is taken alike by the compiled way and without it."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from server.media import bandwidth, messages, negotiation, rtcp, rtp
from server.media.estimator import Compiled
from server.media.feedback import Feedback
from server.media.ice import IceLite
from server.media.listening import Ear
from server.media.peer import Peer, make_certificate
from server.media.srtp import Srtp
from server.media.subscription import Receiver
from tests.media.built import needs_built
from tests.media.harness import WorkerProcess
from tests.media.raw import RawPeer

KEY = bytes(range(28))
REPORT = rtcp.receiver_report(9, [rtcp.ReportBlock(7, 0, 3, 100, 0, 0, 0)], "a page")
REMB = rtcp.remb(9, 500_000, [7])
CERTIFICATE, _ = make_certificate()


@pytest.fixture(autouse=True)
def _compiled() -> None:
    needs_built()


def _session(kind: int) -> Session:
    profile = Policy.SRTP_PROFILE_AEAD_AES_128_GCM
    return Session(Policy(key=KEY, ssrc_type=kind, srtp_profile=profile))


class Listener:
    """An ear, and beside it the way without one."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.falls: list[float] = []
        self.line, self.right = Compiled(self.now_s), bandwidth.Plain(self.now_s)
        self.ear = Ear(self.line, self.falls.append)
        self.feedback = Feedback()

    def send(self, count: int, lost: random.Random | None = None, share: float = 0.3) -> bytes:
        """So many packets to it, 5 ms apart; what it says of them."""
        for _ in range(count):
            self.now_s += 0.005
            number = self.line.send(1000, self.now_s)
            assert self.right.send(1000, self.now_s) == number
            if lost is None or lost.random() > share:
                self.feedback.receive(number, self.now_s + 0.02)
        return b"".join(self.feedback.report(9, 7))

    def hear(self, packet: bytes) -> bool:
        """Is it done with?"""
        before_bps, falls = self.right.budget_bps, len(self.falls)
        done = self.ear.hear(memoryview(packet), self.now_s)
        fci = rtcp.transport_wide(memoryview(packet))
        if fci is not None:
            assert done
            self.right.report(fci, self.now_s)
            assert len(self.falls) - falls == (self.right.budget_bps < before_bps)
        elif done:
            told = rtcp.SenderReport | rtcp.ReportBlock
            assert self.right.heard and all(isinstance(item, told) for item in rtcp.parse(packet))
        assert self.line.estimate_bps == self.right.estimate_bps
        assert self.line.heard == self.right.heard and self.line.counted == self.right.counted
        return done


parts = st.one_of(
    st.just(REPORT), st.just(REMB), st.just(rtcp.nack(9, 7, [1, 2, 30])), st.just(rtcp.pli(9, 7)),
    st.just(rtcp.sender_report(9, 1 << 32, 5, 6, 7, "a page")), st.binary(max_size=40),
    st.tuples(st.integers(0, 31), st.integers(192, 223), st.binary(max_size=40)).map(
        lambda each: rtcp.packet(each[0], each[1], each[2] + bytes(-len(each[2]) % 4))
    ),
)  # fmt: skip


@given(st.lists(parts, min_size=1, max_size=4), st.integers(0, 30))
@example([rtcp.packet(15, 205, bytes(12))], 0)
@example([rtcp.packet(15, 205, bytes(16))], 1)
@example([REPORT], 1)
@example([REPORT, b"\x80\xc9"], 1)
def test_only_what_nobody_looks_at_is_done_with(packets: list[bytes], sent: int) -> None:
    listener = Listener()
    if sent:
        assert listener.hear(listener.send(sent))
    listener.hear(b"".join(packets).ljust(8, b"\0"))


@given(st.lists(st.binary(min_size=8, max_size=80).map(lambda body: body + bytes(-len(body) % 4))))
def test_any_feedback_is_taken_as_without_it(bodies: list[bytes]) -> None:
    listener = Listener()
    listener.send(60)
    for body in bodies[:40]:
        listener.hear(rtcp.packet(15, 205, bytes(8) + body))


def test_budgets_that_fall_are_told_of() -> None:
    listener, chance = Listener(), random.Random(1)
    for _ in range(30):
        assert listener.hear(listener.send(40, chance))
    assert listener.falls


def test_more_reports_than_receivers_need_are_not_read() -> None:
    listener = Listener()
    for _ in range(90):
        assert listener.ear.hear(memoryview(listener.send(1)), 200.0)
    assert listener.line.counted == 50
    assert listener.ear.take_count() == 90 and listener.ear.take_count() == 0


@pytest.fixture
def ice() -> Iterator[IceLite]:
    """A socket that nobody reads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield IceLite(sock)


@pytest.mark.parametrize("has_ear", [True, False])
def test_a_subscriber_hears_the_same_either_way(
    ice: IceLite, has_ear: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Feedback, receiver reports, both in one, and so many that the log tells of it."""
    peer, client = Peer(ice, CERTIFICATE), _session(Policy.SSRC_ANY_OUTBOUND)
    page = Receiver("seat-a", peer, negotiation.slot_lines(0, True))
    page.downlink.measure()
    line = page.downlink.estimator
    assert line is not None and peer._ear is not None
    if not has_ear:
        peer._ear = None
    peer._inbound = Srtp(_session(Policy.SSRC_ANY_INBOUND))
    feedback, now_s = Feedback(), time.monotonic()
    for turn in range(40):
        numbers = [line.send(1000, now_s + i * 0.005) for i in range(20)]
        for number in numbers:
            feedback.receive(number, now_s + 0.02)
        told = b"".join(feedback.report(9, 7))
        for packet in (told if turn % 2 else REPORT + told, REPORT, REMB):
            assert peer.handle_srtp(memoryview(client.protect_rtcp(packet)), now_s)
        page.tick(now_s)
    assert line.heard and line.counted == 800 and line.estimate_bps >= bandwidth.START_BPS
    assert not page.downlink._coarse.told or page.downlink.known is line
    assert "asks too much" not in caplog.text
    for _ in range(4000):
        peer.handle_srtp(memoryview(client.protect_rtcp(REPORT)), now_s)
    page.tick(time.monotonic())
    assert caplog.text.count("asks too much: holder=seat-a") == 1
    assert not peer.handle_srtp(memoryview(bytes([0x80, 200]) + bytes(40)), now_s)


async def test_a_page_says_what_arrives_and_its_line_is_known(
    worker: WorkerProcess, raw: Callable[[], RawPeer]
) -> None:
    """Every other packet of the picture is lost, until web is told so."""
    grants = {
        "seat-a": messages.Grant(publish=("site:a",), receive=True, own="site:a"),
        "display": messages.Grant(receive=True),
    }
    worker.web.desire(grants, stage="site:a")
    site, page = raw(), raw()
    await site.publish(worker, "seat-a", "site:a")
    await page.receive(worker, "display", tells=True)
    feedback, read, number = Feedback(), 0, 0

    def lines() -> list[messages.Downlink]:
        heard = [each for each in worker.web.received if isinstance(each, messages.Downlinks)]
        told = [each.downlinks.get(page.session) for each in heard]
        return [each for each in told if each is not None and each.loss is not None]

    while len(lines()) < 2:  # the first may be of a few packets
        number = await site.pump(5, start=number)
        for header, packet in page.packets[read:]:
            value = dict(rtp.extensions(packet, header)).get(page.transport_id, b"")
            if value and value[1] % 2:
                feedback.receive(int.from_bytes(value, "big"), time.monotonic())
        read = len(page.packets)
        for report in feedback.report(9, page.slots["stage"]):
            page.peer.send_rtcp(report)
    found = lines()[-1]
    assert found.holder == "display"
    assert found.loss == pytest.approx(0.5, abs=0.1)
    assert found.carries_bps is not None and found.carries_bps < bandwidth.START_BPS
