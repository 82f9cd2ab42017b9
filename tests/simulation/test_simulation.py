"""The demo's rooms and people: the numbers of the reference day, and pictures that are told apart."""

from __future__ import annotations

import asyncio
import colorsys
import contextlib
import os
import signal
import subprocess
import sys
import time
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from server.simulation import reference, troupe
from server.simulation.clips import Clip, make_clip
from server.simulation.lettering import Lettering
from server.simulation.publisher import MAX_PAYLOAD_BYTES, packetize
from server.simulation.scenes import FRAME_RATE, SWAY_FRAMES, Scene, hue_of
from server.simulation.troupe import FONTS

START = b"\0\0\0\1"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Two rooms' clips."""
    folder: Path = tmp_path_factory.mktemp("clips")
    return [make_clip(reference.SITES[i].name, i, folder) for i in (0, 4)]


def test_the_numbers_are_those_of_the_day() -> None:
    assert len(reference.SITES) == 11
    assert sum(room.expected for room in reference.SITES) == len(reference.roster()) == 1703


def test_codes_are_drawn_anew_and_names_are_not() -> None:
    one, other = reference.roster(), reference.roster()
    assert [row.name for row in one] == [row.name for row in other]
    assert len({row.code for row in one + other}) == 2 * 1703


def test_text_is_in_normal_form_c() -> None:
    texts = [row.name for row in reference.roster()] + list(reference.QUESTIONS)
    assert all(unicodedata.is_normalized("NFC", text) for text in texts)


def test_the_agenda_has_no_holes() -> None:
    times = reference.agenda_times(datetime(2023, 6, 3, 1, tzinfo=UTC))
    assert all(before[2] == after[1] for before, after in zip(times, times[1:], strict=False))


def test_every_right_answer_is_one_of_the_options() -> None:
    for quiz in reference.QUIZZES:
        assert all(0 <= item.correct < len(item.options) for item in quiz.items)


def test_a_room_is_known_by_its_colour(clips: list[Clip]) -> None:
    for clip in clips:
        decoder = av.CodecContext.create("h264", "r")
        frames = []
        for unit in clip.access_units[: FRAME_RATE * 2]:
            frames += decoder.decode(av.Packet(b"".join(START + nal for nal in unit)))
        image = frames[-1].to_image().resize((1, 1)).getpixel((0, 0))
        hue = colorsys.rgb_to_hsv(*(part / 255 for part in image))[0]
        wanted = hue_of(clip.index) / 360
        assert min(abs(hue - wanted), 1 - abs(hue - wanted)) < 0.06


def test_a_loop_turns_with_the_minute(clips: list[Clip]) -> None:
    assert (60 * FRAME_RATE) % len(clips[0].access_units) == 0


def test_its_sound_is_heard(clips: list[Clip]) -> None:
    decoder = av.CodecContext.create("opus", "r")
    decoder.sample_rate = 48_000  # type: ignore[attr-defined]
    decoder.layout = "mono"  # type: ignore[attr-defined]
    loudest = 0.0
    for packet in clips[0].opus_packets[:100]:
        for frame in decoder.decode(av.Packet(packet)):
            samples = memoryview(frame.planes[0]).cast("f")  # type: ignore[attr-defined]
            loudest = max(loudest, *map(abs, samples))
    assert loudest > 0.05


def test_fragments_come_together_again(clips: list[Clip]) -> None:
    unit = clips[0].access_units[0]
    payloads = packetize(unit)
    assert max(map(len, payloads)) <= MAX_PAYLOAD_BYTES
    rebuilt: list[bytes] = []
    for payload in payloads:
        if payload[0] & 0x1F != 28:
            rebuilt.append(payload)
        elif payload[1] & 0x80:
            rebuilt.append(bytes(((payload[0] & 0xE0) | (payload[1] & 0x1F),)) + payload[2:])
        else:
            rebuilt[-1] += payload[2:]
    assert tuple(rebuilt) == unit


def test_a_name_is_lettered_in_the_product_s_own_font() -> None:
    lettering = Lettering(FONTS)
    text = "ĐIỂM CẦU giây 0123456789" + "".join(room.name for room in reference.SITES)
    assert {lettering.path_for(letter) for letter in text} <= set(map(str, FONTS))


def test_pictures_put_together_are_those_that_were_drawn(clips: list[Clip]) -> None:
    """Most P pictures of a clip were encoded for another second's keyframe: nothing may drift."""
    clip, second = clips[1], 41
    decoder = av.CodecContext.create("h264", "r")
    frames = []
    for unit in clip.access_units[second * FRAME_RATE : (second + 1) * FRAME_RATE]:
        frames += decoder.decode(av.Packet(b"".join(START + nal for nal in unit)))
    frames += decoder.decode(None)
    assert len(frames) == FRAME_RATE
    scene = Scene(clip.name, clip.index, Lettering())
    planes = scene.background
    canvas = (bytearray(planes[0]), bytearray(planes[1]), bytearray(planes[2]))
    scene.clock(second).put(canvas)
    scene.speaker((second * FRAME_RATE + FRAME_RATE - 1) % SWAY_FRAMES).put(canvas)
    shown = bytes(frames[-1].planes[0])
    error = sum((a - b) ** 2 for a, b in zip(shown[::3], canvas[0][::3], strict=True))
    assert error / len(shown[::3]) < 6  # 40 dB
    scene.clock(second + 1).put(canvas)
    wrong = sum((a - b) ** 2 for a, b in zip(shown[::3], canvas[0][::3], strict=True))
    assert wrong > 1.5 * error  # so fine that another second's dial is told apart


@pytest.mark.parametrize("told", [True, False])
async def test_a_troupe_that_is_told_to_end_says_nothing_of_what_was_under_way(
    monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    begun = asyncio.Event()

    async def act(_plan: object) -> None:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60 if told else 0)
        raise ExceptionGroup("of a task group", [RuntimeError("it is shutting down")])

    monkeypatch.setattr(troupe, "_act", act)
    ending = asyncio.create_task(troupe._main(None))  # type: ignore[arg-type]
    await begun.wait()
    if told:
        os.kill(os.getpid(), signal.SIGTERM)
        await ending
    else:
        with pytest.raises(ExceptionGroup):
            await ending


MAKE = """
import asyncio, sys
from types import SimpleNamespace
from server.simulation import reference, troupe
encoders = dict.fromkeys(room.slug for room in reference.SITES)
asyncio.run(asyncio.to_thread(troupe._make_clips, SimpleNamespace(encoders=encoders, clips=sys.argv[1])))
"""


def offspring(pid: int) -> set[int]:
    """Children of any of a process's threads."""
    found = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        found |= set(map(int, children.read_text().split()))
    return found


def runs(pid: int) -> bool:
    """False for a zombie too: nobody may be there to reap it."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_who_makes_the_clips_ends_with_a_troupe_that_is_killed(tmp_path: Path) -> None:
    making = subprocess.Popen([sys.executable, "-c", MAKE, str(tmp_path)])
    deadline = time.monotonic() + 60
    while len(children := offspring(making.pid)) < 2:
        assert time.monotonic() < deadline and making.poll() is None
        time.sleep(0.05)
    making.kill()
    making.wait()
    while any(map(runs, children)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
