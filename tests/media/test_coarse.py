"""What a line carries, by receiver reports and REMB alone: in numbers, and on the wire."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.media import messages, rtcp
from server.media.coarse import Coarse
from server.media.downlink import UNLIMITED_BPS
from server.media.rtcp import ReportBlock
from tests.media.camera import Camera
from tests.media.harness import WorkerProcess, eventually
from tests.media.raw import GRANTS, PARAMETERS, RawPeer

LAYERS_BPS = (150_000, 500_000, 1_500_000)
PACKET_BITS = 1100 * 8


class Player:
    """Gets the largest layer that fits, reports once a second, and loses what its line does not carry."""

    def __init__(self, carries_bps: float, own_loss: float = 0.0) -> None:
        self.carries_bps = carries_bps
        self.own_loss = own_loss
        self.coarse = Coarse()
        self.now_s = 100.0
        self.sends_bps = LAYERS_BPS[-1]
        self.highest = self.lost = 0
        self._chance = random.Random(5)

    def run(self, seconds: int) -> list[int]:
        """What was sent in each second."""
        sent = []
        for _ in range(seconds):
            self.now_s += 1
            packets = round(self.sends_bps / PACKET_BITS)
            fits = self.carries_bps / PACKET_BITS
            lost = max(0, round(packets - fits))
            lost += sum(self._chance.random() < self.own_loss for _ in range(packets - lost))
            self.highest += packets
            self.lost += lost
            block = ReportBlock(7, 0, self.lost, self.highest, 0, 0, 0)
            self.coarse.report(block, 0, self.sends_bps, LAYERS_BPS[-1] * 1.15, self.now_s)
            sent.append(self.sends_bps)
            budget_bps = self.coarse.budget_bps if self.coarse.heard else UNLIMITED_BPS
            margin = {bps: 1.0 if bps <= self.sends_bps else 1.15 for bps in LAYERS_BPS}
            fitting = [bps for bps in LAYERS_BPS if bps * margin[bps] <= budget_bps]
            self.sends_bps = fitting[-1] if fitting else LAYERS_BPS[0]
        return sent


def test_nothing_is_withheld_while_nothing_is_lost() -> None:
    player = Player(5e6)
    assert set(player.run(60)) == {LAYERS_BPS[-1]}
    assert not player.coarse.heard


@pytest.mark.parametrize(("carries_bps", "layer_bps"), [(0.7e6, 500_000), (0.3e6, 150_000)])
def test_a_narrow_line_is_followed_and_now_and_then_tried(
    carries_bps: float, layer_bps: int
) -> None:
    player = Player(carries_bps)
    player.run(5)
    sent = player.run(120)
    assert sent.count(layer_bps) > 100
    assert max(sent) > layer_bps, "it is found out by trying"


def test_a_line_that_becomes_wide_again_is_used() -> None:
    player = Player(0.7e6)
    player.run(20)
    player.carries_bps = 5e6
    player.run(60)
    assert set(player.run(60)) == {LAYERS_BPS[-1]}


@pytest.mark.parametrize("own_loss", [0.03, 0.2])
def test_losses_of_the_line_itself_do_not_starve_it(own_loss: float) -> None:
    sent = Player(5e6, own_loss).run(120)
    assert min(sent) >= LAYERS_BPS[-1 if own_loss < 0.1 else 1]


def test_remb_counts_where_it_is_less_than_what_is_sent() -> None:
    coarse = Coarse()
    coarse.limit(2_000_000, 1_500_000, 10.0)
    assert not coarse.heard
    coarse.limit(400_000, 1_500_000, 11.0)
    coarse.limit(380_000, 1_500_000, 11.5)  # what was sent before is still being told of
    assert (coarse.budget_bps, coarse.reason) == (400_000, "remb")
    for second in range(60):
        block = ReportBlock(7, 0, 0, 50 * (second + 1), 0, 0, 0)
        coarse.report(block, 0, 300_000, 1_700_000, 12.0 + second)
        coarse.limit(450_000, 300_000, 12.0 + second)
    assert coarse.budget_bps > 1_000_000, "it never says much more than it gets"


@given(st.lists(st.tuples(*[st.integers(0, 2**32 - 1)] * 6), max_size=30))
def test_any_report_is_taken(numbers: list[tuple[int, ...]]) -> None:
    coarse = Coarse()
    for i, (ssrc, highest, lost, last_sr, delay, middle) in enumerate(numbers):
        block = ReportBlock(ssrc % 3, 0, lost - 2**31, highest, 0, last_sr, delay)
        coarse.report(block, middle, 1e6, 2e6, float(i))
        assert 0 <= coarse.loss <= 1 and coarse.rtt_s >= 0


@given(st.integers(0, 2**60), st.lists(st.integers(0, 2**32 - 1), max_size=5))
def test_remb_is_read_as_it_is_written(bitrate_bps: int, ssrcs: list[int]) -> None:
    (found,) = rtcp.parse(rtcp.remb(1, bitrate_bps, ssrcs))
    assert isinstance(found, rtcp.Remb)
    assert found.bitrate_bps <= bitrate_bps <= found.bitrate_bps * 1.0001 + 1


@pytest.mark.parametrize("tells", ["losses", "remb"])
async def test_a_player_that_tells_of_too_much_gets_less(
    worker: WorkerProcess, raw: Callable[[], RawPeer], camera: Camera, tells: str
) -> None:
    worker.web.desire(GRANTS, stage="site:a")
    player = raw()
    await camera.publish(worker, "seat-a", "site:a")
    await player.receive(worker, "display")

    async def send() -> None:
        for number in range(2000):
            for place in range(3):
                camera.layer(place, 1000 * place + number, 3000 * number, PARAMETERS + bytes(800))
            if number % 20 == 0:
                player.check()  # a session that says nothing ends
            await asyncio.sleep(0.02)

    def shows(rid: bytes) -> bool:
        return bool(player.got("stage")) and player.got("stage")[-1][1][-1:] == rid

    def line() -> messages.Downlink | None:
        told = worker.web.last(messages.Downlinks)
        return told.downlinks.get(player.session) if told is not None else None

    sender = asyncio.create_task(send())
    await eventually(lambda: shows(b"f"))
    known = await eventually(line)
    assert known.carries_bps is None and known.reason == "unknown"
    ssrc = player.slots["stage"]
    for _ in range(100):
        await asyncio.sleep(0.1)
        highest = player.got("stage")[-1][0].sequence
        if tells == "remb":
            packet = rtcp.remb(1, 150_000, [ssrc])
        else:
            block = ReportBlock(ssrc, 0, highest // 3, highest, 0, 0, 0)
            packet = rtcp.receiver_report(1, [block], "player")
        player.peer.send_rtcp(packet)
        if not shows(b"f"):
            break
    assert not shows(b"f"), "a smaller layer"
    told = await eventually(lambda: (found := line()) and found.carries_bps and found)
    assert told.reason in ("loss", "remb", "growth")
    assert (told.loss is None) == (tells == "remb")
    sender.cancel()
