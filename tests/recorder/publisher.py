"""Sites for the tests: real H.264 and Opus, made RTP as a browser does, and what was recorded, read back."""

from __future__ import annotations

import io
import math
import random
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av

from server.media.messages import Media

MTU = 1100


def rtp(payload: bytes, sequence: int, timestamp: int, ssrc: int, marker: bool, kind: int) -> bytes:
    """One packet (RFC 3550)."""
    second = kind | (0x80 if marker else 0)
    return (
        struct.pack(">BBHII", 0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
        + payload
    )


def payloads(annex_b: bytes) -> list[bytes]:
    """Packetize an access unit (RFC 6184): STAP-A for the small head, FU-A for what is large."""
    nals = [part.rstrip(b"\0") for part in annex_b.split(b"\0\0\1")]
    nals = [nal for nal in nals if nal]
    made: list[bytes] = []
    head = [nal for nal in nals if nal[0] & 0x1F in (6, 7, 8)]
    if head:
        made.append(b"\x78" + b"".join(struct.pack(">H", len(nal)) + nal for nal in head))
    for nal in nals[len(head) :]:
        if len(nal) <= MTU:
            made.append(nal)
            continue
        parts = [nal[1:][at : at + MTU] for at in range(0, len(nal) - 1, MTU)]
        for index, part in enumerate(parts):
            flags = (0x80 if index == 0 else 0) | (0x40 if index == len(parts) - 1 else 0)
            made.append(bytes([nal[0] & 0xE0 | 28, flags | nal[0] & 0x1F]) + part)
    return made


@dataclass
class Camera:
    """A picture of one brightness, with noise so that a frame needs several packets."""

    source: str
    luma: int
    width: int = 320
    height: int = 180
    fps: int = 15
    loss: float = 0.0
    reorder: float = 0.0
    delay_us: int = 20_000
    flash: bool = False
    """every other whole second of the wall clock 40 brighter"""
    keyframe: bool = True
    sequence: int = 65_500
    stopped: bool = False
    codec: str = "H264"
    next_us: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(7))

    def __post_init__(self) -> None:
        encoder = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height, encoder.pix_fmt = self.width, self.height, "yuv420p"
        encoder.time_base = Fraction(1, 90_000)
        encoder.options = {
            "profile": "baseline",
            "preset": "ultrafast",
            "tune": "zerolatency",
            "x264-params": "keyint=10000:scenecut=0:aud=1:threads=1:slices=2",
        }
        self.encoder = encoder
        self.ssrc = self.dice.getrandbits(32)
        self.first = self.dice.getrandbits(32)

    def step(self, now_us: int) -> Iterator[tuple[int, bytes]]:
        """(arrival, packet) of the frames captured until ``now_us``."""
        self.next_us = self.next_us or now_us
        while self.next_us <= now_us:
            yield from self._frame(self.next_us)
            self.next_us += 1_000_000 // self.fps

    def _frame(self, at_us: int) -> Iterator[tuple[int, bytes]]:
        luma = self.luma + (40 if self.flash and at_us // 1_000_000 % 2 else 0)
        frame = av.VideoFrame(self.width, self.height, "yuv420p")
        plane = frame.planes[0]
        noise = self.dice.randbytes(1500).translate(bytes(luma - 4 + i % 9 for i in range(256)))
        plane.update(noise + bytes([luma]) * (plane.buffer_size - len(noise)))
        for chroma in frame.planes[1:]:
            chroma.update(b"\x80" * chroma.buffer_size)
        stamp = at_us * 9 // 100
        frame.pts, frame.time_base = stamp, self.encoder.time_base
        if self.keyframe:
            frame.pict_type = av.video.frame.PictureType.I
            self.keyframe = False
        made = [p for packet in self.encoder.encode(frame) for p in payloads(bytes(packet))]
        if self.stopped:
            return
        packets = []
        for index, payload in enumerate(made):
            last = index == len(made) - 1
            packets.append(rtp(payload, self.sequence, stamp + self.first, self.ssrc, last, 102))
            self.sequence += 1
        if len(packets) > 1 and self.dice.random() < self.reorder:
            packets[-1], packets[-2] = packets[-2], packets[-1]
        for index, packet in enumerate(packets):
            if self.dice.random() >= self.loss:
                jitter = self.dice.randrange(8_000)
                yield at_us + self.delay_us + jitter + 100 * index, packet


@dataclass
class Tone:
    """A sine of ``frequency`` Hz as Opus, 20 ms a packet, while ``on``."""

    source: str
    frequency: int
    loud: int = 9000
    on: bool = True
    delay_us: int = 20_000
    sequence: int = 100
    position: int = 0
    next_us: int = 0
    codec: str = "opus"

    def __post_init__(self) -> None:
        encoder = av.CodecContext.create("libopus", "w")
        encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
        encoder.time_base = Fraction(1, 48_000)
        self.encoder = encoder

    def step(self, now_us: int) -> Iterator[tuple[int, bytes]]:
        """(arrival, packet) of the sound captured until ``now_us``."""
        self.next_us = self.next_us or now_us
        while self.next_us <= now_us:
            frame = av.AudioFrame("s16", "mono", 960)
            turn = 2 * math.pi * self.frequency / 48_000
            pcm = [int(self.loud * math.sin(turn * (self.position + i))) for i in range(960)]
            frame.planes[0].update(
                array("h", pcm).tobytes().ljust(frame.planes[0].buffer_size, b"\0")
            )
            frame.sample_rate, frame.pts = 48_000, self.position
            for packet in self.encoder.encode(frame):
                if self.on:
                    data = rtp(bytes(packet), self.sequence, self.position, 77, False, 111)
                    yield self.next_us + self.delay_us, data
                self.sequence += 1
            self.position += 960
            self.next_us += 20_000


def media(publishers: list[Camera | Tone], now_us: int) -> list[Media]:
    """What arrives of all publishers' frames captured until ``now_us``, in order of arrival."""
    arrived = [
        Media(publisher.source, publisher.codec, at_us, (packet,))
        for publisher in publishers
        for at_us, packet in publisher.step(now_us)
    ]
    return sorted(arrived, key=lambda message: message.at_us)


@dataclass
class Picture:
    """A decoded frame."""

    time_s: float
    luma: float
    width: int


@dataclass
class Replay:
    """A recording as a player decodes it."""

    pictures: list[Picture]
    sound: dict[int, array[int]]
    """mono PCM by position (samples)"""

    def luma_at(self, time_s: float) -> float:
        """Brightness of the picture that stands at this time."""
        return [p for p in self.pictures if p.time_s <= time_s + 1e-6][-1].luma

    def energy(self, frequency: int, time_s: float, length_s: float = 0.2) -> float:
        """Amplitude of a tone in the sound from ``time_s`` on (Goertzel)."""
        begin, count = int(time_s * 48_000), int(length_s * 48_000)
        pcm = array("h")
        for position in sorted(self.sound):
            block = self.sound[position]
            if position + len(block) > begin and position < begin + count:
                pcm.extend(block[max(0, begin - position) : begin + count - position])
        assert len(pcm) > count * 0.9, "the sound has a hole"
        factor, s1, s2 = 2 * math.cos(2 * math.pi * frequency / 48_000), 0.0, 0.0
        for value in pcm:
            s1, s2 = value + factor * s1 - s2, s1
        return 2 * math.sqrt(max(0.0, s1 * s1 + s2 * s2 - factor * s1 * s2)) / len(pcm)


def segment_names(playlist: Path) -> list[str]:
    """The segments that a playlist lists."""
    lines = playlist.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def replay(playlist: Path) -> Replay:
    """Decode all that a playlist lists; any error of the decoder is raised."""
    folder = playlist.parent
    data = (folder / "init.mp4").read_bytes()
    data += b"".join((folder / name).read_bytes() for name in segment_names(playlist))
    return decode(data)


def decode(data: bytes) -> Replay:
    """Decode an init segment and what follows; any error of the decoder is raised."""
    result = Replay([], {})
    with av.open(io.BytesIO(data), options={"err_detect": "explode"}) as container:
        for frame in container.decode(video=0):
            plane, line = bytes(frame.planes[0]), frame.planes[0].line_size
            rows = range(0, frame.height * line, 8 * line)
            luma = b"".join(plane[at : at + frame.width : 16] for at in rows)
            result.pictures.append(Picture(frame.time, sum(luma) / len(luma), frame.width))
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        for frame in container.decode(audio=0) if container.streams.audio else ():
            for part in resampler.resample(frame):
                pcm = array("h", bytes(part.planes[0])[: 2 * part.samples])
                result.sound[round(frame.time * 48_000)] = pcm
    return result


def spans(playlist: Path) -> list[tuple[int, int, int, int]]:
    """(video start, video end, audio start, audio end) of each fragment, in ticks, from the boxes."""
    from server.recorder import fmp4

    found = []
    for name in segment_names(playlist):
        data = (playlist.parent / name).read_bytes()
        for kind, start, end in fmp4._boxes(data, 0, len(data)):
            if kind == b"moof":
                runs = {track: span for track, *span in fmp4._spans(data, start + 8, end)}
                video, audio = runs[fmp4.VIDEO], runs.get(fmp4.AUDIO, (0, 0))
                found.append((video[0], video[1], audio[0], audio[1]))
    return found
