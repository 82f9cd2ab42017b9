"""Layers chosen, counters moved, repairs and pleas bounded: with plain numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.media import rtp, rtx, vp8
from server.media.layers import (
    STICKY,
    Meter,
    Offer,
    ladder,
    nominal_height_px,
    playable,
    rates_bps,
    steady_px,
)
from server.media.limits import PLEA, Allowance, Asking, Repairs
from server.media.rewrite import Rewriter
from server.media.timeline import SourceClock, Timeline

OFFERS = [Offer(180, 150_000), Offer(360, 500_000), Offer(720, 1_500_000)]


def test_a_slot_is_worth_what_it_shows() -> None:
    assert [ladder(OFFERS, px) for px in (0, 90, 180, 270, 271, 540, 541, 720, 2160)] == [
        0, 1, 1, 1, 2, 2, 3, 3, 3,
    ]  # fmt: skip
    assert rates_bps(OFFERS, 2) == (150_000, 500_000) and rates_bps(OFFERS, 0) == ()
    assert rates_bps([Offer(180, 90), Offer(360, 40)], 2) == (90, 90), "a still picture's"
    assert [nominal_height_px(place, 3) for place in range(3)] == [180, 360, 720]
    assert nominal_height_px(0, 1) == 720


@given(st.integers(0, 3000), st.lists(st.integers(0, 3000), min_size=1))
def test_a_slot_dragged_by_pixels_does_not_flap(before_px: int, dragged_px: list[int]) -> None:
    chosen_px = before_px
    for px in dragged_px:
        chosen_px = steady_px(chosen_px, px)
        assert chosen_px / STICKY <= px <= chosen_px * STICKY
    low, high = min(before_px, *dragged_px), max(before_px, *dragged_px)
    assert chosen_px == before_px or high >= low * STICKY
    assert steady_px(540, 0) == 0 and steady_px(0, 540) == 540


def test_a_layer_that_does_not_flow_is_replaced_by_the_nearest() -> None:
    def offers(*alive: bool) -> list[Offer]:
        return [Offer(180, 1, alive[0]), Offer(360, 1, alive[1]), Offer(720, 1, alive[2])]

    assert playable(offers(True, True, True), 1) == 1
    assert playable(offers(True, False, True), 1) == 0
    assert playable(offers(False, False, True), 1) == 2
    assert playable(offers(False, False, False), 1, current=2) == 2
    assert playable(offers(False, False, False), 1) == 1


def test_rates_rise_at_once_and_fall_slowly() -> None:
    meter = Meter()
    octets = 0

    def run(bps: int, begin_s: int, seconds: int) -> None:
        nonlocal octets
        for i in range(seconds):
            octets += bps // 8
            meter.measure(octets, begin_s + i)

    run(400_000, 0, 4)
    assert abs(meter.bitrate_bps - 400_000) < 1000
    run(1_200_000, 4, 3)
    assert meter.bitrate_bps > 1_000_000
    meter.pause()
    meter.measure(octets, 100)
    assert meter.bitrate_bps > 1_000_000, "a pause is not counted"
    run(400_000, 101, 2)
    assert meter.bitrate_bps > 800_000


def test_layers_of_one_picture_go_on_by_its_clock() -> None:
    clock = SourceClock()
    small, large = Timeline(clock, 90000), Timeline(clock, 90000)
    assert small.ahead_of(large) is None
    small.report(100 << 32, 5_000, 1.0)
    large.report(103 << 32, 700_000, 4.0)
    ahead = small.ahead_of(large)
    assert ahead is not None and ahead == (5_000 + 3 * 90_000 - 700_000) & 0xFFFFFFFF

    rewriter: Rewriter[str] = Rewriter(90000)
    part = rewriter.switch("small", 70_000, 5_000, 1.0)
    first = rewriter.forward(70_000, 5_000, 1.0)
    # 40 ms later by the publisher's clock, 300 ms by ours: the line was slow.
    moment = (700_000 - 3 * 90_000 + 3600) & 0xFFFFFFFF
    later = rewriter.switch("large", 80_000, moment, 1.3, aligned=part.aligned_shift + ahead)
    second = rewriter.forward(80_000, moment, 1.3)
    assert first is not None and second is not None
    assert (second[1] - first[1]) & 0xFFFFFFFF == 3600
    # Back within the same picture: it may not have the same time stamp, and nothing adds up.
    back = later.aligned_shift - ahead
    rewriter.switch("small", 70_002, 5_000 + 3600, 1.31, aligned=back)
    third = rewriter.forward(70_002, 5_000 + 3600, 1.31)
    assert third is not None and (third[1] - second[1]) & 0xFFFFFFFF == 90
    assert rewriter.part is not None
    assert rewriter.part.aligned_shift == part.aligned_shift
    # Nonsense of a publisher is not believed.
    rewriter.switch("large", 80_100, 0, 2.0, aligned=1 << 30)
    fourth = rewriter.forward(80_100, 0, 2.0)
    assert fourth is not None
    assert abs(((fourth[1] - third[1]) & 0xFFFFFFFF) - 0.69 * 90_000) < 10


def test_a_plain_part_keeps_its_numbers() -> None:
    rewriter: Rewriter[str] = Rewriter(90000, plain=True)
    rewriter.switch("a", 65536 + 9, 1234, 5.0)
    assert rewriter.forward(65536 + 9, 1234, 5.0) == (9, 1234)


def test_pictures_of_vp8_are_counted_on_over_a_switch() -> None:
    def payload(picture: int, base: int) -> bytes:
        return bytes([0x90, 0xE0, 0x80 | picture >> 8, picture & 0xFF, base, 0x20]) + b"x"

    continuity = vp8.Continuity()
    first = continuity.begin(payload(0x7FFE, 254))
    for picture in (0x7FFE, 0x7FFF):
        assert continuity.moved(payload(picture, 254), first, newest=True) == payload(picture, 254)
    second = continuity.begin(payload(500, 7))
    assert continuity.moved(payload(500, 7), second, newest=True) == payload(0, 255)
    assert continuity.moved(payload(501, 8), second, newest=True) == payload(1, 0)
    assert continuity.moved(payload(0x7FFF, 254), first, newest=False) == payload(0x7FFF, 254)
    third = continuity.begin(payload(9, 9))
    assert continuity.moved(payload(9, 9), third, newest=True) == payload(2, 1)


@given(st.binary(max_size=12))
def test_counters_survive_any_payload(payload: bytes) -> None:
    continuity = vp8.Continuity()
    for _ in range(2):
        moved = continuity.moved(payload, continuity.begin(payload), newest=True)
        assert len(moved) == len(payload)


@given(st.binary(max_size=40), st.integers(0, 0xFFFF))
def test_a_repeated_packet_is_unwrapped_to_itself(body: bytes, sequence: int) -> None:
    head = rtp.head(
        padding=False, marker=True, payload_type=97, sequence=1, timestamp=5, ssrc=9,
        block=rtp.extension_block([(1, b"x")]),
    )  # fmt: skip
    packet = head + rtx.payload(sequence, body)
    header = rtp.parse(packet)
    assert header is not None
    found = rtx.unwrap(packet, header, 96, 7)
    if not body:
        assert found is None, "padding"
        return
    assert found is not None
    data, original = found
    assert (original.sequence, original.ssrc, original.payload_type) == (sequence, 7, 96)
    assert original.marker and data[original.payload_start :] == body


def test_who_asks_for_everything_gets_half_as_much_again() -> None:
    repairs = Repairs()
    repeated = 0
    for number in range(2000):
        repairs.sent()
        repeated += sum(repairs.allows(number - i, number * 0.02) for i in range(20))
    assert repeated <= Repairs.BURST + 2000 * Repairs.SHARE
    assert not repairs.spares(1), "nothing goes twice where much goes again"
    assert repeated > 900


def test_no_packet_is_repeated_twice_at_once() -> None:
    repairs = Repairs()
    assert repairs.allows(5, 1.0) and not repairs.allows(5, 1.01) and repairs.allows(5, 1.02)


def test_an_allowance_is_a_burst_and_a_rate() -> None:
    allowance = Allowance(2.0, 5)
    assert sum(allowance.take(1, 10.0) for _ in range(9)) == 5
    assert sum(allowance.take(1, 11.0) for _ in range(9)) == 2
    assert sum(allowance.take(1, 1000.0) for _ in range(9)) == 5


@pytest.mark.parametrize("pictures", [2, 62])
def test_who_waits_for_every_picture_and_loses_all_is_not_greedy(pictures: int) -> None:
    """A desk that has just opened, on a machine that is too busy to read."""
    asking = Asking(pictures, pictures)
    sent = 0
    for second in range(60):
        for _ in range(5 * pictures):
            assert asking.take(2 + PLEA, second)
        assert asking.take(40 + pictures, second)
        sent += 25 * pictures
        assert asking.repeat(Asking.TRIES * 25 * pictures, lambda: sent, second + 0.5)
    assert asking.take(1, 70.0)
    asked = 0
    while asking.repeat(100, lambda: sent, 77.0):  # of what it was never sent, or too often
        asked += 100
    assert asked <= Asking.WINDOW_S * asking.per_s


@pytest.mark.parametrize("away_s", [4.0, 20.0, 30.0])
def test_who_was_cut_off_may_ask_for_all_that_a_browser_lists_of_it(away_s: float) -> None:
    """One picture of 30 packets a second, as on a line of 150 kbit/s. All that it missed is asked for ten
    times a second, as Chromium does it, until it has done so for each packet a hundred times."""
    asking, sent, now_s = Asking(1, 2), 0, 0.0
    while now_s < 10.0:
        now_s, sent = now_s + 0.1, sent + 3
        assert asking.take(2, now_s)
    missing = round(30 * away_s)
    now_s, sent = now_s + away_s, sent + missing
    for _ in range(Asking.TRIES):
        now_s, sent = now_s + 0.1, sent + 3
        assert asking.repeat(missing, lambda: sent, now_s) and asking.take(2 + PLEA, now_s)
    others = (sent - missing) * Asking.TRIES
    assert not asking.repeat(others + 10_000, lambda: sent, now_s), "that is enough"


def test_what_was_sent_long_ago_is_no_excuse_for_asking_for_everything() -> None:
    asking, sent, asked = Asking(1, 1), 10_000_000, 0
    while asking.repeat(4930, lambda: sent, 0.0):
        asked += 4930
    assert asked <= Asking.TRIES * Asking.LISTED + Asking.WINDOW_S * asking.per_s
    assert not asking.take(1, 5.9) and asking.take(1, 6.1)
