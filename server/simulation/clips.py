"""Looped clips of simulated sites: a minute of H.264 and twenty seconds of Opus, made once.

A clip is encoded before it is needed and kept in a file named after what went into it, so that
ten sites publish on a small part of one core. The loop's beginning is a whole minute of the
wall clock: the frame to show at Unix time t is number ``floor(t * FRAME_RATE)`` modulo the
loop's length, and the dial in the picture is then right.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import PictureType

from server.simulation import lettering, scenes, voices
from server.simulation.scenes import FRAME_RATE, LOOP_S, SITE_COLOURS, hue_of
from server.simulation.voices import VOICE_PITCHES_HZ, pitch_of

__all__ = [
    "FRAME_RATE", "LOOP_S", "SITE_COLOURS", "VOICE_PITCHES_HZ", "Clip", "hue_of", "make_clip", "pitch_of"
]  # fmt: skip

#: Frames from one keyframe to the next: one second.
KEYFRAME_INTERVAL = FRAME_RATE
#: Opus packets carry 20 ms each (RFC 7587 section 4.2).
OPUS_PACKET_S = 0.02

_MAGIC = b"DCCLIP1\n"
_QUANTISER = 26
_OPUS_BITRATE_BPS = 24_000
#: NAL unit types (H.264 table 7-1): IDR slice, SEI, SPS, access unit delimiter.
_IDR, _SEI, _SPS, _DELIMITER = 5, 6, 7, 9


@dataclass(frozen=True)
class Clip:
    """What a simulated site sends, over and over.

    ``access_units`` holds for each frame its NAL units without start codes; every
    ``KEYFRAME_INTERVAL``-th begins with SPS and PPS and is an IDR picture. ``opus_packets``
    are 20 ms each; ``audio_levels`` gives each one's level in -dBov, 0 (loudest) to 127.
    """

    name: str
    index: int
    access_units: tuple[tuple[bytes, ...], ...]
    opus_packets: tuple[bytes, ...]
    audio_levels: bytes


def make_clip(name: str, index: int, folder: Path, font_paths: Sequence[Path] = ()) -> Clip:
    """The clip of the site called ``name``, from ``folder`` where it was made before.

    ``index`` chooses its colour (``hue_of``) and voice (``pitch_of``); ``font_paths`` are
    tried before the system's fonts. The first time takes about half a second.

    Raises: OSError where ``folder`` cannot be written.
    """
    path = folder / f"{_digest(name, index, font_paths)}.clip"
    try:
        return _read(path.read_bytes(), name, index)
    except (FileNotFoundError, ValueError, struct.error):
        pass  # not made yet, or a file that was cut off
    access_units = tuple(_encode_video(name, index, lettering.Lettering(font_paths)))
    sound = voices.speak(index)
    clip = Clip(name, index, access_units, tuple(_encode_audio(sound)), _levels(sound))
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    unfinished.write_bytes(_write(clip))
    unfinished.replace(path)
    return clip


def _digest(name: str, index: int, font_paths: Sequence[Path]) -> str:
    """Names the content: the parameters, the fonts and the code that draws and speaks."""
    digest = hashlib.sha256(f"{name}\0{index}\0{av.__version__}".encode())
    sources = [Path(module.__file__ or "") for module in (lettering, scenes, voices)]
    for path in (*sources, Path(__file__), *font_paths):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _encode_video(name: str, index: int, letters: lettering.Lettering) -> list[tuple[bytes, ...]]:
    """The frames of one loop, each as its NAL units.

    The clock moves only with the second, where a keyframe comes anyway, and the speaker's
    movement repeats after a few seconds. So one period of movement is encoded whole; of every
    later second the keyframe alone is, and it is followed by the P pictures of the second with
    the same movement. That is exact: at a constant quantiser those pictures skip everything
    but the speaker, whose part of the keyframe is the same in both.
    """
    encoder = _video_encoder()
    scene = scenes.Scene(name, index, letters)
    canvas = (
        bytearray(scene.background[0]),
        bytearray(scene.background[1]),
        bytearray(scene.background[2]),
    )
    period = scenes.SWAY_FRAMES
    movement = [scene.speaker(frame) for frame in range(period)]
    encoded: dict[int, tuple[bytes, ...]] = {}
    for number in range(FRAME_RATE * LOOP_S):
        keyframe = number % KEYFRAME_INTERVAL == 0
        if number >= period and not keyframe:
            encoded[number] = encoded[number % period]
            continue
        movement[number % period].put(canvas)
        if keyframe:
            scene.clock(number // FRAME_RATE).put(canvas)
        (packet,) = encoder.encode(_frame(canvas, len(encoded), keyframe))
        encoded[number] = _nal_units(bytes(packet))
    return list(encoded.values())


def _video_encoder() -> av.VideoCodecContext:
    """Constrained baseline, constant quantiser, no picture held back, keyframes where asked."""
    encoder = av.VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height = scenes.WIDTH_PX, scenes.HEIGHT_PX
    encoder.pix_fmt = "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FRAME_RATE), Fraction(FRAME_RATE)
    encoder.thread_count = 1
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "level": "3.1",
        "forced-idr": "1",
        "x264-params": f"qp={_QUANTISER}:keyint={KEYFRAME_INTERVAL}:min-keyint=1:scenecut=0"
        ":repeat-headers=1:deblock=0,0:aud=0:slices=1:ipratio=1.0",
    }
    return encoder


def _frame(
    canvas: tuple[bytearray, bytearray, bytearray], number: int, keyframe: bool
) -> av.VideoFrame:
    frame = av.VideoFrame(scenes.WIDTH_PX, scenes.HEIGHT_PX, "yuv420p")
    frame.pts = number
    frame.pict_type = PictureType.I if keyframe else PictureType.NONE
    for plane, data in zip(frame.planes, canvas):
        assert plane.line_size == plane.width, "frames of this width have no padding"
        plane.update(bytes(data))
    return frame


def _nal_units(annex_b: bytes) -> tuple[bytes, ...]:
    """Split an Annex B access unit; SEI and delimiters are left out.

    The SPS is marked as conforming to the Extended profile too (constraint_set2_flag, which
    x264 leaves out), as every constrained baseline stream does: it then says 42e01f.
    """
    units = []
    for piece in annex_b.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]:
        kind = piece[0] & 0x1F
        if kind == _SPS:
            piece = piece[:2] + bytes([piece[2] | 0x20]) + piece[3:]
        if kind not in (_SEI, _DELIMITER):
            units.append(piece)
    return tuple(units)


def _encode_audio(sound: array[int]) -> Iterator[bytes]:
    """Opus packets of 20 ms."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = voices.SAMPLE_RATE, "mono", "s16"
    encoder.bit_rate = _OPUS_BITRATE_BPS
    encoder.options = {"application": "voip", "compression_level": "3", "frame_duration": "20"}
    step = int(voices.SAMPLE_RATE * OPUS_PACKET_S)
    for start in range(0, len(sound), step):
        frame = av.AudioFrame("s16", "mono", step)
        frame.sample_rate, frame.pts = voices.SAMPLE_RATE, start
        frame.planes[0].update(sound[start : start + step].tobytes())
        for packet in encoder.encode(frame):
            yield bytes(packet)


