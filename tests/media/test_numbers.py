"""Sequence numbers, time stamps, histories and keyframes, with plain integers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.media import keyframes, resolution
from server.media.history import History
from server.media.rewrite import Rewriter
from server.media.rota import Rota
from server.media.sequence import (
    ECHO_S,
    ECHOES,
    HOLES_A_PACKET,
    MAX_GAP,
    MAX_HOLES,
    MAX_RARE,
    MAX_TRIES,
    MAX_WAIT_S,
    PATIENCE,
    RETRY_S,
    SLACK_S,
    Answers,
    Arrivals,
    extend,
)
from server.media.timeline import SourceClock, Timeline


def test_extend_follows_wraps_in_both_directions() -> None:
    assert extend(2, 65534) == 65538
    assert extend(65534, 65538) == 65534
    assert extend(7, 70000) == 65536 + 7


def test_arrivals_find_holes_and_duplicates() -> None:
    arrivals = Arrivals(90000)
    base = arrivals.receive(65534, 0, 10, 0.0)
    assert base is not None
    assert arrivals.receive(1, 0, 10, 0.0) == base + 3
    assert arrivals.due(0.0) == [65535, 0]
    assert arrivals.due(0.01) == [], "not asked again at once"
    assert arrivals.receive(65535, 0, 10, 0.02) == base + 1
    assert arrivals.receive(65535, 0, 10, 0.02) is None
    assert arrivals.due(0.1) == [0]
    assert arrivals.report() == (64, 1), "one of four"
    assert arrivals.receive(2, 0, 10, 0.2) == base + 4
    assert arrivals.report() == (0, 1)


def test_arrivals_remember_few_holes() -> None:
    """Nobody asks for lost sound, so nothing else ever takes its holes away."""
    arrivals = Arrivals(48000)
    step = HOLES_A_PACKET + 1
    for number in range(0, 1000 * step, step):
        arrivals.receive(number & 0xFFFF, 0, 10, 0.0)
    assert len(arrivals.holes) == MAX_HOLES
    assert arrivals.highest is not None and arrivals.highest - 1 in arrivals.holes, "the newest"


def test_who_loses_nearly_everything_is_asked_for_little_of_it() -> None:
    """Each jump as long as is ever asked for: work for us with every packet, and for its line."""
    arrivals = Arrivals(90000)
    asked = 0
    for number in range(1000):
        arrivals.receive((MAX_GAP * number) & 0xFFFF, 0, 10, 0.0)
        asked += len(arrivals.due(0.0))
    assert asked <= MAX_HOLES + 1000 * HOLES_A_PACKET


def test_packets_that_come_in_reverse_are_all_taken() -> None:
    arrivals = Arrivals(90000)
    arrivals.receive(0xFFFF, 0, 10, 0.0)
    for begin in range(0, 60_000, 10):
        for number in reversed(range(begin, begin + 10)):
            assert arrivals.receive(number, 0, 10, 0.0) is not None
    assert not arrivals.holes


def test_arrivals_give_up_and_begin_anew() -> None:
    arrivals = Arrivals(90000)
    arrivals.receive(0, 0, 10, 0.0)
    arrivals.receive(2, 0, 10, 0.0)
    asked = sum(bool(arrivals.due(i * RETRY_S)) for i in range(30))
    assert 0 < asked <= MAX_TRIES
    before = arrivals.highest
    assert before is not None
    after = arrivals.receive(30000, 0, 10, 2.0)
    assert after is not None and after > before and after & 0xFFFF == 30000
    assert not arrivals.due(2.0), "a new beginning has no holes"


def test_what_is_missing_is_asked_for_again_when_an_answer_is_overdue() -> None:
    answers = Answers()
    arrivals = Arrivals(90000, answers)
    arrivals.receive(0, 0, 10, 0.0)
    assert arrivals.due_s == math.inf
    arrivals.receive(2, 0, 10, 1.0)
    assert arrivals.due_s == 1.0, "at once"
    assert arrivals.due(1.0) == [1] and arrivals.due_s == 1.0 + RETRY_S, "nothing is known yet"
    assert arrivals.due(arrivals.due_s) == [1]
    arrivals.answered(1, 1.2)
    arrivals.receive(1, 0, 10, 1.2)
    assert arrivals.due(1.3) == [] and arrivals.due_s == math.inf
    sound = Arrivals(48000, answers)
    sound.receive(0, 0, 10, 1.5)
    sound.receive(2, 0, 10, 1.5)
    assert sound.due(1.5) == [1] and sound.due_s > 1.7, "it is the same line"
    arrivals.receive(4, 0, 10, 2.0)
    assert arrivals.due(2.0) == [3] and arrivals.due_s == 2.0 + 0.2 * PATIENCE + SLACK_S
    assert arrivals.due(arrivals.due_s - 0.001) == []
    assert arrivals.due(arrivals.due_s) == [3]
    for number in range(5, 405, 2):  # the line becomes a short one
        arrivals.receive(number + 1, 0, 10, 3.0)
        arrivals.due(3.0)
        arrivals.answered(number, 3.01)
        arrivals.receive(number, 0, 10, 3.01)
    assert arrivals.due(5.0) == []
    arrivals.receive(406, 0, 10, 6.0)
    assert arrivals.due(6.0) == [405] and arrivals.due_s == 6.0 + RETRY_S, "no sooner"


def test_who_repeats_by_rtx_is_asked_three_times_at_first_since_repeats_may_be_lost_as_well() -> (
    None
):
    arrivals = Arrivals(90000, apart=True)
    arrivals.receive(0, 0, 10, 0.0)
    arrivals.receive(2, 0, 10, 0.0)
    asked = []
    while arrivals.due_s < 0.2:
        asked.append(arrivals.due_s)
        assert arrivals.due(arrivals.due_s) == [1]
    echo_s, again_s = 2 * ECHO_S, [RETRY_S * (1 + each) for each in range(3)]
    assert asked == pytest.approx([0.0, ECHO_S, echo_s, *(echo_s + each for each in again_s)])
    arrivals.answered(1, 0.2)
    arrivals.receive(1, 0, 10, 0.2)
    arrivals.receive(4, 0, 10, 1.0)
    assert arrivals.due(1.0) == [3]
    arrivals.answered(3, 1.0 + ECHO_S / 2)
    arrivals.receive(3, 0, 10, 1.0 + ECHO_S / 2)
    assert _asked_until(arrivals, 2.0) == [], "who is near repeats it once"


@pytest.mark.parametrize(("whole", "rarely"), [(1, False), (9, False), (49, True)])
def test_who_loses_much_is_asked_once_at_first_since_repeats_take_room(
    whole: int, rarely: bool
) -> None:
    """``whole``: so many come for each that is lost."""
    arrivals = Arrivals(90000, apart=True)
    arrivals.receive(0, 0, 10, 0.0)
    times = []
    for number in range(1, 400 * (whole + 1), whole + 1):
        at_s = float(number)
        for later in range(1, whole + 1):
            arrivals.receive((number + later) & 0xFFFF, 0, 10, at_s)
        come_s = at_s + RETRY_S / 2
        times.append(len(_asked_until(arrivals, come_s)))
        arrivals.answered(number & 0xFFFF, come_s)
        arrivals.receive(number & 0xFFFF, 0, 10, come_s)
    twice = times.count(1 + ECHOES)
    assert twice + times.count(1) == len(times)
    assert twice == len(times) if rarely else MAX_RARE <= twice <= 3 * MAX_RARE


def test_what_was_never_asked_for_tells_nothing_of_answers() -> None:
    arrivals = Arrivals(90000)
    arrivals.answered(7, 0.0)
    arrivals.receive(0, 0, 10, 0.0)
    arrivals.receive(2, 0, 10, 0.0)
    for number in (0, 1, 2, 3):  # a browser probes its line with packets that were sent already
        arrivals.answered(number, 0.9)
    assert arrivals.due(0.9) == [1] and arrivals.due_s == 0.9 + RETRY_S


def _asked_until(arrivals: Arrivals, at_s: float) -> list[int]:
    """What is asked for until then, by a timer that is always on time."""
    asked = []
    while arrivals.due_s <= at_s:
        asked += arrivals.due(arrivals.due_s)
    return asked


def test_who_is_only_overtaken_is_asked_for_no_more_once_that_is_known() -> None:
    arrivals = Arrivals(90000, apart=True)
    arrivals.receive(0, 0, 10, 0.0)
    asked = []
    for number in range(1, 41, 2):
        at_s = float(number)
        arrivals.receive(number + 1, 0, 10, at_s)
        asked += _asked_until(arrivals, at_s + 0.0299)
        arrivals.receive(number, 0, 10, at_s + 0.03)
    assert set(asked) == {1} and len(asked) == 1 + ECHOES, "the first one"
    for number in range(41, 201, 2):  # from now on they are lost
        at_s = float(number)
        arrivals.receive(number + 1, 0, 10, at_s)
        assert set(_asked_until(arrivals, at_s + MAX_WAIT_S)) == {number}
        arrivals.answered(number, at_s + 0.1)
        arrivals.receive(number, 0, 10, at_s + 0.1)
    arrivals.receive(202, 0, 10, 300.0)
    assert _asked_until(arrivals, 300.001) == [201], "at once"


def test_where_repeats_look_like_the_packets_themselves_nothing_is_learnt_of_overtaking() -> None:
    arrivals = Arrivals(48000)
    arrivals.receive(0, 0, 10, 0.0)
    for number in range(1, 41, 2):
        arrivals.receive(number + 1, 0, 10, float(number))
        assert _asked_until(arrivals, float(number)) == [number]
        arrivals.receive(number, 0, 10, number + 0.03)


def test_what_may_be_missing_behind_the_newest_packet_is_asked_for_and_still_comes_once() -> None:
    arrivals = Arrivals(90000)
    arrivals.miss_next(1, 0.0)
    assert arrivals.due(0.0) == [], "nothing has come yet"
    base = arrivals.receive(0xFFFE, 0, 10, 0.0)
    assert base is not None
    arrivals.miss_next(3, 0.1)
    assert arrivals.due_s == 0.1 and arrivals.due(0.1) == [0xFFFF, 0, 1]
    assert arrivals.counts() == (1, 1), "nobody knows yet whether it was sent"
    assert arrivals.receive(0xFFFF, 0, 10, 0.2) == base + 1, "it was not lost"
    assert arrivals.receive(0xFFFF, 0, 10, 0.2) is None
    assert arrivals.receive(1, 0, 10, 0.2) == base + 3
    assert arrivals.due(0.1 + RETRY_S) == [0], "as if it had been missed just now"
    assert arrivals.receive(0, 0, 10, 0.3) == base + 2
    assert not arrivals.holes and arrivals.counts() == (4, 4)


@given(st.lists(st.integers(0, 0xFFFF), max_size=200))
def test_arrivals_never_number_a_packet_twice(sequences: list[int]) -> None:
    arrivals = Arrivals(48000)
    numbers = [arrivals.receive(s, 0, 1, 0.0) for s in sequences]
    known = [n for n in numbers if n is not None]
    assert len(known) == len(set(known)) and all(n > 0 for n in known)
    assert all(n & 0xFFFF == s for n, s in zip(numbers, sequences, strict=True) if n is not None)


def test_history_keeps_the_newest() -> None:
    history = History(4)
    for number in range(6):
        history.put(number, bytes([number]))
    history.put(1, b"late")
    assert [history.get(n) for n in range(7)] == [
        None, None, b"\x02", b"\x03", b"\x04", b"\x05", None,
    ]  # fmt: skip


parts = st.lists(
    st.tuples(st.integers(65536, 1 << 30), st.integers(0, 0xFFFFFFFF), st.integers(1, 50)),
    min_size=1,
    max_size=7,
)


@given(parts)
def test_rewriting_has_no_seam_and_leads_back(parts: list[tuple[int, int, int]]) -> None:
    rewriter: Rewriter[int] = Rewriter(90000)
    now_s, sent = 100.0, []
    for index, (number, timestamp, count) in enumerate(parts):
        rewriter.switch(index, number, timestamp, now_s)
        assert rewriter.forward(number - 1, timestamp, now_s) is None
        for i in range(count):
            out = rewriter.forward(number + i, (timestamp + 3000 * i) & 0xFFFFFFFF, now_s)
            assert out is not None
            sent.append((*out, index, number + i))
            now_s += 1 / 30
    for before, after in zip(sent, sent[1:], strict=False):
        assert (after[0] - before[0]) & 0xFFFF == 1
        assert abs(((after[1] - before[1]) & 0xFFFFFFFF) - 3000) <= 1
    for sequence, timestamp, index, number in sent:
        found = rewriter.origin(sequence)
        assert found is not None and (found[0].origin, found[1]) == (index, number)
    assert rewriter.origin((sent[-1][0] + 1) & 0xFFFF) is None


def test_timelines_of_one_publisher_share_its_clock() -> None:
    clock = SourceClock()
    picture, sound = Timeline(clock, 90000), Timeline(clock, 48000)
    assert picture.timestamp_at(10.0) is None
    picture.packet(500, 10.0)
    assert picture.timestamp_at(11.0) == 500 + 90000
    picture.report(5 << 32, 1000, 20.3)  # 300 ms on the way
    sound.report(5 << 32, 7, 20.1)  # 100 ms: a better measure of the clocks' difference
    assert picture.timestamp_at(20.1) == 1000
    assert sound.timestamp_at(21.1) == 7 + 48000


def test_keyframes_are_found_by_their_parameter_sets() -> None:
    h264 = keyframes.H264Entry()
    assert h264.begins(bytes.fromhex("65aa")), "none in band so far: an IDR must do"
    stap = bytes.fromhex("78 0002 67aa 0001 68")
    assert h264.begins(stap) and h264.begins(bytes.fromhex("67aa"))
    assert not h264.begins(bytes.fromhex("65aa")), "it follows its parameter sets"
    assert not h264.begins(bytes.fromhex("7c 85")) and not h264.begins(bytes.fromhex("61"))
    vp8 = keyframes.Vp8Entry()
    assert vp8.begins(bytes.fromhex("10 00")) and not vp8.begins(bytes.fromhex("10 01"))
    assert vp8.begins(bytes.fromhex("90 f0 8001 05 20 00")), "after a long descriptor"
    assert not vp8.begins(bytes.fromhex("00 00")) and not vp8.begins(bytes.fromhex("11 00"))


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_entries_survive_any_payload(payload: bytes) -> None:
    for codec in ("H264", "VP8", "opus"):
        keyframes.entry(codec).begins(payload)
        resolution.size(codec, payload)
    resolution.size("H264", b"\x67" + payload)


def test_requests_are_joined() -> None:
    requests = keyframes.Requests()
    assert not requests.due(0.0)
    requests.want()
    requests.want()
    assert requests.due(0.0) and not requests.due(1.0)
    requests.want()
    assert not requests.due(0.2) and requests.due(0.6)
    requests.want()
    requests.arrived(0.7)
    assert not requests.due(2.0)


def test_who_ignores_requests_is_known() -> None:
    requests = keyframes.Requests()
    for now_s in (0.0, 0.5, 1.0):
        requests.want()
        requests.due(now_s)
    assert requests.ignored
    requests.arrived(2.0)
    assert requests.ignored, "it came by itself"
    requests.want()
    assert requests.due(3.0)
    requests.arrived(3.2)
    assert not requests.ignored


def test_a_burst_by_a_parts_shifts_goes_on_as_packet_by_packet_does() -> None:
    """After the past as well, whose own time stamps are others."""
    ways: list[Rewriter[str]] = [Rewriter(90_000, plain=True) for _ in range(2)]
    for rewriter in ways:
        part = rewriter.switch("a", 70_000, 9_000, 1.0, [0, 3_000, 6_000])
        for i in range(4):
            rewriter.forward(70_000 + i, 3_000 * i, 1.0)
    for i in (4, 5, 6):
        numbers = ways[0].forward(70_000 + i, 3_000 * i, 1.1)
    ways[1].advance(part, 70_006, 18_000, 1.1)
    assert numbers == (ways[1].highest & 0xFFFF, ways[1].timestamp)
    parts = [rewriter.switch("b", 5, 77, 1.5) for rewriter in ways]
    assert parts[0] == parts[1]


def test_the_past_is_squeezed_between_what_was_sent_and_now() -> None:
    rewriter: Rewriter[str] = Rewriter(90000)
    rewriter.switch("a", 65536, 0, 1.0)
    sent = [rewriter.forward(65536, 0, 1.0)]
    past = [3000 * i for i in range(29)]
    rewriter.switch("b", 70000, 3000 * 29, 1.02, past)
    sent += [rewriter.forward(70000 + i, 3000 * i, 1.02) for i in range(30)]
    stamps = [out[1] for out in sent if out is not None]
    steps = [(b - a) & 0xFFFFFFFF for a, b in zip(stamps, stamps[1:], strict=False)]
    assert len(stamps) == 31 and all(step == 90 for step in steps)
    assert sum(steps) >= 0.02 * 90000


def test_what_is_left_out_leaves_no_gap_and_moves_no_time() -> None:
    rewriter: Rewriter[str] = Rewriter(90000)
    rewriter.switch("a", 100, 5000, 1.0)
    first = rewriter.forward(100, 5000, 1.0)
    assert first is not None
    rewriter.leave_out(110)
    assert rewriter.forward(105, 5500, 1.1) is None, "it comes too late"
    assert rewriter.forward(110, 8000, 1.2) == ((first[0] + 1) & 0xFFFF, (first[1] + 3000) % 2**32)
    found = [rewriter.origin((first[0] + i) & 0xFFFF) for i in range(2)]
    assert [each[1] for each in found if each is not None] == [100, 110]


def test_what_was_sent_with_the_past_never_goes_again() -> None:
    rewriter: Rewriter[str] = Rewriter(90000)
    part = rewriter.switch("a", 65536, 0, 1.0)
    sent = [rewriter.forward(65536 + i, 3000 * i, 1.0) for i in range(5)]
    part.even_from = 65541  # a frame that was held back comes once more
    again = [rewriter.forward(65536 + i, 3000 * i, 1.1) for i in range(5)]
    assert None not in sent and again == [None] * 5
    present = rewriter.forward(65541, 15_000, 1.2)
    assert present is not None and sent[-1] is not None and present[0] == sent[-1][0] + 1


def test_sizes_are_read_from_parameter_sets() -> None:
    cropped = bytes.fromhex("6764001facd9405005bb0110000003001000000303c0f1831960")  # x264, high
    assert resolution.size("H264", cropped) == (1280, 720)
    full_hd = bytes.fromhex("6742c028d900780227e584000003000400000300f03c60c920")
    assert resolution.size("H264", full_hd) == (1920, 1080)
    assert resolution.size("H264", bytes.fromhex("61ffff")) is None
    vp8 = bytes.fromhex("10 d0a000 9d012a 4001 b400")
    assert resolution.size("VP8", vp8) == (320, 180)


@given(st.integers(0, 80), st.lists(st.floats(0.0, 3.0), max_size=60))
def test_each_stream_is_reported_on_once_a_round(count: int, steps_s: list[float]) -> None:
    members = list(range(count))
    rota, now_s, taken = Rota(members, 5.0), 100.0, []
    rota.take(now_s)
    for step_s in steps_s:
        now_s += step_s
        found = rota.take(now_s)
        assert len(set(found)) == len(found), "nobody twice at once"
        taken += found
    turns = [taken[i::count] for i in range(count)] if count else []
    assert all(len(set(turn)) <= 1 for turn in turns), "one after the other, round and round"
    assert abs(len(taken) - count * (now_s - 100.0) / 5.0) < 1.01


def test_a_round_that_was_slept_through_is_not_made_up_for() -> None:
    rota = Rota("abc", 5.0)
    rota.take(0.0)
    assert sorted(rota.take(60.0)) == ["a", "b", "c"]
    assert rota.take(60.1) == []
    assert Rota([], 5.0).take(1.0) == []
