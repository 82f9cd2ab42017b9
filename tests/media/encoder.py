"""An encoder on the line: one layer of real H.264 at a rate of its own, keyframes when it pleases."""

from __future__ import annotations

import array
import asyncio
import math
import random
from collections.abc import Sequence
from fractions import Fraction

import av

from tests.media.raw import RawPeer
from tests.recorder.publisher import payloads

FRAME_RATE, GROUP_S, GROUPS = 25, 2, 3
WIDTH, HEIGHT = 1280, 720


def film(bitrate_bps: int) -> list[list[bytes]]:
    """The payloads of each picture of some seconds, a keyframe every two: a strip of grain that moves
    over a rich picture, so that keyframes are large and the rate is kept."""
    encoder = av.VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FRAME_RATE), Fraction(FRAME_RATE)
    encoder.bit_rate = bitrate_bps
    group, kbps = FRAME_RATE * GROUP_S, bitrate_bps // 1000
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "x264-params": f"keyint={group}:min-keyint={group}:scenecut=0:vbv-maxrate={kbps}"
        f":vbv-bufsize={kbps}:repeat-headers=1:slices=1:threads=1",
    }
    chance, size = random.Random(1), WIDTH * HEIGHT
    rich = b"".join(bytes([chance.randrange(40, 200)]) * 8 for _ in range(size // 8))
    grain = chance.randbytes(size)
    pictures = []
    for number in range(group * GROUPS):
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        at = number * 997 % (size // 2)
        strip = grain[at : at + size // 16]
        frame.planes[0].update(rich[:at] + strip + rich[at + len(strip) :])
        for plane in frame.planes[1:]:
            plane.update(b"\x80" * plane.buffer_size)
        frame.pts = number
        (packet,) = encoder.encode(frame)
        pictures.append(payloads(bytes(packet)))
    return pictures


def tone() -> list[bytes]:
    """Two seconds of 440 Hz, 20 ms a packet."""
    encoder = av.AudioCodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
    encoder.bit_rate = 32_000
    packets = []
    for start in range(0, 96_000, 960):
        frame = av.AudioFrame("s16", "mono", 960)
        frame.sample_rate, frame.pts = 48_000, start
        turn = 2 * math.pi * 440 / 48_000
        samples = array.array("h", (round(9000 * math.sin(turn * (start + i))) for i in range(960)))
        frame.planes[0].update(samples.tobytes())
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


class Encoder(RawPeer):
    """Publishes a film, over and over, with sound."""

    async def play(self, pictures: Sequence[Sequence[bytes]], sound: Sequence[bytes]) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        begin_s, shown, heard, sequence = loop.time(), 0, 0, 0
        while True:
            while heard * 0.02 <= loop.time() - begin_s:
                self.send_audio(heard, sound[heard % len(sound)])
                heard += 1
            while shown / FRAME_RATE <= loop.time() - begin_s:
                *others, last = pictures[shown % len(pictures)]
                for payload in others:
                    self.send_video(sequence, 3600 * shown, payload, marker=False)
                    sequence += 1
                self.send_video(sequence, 3600 * shown, last)
                sequence += 1
                shown += 1
            await asyncio.sleep(0.005)
