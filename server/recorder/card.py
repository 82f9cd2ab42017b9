"""The card: a short group of pictures with the conference's title, shown where the stage is empty."""

from __future__ import annotations

import textwrap
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

from server.recorder import h264

WIDTH, HEIGHT = 1280, 720
FRAME_US = 500_000
"""from one frame of the card to the next"""
FRAMES = 10
_BACKGROUND, _TITLE, _ACCENT = (15, 23, 32), (236, 240, 244), (214, 60, 60)


class Card:
    """``frames``: MP4 samples, the first an IDR with its parameter sets; H.264 constrained baseline."""

    def __init__(self, title: str, font_path: Path | None = None) -> None:
        self.frames = _encode(draw(title, font_path))


def draw(title: str, font_path: Path | None) -> Image.Image:
    """The picture of the card, 1280×720."""
    image = Image.new("RGB", (WIDTH, HEIGHT), _BACKGROUND)
    pen = ImageDraw.Draw(image)
    lines = textwrap.wrap(" ".join(title.split())[:200], 34) or ["Điểm Cầu"]
    font = _font(font_path, 60 if len(lines) <= 3 else 44)
    pen.rectangle((WIDTH // 2 - 40, 150, WIDTH // 2 + 40, 156), fill=_ACCENT)
    middle = (WIDTH // 2, HEIGHT // 2)
    text = "\n".join(lines)
    pen.multiline_text(middle, text, _TITLE, font, anchor="mm", align="center", spacing=18)
    return image


def _font(path: Path | None, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for candidate in (str(path) if path else "", "DejaVuSans.ttf"):
        try:
            if candidate:
                return ImageFont.truetype(candidate, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _encode(image: Image.Image) -> list[bytes]:
    """One closed group of ``FRAMES`` equal pictures."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base = Fraction(FRAME_US, 1_000_000)
    encoder.options = {
        "profile": "baseline",
        "level": "3.1",
        "preset": "veryfast",
        "tune": "stillimage",
        "crf": "22",
        "x264-params": f"keyint={FRAMES}:scenecut=0:repeat-headers=1:aud=0:threads=1",
    }
    packets = []
    for index in range(FRAMES):
        frame = av.VideoFrame.from_image(image).reformat(format="yuv420p")
        frame.pts, frame.time_base = index, encoder.time_base
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return [_sample(bytes(packet)) for packet in packets]


def _sample(annex_b: bytes) -> bytes:
    """An MP4 sample of an access unit with start codes, without AUD and SEI."""
    nals = [part.rstrip(b"\0") for part in annex_b.split(b"\0\0\1")]
    kept = (h264.SLICE, h264.IDR, h264.SPS, h264.PPS)
    return h264.sample([nal for nal in nals if nal and h264.nal_type(nal) in kept])