def _levels(sound: array[int]) -> bytes:
    """The level of each 20 ms in -dBov (RFC 6464 section 3), from every fourth sample."""
    step = int(voices.SAMPLE_RATE * OPUS_PACKET_S)
    levels = bytearray()
    for start in range(0, len(sound), step):
        heard = sound[start : start + step : 4]
        power = sum(sample * sample for sample in heard) / len(heard) / 32768**2
        levels.append(min(127, round(-10 * math.log10(power))) if power else 127)
    return bytes(levels)


def _write(clip: Clip) -> bytes:
    """The clip as a file: magic, then counts, then each piece after its length."""
    parts = [_MAGIC, struct.pack("!II", len(clip.access_units), len(clip.opus_packets))]
    for units in clip.access_units:
        parts.append(struct.pack("!B", len(units)))
        parts.extend(struct.pack("!I", len(unit)) + unit for unit in units)
    parts.extend(struct.pack("!I", len(packet)) + packet for packet in clip.opus_packets)
    parts.append(clip.audio_levels)
    return b"".join(parts)


def _read(data: bytes, name: str, index: int) -> Clip:
    """The inverse of ``_write``. Raises: ValueError or struct.error where the file is damaged."""
    if not data.startswith(_MAGIC):
        raise ValueError("not a clip")
    frames, packets = struct.unpack_from("!II", data, len(_MAGIC))
    at = len(_MAGIC) + 8

    def piece() -> bytes:
        nonlocal at
        (length,) = struct.unpack_from("!I", data, at)
        at += 4 + length
        return data[at - length : at]

    access_units = []
    for _ in range(frames):
        at += 1
        access_units.append(tuple(piece() for _ in range(data[at - 1])))
    opus_packets = tuple(piece() for _ in range(packets))
    if len(data) - at != packets:
        raise ValueError("the clip was cut off")
    return Clip(name, index, tuple(access_units), opus_packets, data[at:])
