"""Recordings in a time of our own: cuts, losses, holes and ends, decoded as a player would."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from server.media import messages
from server.recorder.recording import Recording
from tests.recorder.publisher import Camera, Tone, decode, media, replay, segment_names, spans

ZERO_US = 1_800_000_000_000_000
CARD_LUMA = (25, 60)


class Bridge:
    """Drives one recording with a clock of its own."""

    def __init__(self, folder: Path, *publishers: Camera | Tone) -> None:
        self.wanted = messages.Recording("r1", str(folder), ZERO_US, "Tập huấn nghiệp vụ năm 2026")
        self.folder, self.publishers = folder, list(publishers)
        self.recording = Recording(self.wanted)
        self.now_us = ZERO_US
        self.asked: list[str] = []

    def show(self, source: str | None, track: str = "stage") -> None:
        self.recording.show(messages.Show("r1", track, source, self.now_us))

    def run(self, seconds: float, each: Callable[[], None] | None = None) -> None:
        end_us = self.now_us + int(seconds * 1_000_000)
        while self.now_us < end_us:
            self.now_us += 20_000
            for message in media(self.publishers, self.now_us - 20_000):
                self.recording.media(message)
            if self.now_us // 20_000 % 5 == 0:
                self.recording.advance(self.now_us)
                for source in self.recording.keyframes(self.now_us):
                    self.asked.append(source)
                    for publisher in self.publishers:
                        if publisher.source == source and isinstance(publisher, Camera):
                            publisher.keyframe = True

    def finish(self) -> None:
        self.recording.finish(self.now_us)
        self.recording.advance(self.now_us)
        assert self.recording.ended

    @property
    def timeline(self) -> dict[str, object]:
        return json.loads((self.folder / "timeline.json").read_text())


def assert_no_holes(folder: Path, duration_s: float) -> None:
    pieces = spans(folder / "stage.m3u8")
    assert pieces[0][0] == pieces[0][2] == 0
    for before, after in zip(pieces, pieces[1:], strict=False):
        assert after[0] == before[1], "a hole in the picture"
        assert after[2] == before[3], "a hole in the sound"
    for piece in pieces:
        assert 0 < piece[1] - piece[0] <= 2.2 * 90_000
        assert abs(piece[1] / 90_000 - piece[3] / 48_000) < 0.05
    assert abs(pieces[-1][1] / 90_000 - duration_s) < 0.01


def test_cuts_show_the_right_picture_and_sound_at_the_right_time(tmp_path: Path) -> None:
    one = Camera("site:one", 90, 320, 180, 15)
    two = Camera("site:two", 150, 640, 360, 30, reorder=0.3)
    three = Camera("site:three", 210, 480, 270, 10)
    tone = Tone("site:two", 440, on=False)
    bridge = Bridge(tmp_path, one, two, three, tone)
    bridge.run(1)
    expected: list[tuple[float, float, int | None]] = [(0, 1, None)]
    order = [one, two, three, None, two, one, three, two]
    for turn, camera in enumerate(order):
        start = (bridge.now_us - ZERO_US) / 1e6
        bridge.show(camera.source if camera else None)
        if camera:
            camera.keyframe = True
        tone.on = camera is two
        bridge.run(1.3 if turn % 3 else 2.1)
        expected.append((start, (bridge.now_us - ZERO_US) / 1e6, camera.luma if camera else None))
    bridge.finish()
    assert_no_holes(tmp_path, expected[-1][1])
    result = replay(tmp_path / "stage.m3u8")
    for start, end, luma in expected:
        for at in (start + 0.25, (start + end) / 2, end - 0.05):
            seen = result.luma_at(at)
            if luma is None:
                assert CARD_LUMA[0] < seen < CARD_LUMA[1], (at, seen)
            else:
                assert abs(seen - luma) < 6, (at, seen, luma)
        if end - start > 0.5 and luma == two.luma:
            assert result.energy(440, start + 0.3) > 4000
        else:
            assert result.energy(440, start + 0.3) < 300
    assert result.pictures[-1].time_s > expected[-1][1] - 0.2
    stage = bridge.timeline["stage"]
    assert [entry["source"] for entry in stage] == [None, *[c.source if c else None for c in order]]
    for entry, (start, end, _) in zip(stage, expected, strict=True):
        assert abs(entry["start_ms"] / 1000 - start) < 0.2
        assert abs(entry["end_ms"] / 1000 - end) < 0.2


def test_two_hundred_cuts_decode_without_a_hole(tmp_path: Path) -> None:
    cameras = [Camera(f"site:{n}", 80 + 40 * n, 160 + 160 * n, 90 + 90 * n, 10) for n in range(3)]
    bridge = Bridge(tmp_path, *cameras)
    for turn in range(200):
        camera = cameras[turn % 3]
        bridge.show(camera.source if turn % 7 else None)
        camera.keyframe = True
        bridge.run(0.2)
    bridge.finish()
    assert_no_holes(tmp_path, 40)
    result = replay(tmp_path / "stage.m3u8")
    times = [picture.time_s for picture in result.pictures]
    assert times == sorted(times) and len(set(times)) == len(times)
    assert len({picture.width for picture in result.pictures}) == 4
    assert len(result.pictures) > 350


def test_segments_begin_at_keyframes_asked_for(tmp_path: Path) -> None:
    camera = Camera("site:one", 120)
    bridge = Bridge(tmp_path, camera)
    bridge.show("site:one")
    bridge.run(16)
    listed = segment_names(tmp_path / "stage.m3u8")
    assert len(listed) >= 2, "segments are listed while the recording goes on"
    assert "#EXT-X-ENDLIST" not in (tmp_path / "stage.m3u8").read_text()
    bridge.finish()
    text = (tmp_path / "stage.m3u8").read_text()
    assert text.endswith("#EXT-X-ENDLIST\n")
    lengths = [float(line[8:-1]) for line in text.splitlines() if line.startswith("#EXTINF")]
    assert all(3.9 <= length <= 6 for length in lengths[:-1]), lengths
    assert 3 <= bridge.asked.count("site:one") <= 8


def test_losses_never_show_a_damaged_picture(tmp_path: Path) -> None:
    camera = Camera("site:one", 120, 320, 180, 30, loss=0.03, flash=True)
    bridge = Bridge(tmp_path, camera)
    bridge.show("site:one")
    bridge.run(10)
    bridge.finish()
    assert_no_holes(tmp_path, 10)
    result = replay(tmp_path / "stage.m3u8")
    for picture in result.pictures[2:]:
        assert min(abs(picture.luma - luma) for luma in (120, 160)) < 6, picture
    flashes = [
        after.time_s
        for before, after in zip(result.pictures, result.pictures[1:], strict=False)
        if before.luma < 140 < after.luma and before.luma > 100
    ]
    assert len(flashes) >= 3
    right = [at for at in flashes if abs((at + 0.5) % 1 - 0.5) < 0.1]
    assert len(right) >= len(flashes) - 2, flashes


def test_three_voices_are_mixed_and_a_gap_is_silence(tmp_path: Path) -> None:
    tones = [Tone("site:a", 300), Tone("site:b", 700), Tone("site:c", 1100), Tone("site:d", 1500)]
    bridge = Bridge(tmp_path, *tones)
    bridge.run(2)
    for tone in tones:
        tone.on = False
    bridge.run(1.5)
    tones[3].on = True
    bridge.run(1.5)
    bridge.finish()
    result = replay(tmp_path / "stage.m3u8")
    for frequency in (300, 700, 1100):
        assert result.energy(frequency, 1) > 4000
        assert result.energy(frequency, 2.5) < 100
    assert result.energy(1500, 1) < 300, "a fourth voice is not heard"
    assert result.energy(1500, 4.2) > 4000


def test_a_picture_that_stops_gives_way_to_the_card(tmp_path: Path) -> None:
    camera = Camera("site:one", 150)
    bridge = Bridge(tmp_path, camera)
    bridge.show("site:one")
    bridge.run(2)
    camera.stopped = True
    bridge.run(4)
    camera.stopped = False
    bridge.run(3)
    bridge.finish()
    assert_no_holes(tmp_path, 9)
    result = replay(tmp_path / "stage.m3u8")
    assert abs(result.luma_at(1) - 150) < 6
    assert CARD_LUMA[0] < result.luma_at(5) < CARD_LUMA[1]
    assert abs(result.luma_at(8.5) - 150) < 6


def test_it_goes_on_after_a_crash(tmp_path: Path) -> None:
    camera, tone = Camera("site:one", 150), Tone("site:one", 500)
    bridge = Bridge(tmp_path, camera, tone)
    bridge.show("site:one")
    bridge.run(6.5)
    last = sorted(tmp_path.glob("stage-*.m4s"))[-1]
    with last.open("r+b") as file:  # the crash: half of the last fragment never reached the disk
        file.truncate(last.stat().st_size - 700)
    bridge.now_us += 3_000_000
    camera.next_us = tone.next_us = bridge.now_us
    tone.position += 3 * 48_000
    bridge.recording = Recording(bridge.wanted)
    bridge.show("site:one")
    bridge.run(4)
    bridge.finish()
    assert_no_holes(tmp_path, 13.5)
    result = replay(tmp_path / "stage.m3u8")
    assert abs(result.luma_at(4) - 150) < 6
    assert CARD_LUMA[0] < result.luma_at(8) < CARD_LUMA[1]
    assert abs(result.luma_at(13.4) - 150) < 6
    assert result.energy(500, 4) > 4000
    assert result.energy(500, 8) < 100
    assert result.energy(500, 13) > 4000
    again = Recording(bridge.wanted)
    assert again.ended and again.duration_ms == 13_500


@pytest.mark.parametrize("fps, still", [(15, False), (15, True), (2, False), (0, False)])
def test_what_came_a_second_ago_is_on_disk(tmp_path: Path, fps: int, still: bool) -> None:
    """A picture that moves, one that stands still, a slow one, and the card."""
    tone, folder, copy = Tone("site:one", 500), tmp_path / "one", tmp_path / "copy"
    camera = Camera("site:one", 150, fps=fps or 15, stopped=not fps)
    bridge = Bridge(folder, camera, tone)
    bridge.show("site:one")
    bridge.run(1)
    camera.stopped = still or not fps
    for _ in range(5):  # until just before a still picture gives way to the card
        bridge.run(0.2)
        shutil.copytree(folder, copy)
        now_s = (bridge.now_us - ZERO_US) / 1e6
        wanted = messages.Recording("r1", str(copy), ZERO_US, "Tập huấn")
        end_s = Recording(wanted).duration_ms / 1000
        assert now_s - 0.9 < end_s < now_s - 0.3
        result = replay(copy / "stage.m3u8")
        assert result.energy(500, end_s - 0.3) > 4000
        assert (result.luma_at(end_s) > 140) == (fps > 0)
        shutil.rmtree(copy)
    bridge.finish()
    assert_no_holes(folder, 2)
    assert not list(folder.glob("*.tail"))


def test_a_still_presentation_is_on_disk_too(tmp_path: Path) -> None:
    screen = Camera("site:one:screen", 200, 640, 360, 5)
    bridge = Bridge(tmp_path, screen)
    bridge.show("site:one:screen", "presentation")
    bridge.run(1)
    screen.stopped = True
    bridge.run(2)
    again = Recording(bridge.wanted)
    assert not again.ended
    again.save()
    (clip,) = bridge.timeline["presentation"]
    assert clip["start_ms"] < 300 and 2_100 < clip["end_ms"] < 2_700
    assert abs(replay(tmp_path / clip["playlist"]).luma_at(2) - 200) < 6


def test_presentation_clips(tmp_path: Path) -> None:
    screen = Camera("site:one:screen", 200, 640, 360, 5)
    bridge = Bridge(tmp_path, screen)
    bridge.run(1)
    bridge.show("site:one:screen", "presentation")
    bridge.run(4)
    bridge.show(None, "presentation")
    bridge.run(2)
    screen.keyframe = True
    bridge.show("site:one:screen", "presentation")
    bridge.show("site:one:screen", "stage")
    bridge.run(3)
    bridge.finish()
    clips = bridge.timeline["presentation"]
    assert len(clips) == 2
    for clip, (start, end) in zip(clips, [(1, 5), (7, 10)], strict=True):
        assert abs(clip["start_ms"] / 1000 - start) < 0.6
        assert abs(clip["end_ms"] / 1000 - end) < 0.1
        result = replay(tmp_path / clip["playlist"])
        assert result.pictures[0].time_s == 0
        assert all(abs(picture.luma - 200) < 6 for picture in result.pictures)
        assert result.pictures[-1].time_s > (clip["end_ms"] - clip["start_ms"]) / 1000 - 0.5
    assert abs(replay(tmp_path / "stage.m3u8").luma_at(9.5) - 200) < 6


def test_native_players_get_the_same_fragments_with_a_map_for_each_source(tmp_path: Path) -> None:
    cameras = [Camera("site:one", 90), Camera("site:two", 200, 640, 360)]
    bridge = Bridge(tmp_path, *cameras)
    for turn in range(6):
        bridge.show(cameras[turn % 2].source)
        bridge.run(1.7)
    bridge.finish()
    lines = (tmp_path / "native.m3u8").read_text().splitlines()
    assert lines[-1] == "#EXT-X-ENDLIST"
    covered: dict[str, int] = {}
    seen, init, total_s = [], b"", 0.0
    for index, line in enumerate(lines):
        if line.startswith("#EXT-X-MAP"):
            init = (tmp_path / line.split('"')[1]).read_bytes()
            assert b"avc1" in init and b"avc3" not in init
        elif line.startswith("#EXTINF"):
            size, offset = map(int, lines[index + 1].partition(":")[2].split("@"))
            name, total_s = lines[index + 2], total_s + float(line[8:-1])
            assert covered.get(name, 0) == offset
            covered[name] = offset + size
            data = init + (tmp_path / name).read_bytes()[offset : offset + size]
            pictures = decode(data).pictures
            widths = {picture.width for picture in pictures}
            assert len(widths) == 1, "one source between two discontinuities"
            seen.append((widths.pop(), round(pictures[-1].luma / 10) * 10))
    assert covered == {path.name: path.stat().st_size for path in tmp_path.glob("stage-*.m4s")}
    assert set(seen) == {(1280, 40), (320, 90), (640, 200)}
    assert abs(total_s - 10.2) < 0.01
