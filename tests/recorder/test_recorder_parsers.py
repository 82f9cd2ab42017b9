"""Nothing that a site sends brings the parsers down, and what they accept is bounded."""

from __future__ import annotations

import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.recorder import h264, rtp
from server.recorder.clock import Clock
from server.recorder.frames import Assembler, VideoSource
from server.recorder.mixer import Aac, Mixer, Sum, Voice
from tests.recorder.publisher import Camera, Tone
from tests.recorder.publisher import rtp as packet

START_US = 1_800_000_000_000_000


@given(st.binary(max_size=80))
def test_any_bytes_are_rtp_or_refused(data: bytes) -> None:
    try:
        parsed = rtp.parse(data)
    except ValueError:
        return
    assert data[0] >> 6 == 2 and parsed.payload in data


def test_rtp_header_fields() -> None:
    extension = b"\xbe\xde\x00\x01\x10\xff\x00\x00"
    data = b"\xb1\xe6\x12\x34" + b"\0\0\0\x05\0\0\0\x09" + b"csrc" + extension + b"media\0\0\x03"
    assert rtp.parse(data) == rtp.Packet(True, 0x1234, 5, 9, b"media")


@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans(), st.integers(0, 3)), max_size=30))
def test_any_payloads_are_frames_or_nothing(parts: list[tuple[bytes, bool, int]]) -> None:
    assembler = Assembler()
    for number, (payload, marker, stamp) in enumerate(parts):
        given_packet = rtp.Packet(marker, number, stamp, 1, payload)
        for frame in assembler.feed(given_packet, number, False):
            nals = h264.nals_of(frame.data)
            assert nals and h264.sample(nals) == frame.data


@given(st.binary(max_size=60))
def test_any_bytes_are_parameter_sets_or_refused(data: bytes) -> None:
    for parse in (h264.parse_sps, h264.pps_id):
        try:
            parse(b"\x67" + data)
        except ValueError:
            continue


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=30)), max_size=10))
def test_damage_to_real_video_is_survived(damage: list[tuple[int, bytes]]) -> None:
    camera = Camera("site:one", 100, 96, 64)
    source, made = VideoSource(), [p for n in range(8) for p in camera.step(START_US + n * 66_667)]
    for index, noise in damage:
        at_us, data = made[index % len(made)]
        made[index % len(made)] = at_us, data[:12] + noise + data[12 + len(noise) :]
    for at_us, data in made:
        source.push(rtp.parse(data), at_us)
    source.take(START_US + 5_000_000)
    assert all(h264.nals_of(frame.data) for frame in source.frames["stage"])


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_as_opus_are_sound_or_silence(payloads: list[bytes]) -> None:
    mixer = Mixer(START_US)
    for number, payload in enumerate(payloads):
        given_packet = rtp.Packet(False, number, 960 * number, 1, payload)
        mixer.push("site:one", given_packet, START_US + 20_000 * number)
    frames = list(mixer.advance(START_US + 1_000_000, START_US + 2_000_000))
    assert len(frames) == 45 and all(frames)


@given(st.permutations(range(12)), st.sets(st.integers(1, 10), max_size=4))
def test_reordered_packets_come_in_order(order: list[int], lost: set[int]) -> None:
    reorder, first = rtp.Reorder(), 65_530
    numbers = [0, *(n for n in order if n and n not in lost)]
    for at_us, number in enumerate(numbers):
        reorder.push(rtp.Packet(False, first + number & 0xFFFF, 0, 1, b""), at_us)
    arrivals = list(reorder.take(1_000_000))
    taken = [arrival.packet.sequence - first & 0xFFFF for arrival in arrivals]
    assert taken == sorted(numbers)
    for arrival, number in zip(arrivals, taken, strict=True):
        assert arrival.lost == (number - 1 in lost)


def test_a_missing_packet_is_waited_for_no_longer_than_the_window() -> None:
    reorder = rtp.Reorder(window_us=300_000)
    reorder.push(rtp.Packet(False, 1, 0, 1, b""), 0)
    reorder.push(rtp.Packet(False, 3, 0, 1, b""), 10_000)
    assert [arrival.packet.sequence for arrival in reorder.take(20_000)] == [1]
    assert list(reorder.take(309_000)) == []
    assert [arrival.lost for arrival in reorder.take(310_000)] == [True]


def test_the_clock_smooths_jitter_and_follows_what_stays() -> None:
    clock, dice = Clock(90_000), random.Random(1)
    for n in range(300):
        time_us = clock.time_us((n * 3000 - 500) & 0xFFFFFFFF, n * 33_333 + dice.randrange(25_000))
        assert abs(time_us - n * 33_333) < 26_000
    late = [clock.time_us(n * 3000 - 500, n * 33_333 + 400_000) for n in range(300, 420)]
    assert abs(late[0] - 300 * 33_333) < 26_000, "a late packet moves nothing"
    assert abs(late[-1] - 419 * 33_333 - 400_000) < 26_000, "a longer path is followed"
    assert abs(clock.time_us(77, 99_000_000) - 99_000_000) < 26_000, "so is a new beginning"


def test_sound_is_placed_to_the_sample() -> None:
    voice, tone = Voice(START_US), Tone("site:one", 1000)
    made = [pair for n in range(10) for pair in tone.step(START_US + n * 20_000)]
    del made[4:6]
    for at_us, data in made:
        voice.push(rtp.parse(data), at_us - 20_000)
    voice.take(START_US + 1_000_000)
    blocks = [voice.read(n * 1024, 1024 * 3) for n in range(0, 9, 3)]
    pcm = array("h", b"".join(block for block in blocks if block is not None))
    assert len(pcm) == 9 * 1024
    assert max(map(abs, pcm[4 * 960 + 300 : 6 * 960])) < 200, "what was lost is silence"
    assert max(map(abs, pcm[2 * 960 : 3 * 960])) > 8000
    assert max(map(abs, pcm[7 * 960 : 8 * 960])) > 8000


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_after_a_loss_only_an_idr_goes_on(lost: int) -> None:
    camera = Camera("site:one", 100, 320, 180)
    frames = [list(camera.step(START_US + n * 66_667)) for n in range(4)]
    camera.keyframe = True
    frames.append(list(camera.step(START_US + 4 * 66_667)))
    del frames[1][min(lost, len(frames[1]) - 1)]
    source = VideoSource()
    for at_us, data in [pair for frame in frames for pair in frame]:
        source.push(rtp.parse(data), at_us)
    source.take(START_US + 5_000_000)
    assert [frame.key for frame in source.frames["stage"]] == [True, True]


def test_a_packet_of_padding_alone_is_no_loss() -> None:
    source, camera = VideoSource(), Camera("site:one", 100, 96, 64)
    made = [data for n in range(3) for _, data in camera.step(START_US + n * 66_667)]
    last = rtp.parse(made[-1])
    made.append(packet(b"", last.sequence + 1, last.timestamp, last.ssrc, False, 102))
    camera.sequence += 1
    made += [data for _, data in camera.step(START_US + 4 * 66_667)]
    for data in made:
        source.push(rtp.parse(data), START_US)
    source.take(START_US)
    assert len(source.frames["stage"]) == 5 and not source.waiting


@given(
    st.lists(st.lists(st.integers(-32768, 32767), min_size=40, max_size=40), min_size=2, max_size=3)
)
def test_voices_are_added_and_run_over_nowhere(voices: list[list[int]]) -> None:
    parts = [array("h", voice * 30).tobytes() for voice in voices]
    expected = [max(-32768, min(32767, sum(each))) for each in zip(*voices, strict=True)]
    added = Sum()
    for _ in range(2):
        assert array("h", added.of(parts)).tolist() == expected * 30


def test_what_opus_leaves_of_a_microphone_that_is_off_is_silence() -> None:
    aac, nobody, dice = Aac(), Aac(), random.Random(1)
    loud = array("h", [dice.randrange(-9000, 9000) for _ in range(4 * 1024)]).tobytes()
    rest = array("h", [dice.randrange(-1, 2) for _ in range(20 * 1024)]).tobytes()
    heard = list(aac.encode(loud + rest))
    silence = list(nobody.encode(bytes(len(loud + rest))))
    assert len(heard) == 24 and heard[:5] != silence[:5] and heard[9:] == silence[9:]
    faint = array("h", [dice.choice([-256, 0, 257]) for _ in range(4 * 1024)]).tobytes()
    assert list(aac.encode(faint))[-1] != silence[-1], "the same bytes otherwise"
