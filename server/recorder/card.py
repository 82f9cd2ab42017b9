"""The card: a short group of pictures with the conference's title, shown where the stage is empty."""

from __future__ import annotations

import itertools
import logging
import textwrap
import unicodedata
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

from server.recorder import h264

log = logging.getLogger(__name__)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
FONTS = Path(__file__).parents[1] / "static" / "vendor" / "be-vietnam-pro"
"""where the installed package has its fonts; a checkout has them beside it"""
if not FONTS.exists():
    FONTS = Path(__file__).parents[2] / "static" / "vendor" / "be-vietnam-pro"
WIDTH, HEIGHT = 1280, 720
FRAME_US = 500_000
"""from one frame of the card to the next"""
FRAMES = 10
_BACKGROUND, _TITLE, _ACCENT = (15, 23, 32), (236, 240, 244), (237, 158, 42)


class Card:
    """``frames``: MP4 samples, the first an IDR with its parameter sets; H.264 constrained baseline."""

    def __init__(self, title: str, font_path: Path | None = None) -> None:
        self.frames = _encode(draw(title, font_path))


def draw(title: str, font_path: Path | None) -> Image.Image:
    """The picture of the card, 1280×720."""
    image = Image.new("RGB", (WIDTH, HEIGHT), _BACKGROUND)
    pen = ImageDraw.Draw(image)
    text = unicodedata.normalize("NFC", " ".join(title.split()))[:200] or "Điểm Cầu"
    lines = textwrap.wrap(text, 34)
    size = 60 if len(lines) <= 3 else 44
    fonts = _fonts(font_path, size)
    top = HEIGHT // 2 - (len(lines) - 1) * size * 3 // 4
    pen.rectangle((WIDTH // 2 - 40, top - 2 * size, WIDTH // 2 + 40, top - 2 * size + 6), _ACCENT)
    for index, line in enumerate(lines):
        _draw_line(pen, line, fonts, top + index * size * 3 // 2)
    return image


def _fonts(path: Path | None, size: int) -> list[Font]:
    """Fonts to take each letter from, the first that has it: web fonts come cut into subsets."""
    found: list[Font] = []
    for candidate in [path] if path else sorted(FONTS.glob("*-600-normal.woff2")):
        try:
            found.append(ImageFont.truetype(candidate, size))
        except OSError:
            log.warning("no font can be read from %s", candidate.name)
    return [*found, ImageFont.load_default(size)]


def _draw_line(pen: ImageDraw.ImageDraw, line: str, fonts: list[Font], y: int) -> None:
    """One centred line; ``y`` is the middle of its small letters."""
    letters = [(letter, _font_of(letter, fonts)) for letter in line]
    runs = [
        (font, "".join(letter for letter, _ in run))
        for font, run in itertools.groupby(letters, key=lambda pair: pair[1])
    ]
    x = (WIDTH - sum(font.getlength(text) for font, text in runs)) / 2
    for font, text in runs:
        pen.text((x, y), text, _TITLE, font, anchor="ls")
        x += font.getlength(text)


def _font_of(letter: str, fonts: list[Font]) -> Font:
    for font in fonts:
        if letter == " " or font.getmask(letter).getbbox() is not None:
            return font
    return fonts[0]


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
    frame = av.VideoFrame.from_image(image).reformat(format="yuv420p")
    for index in range(FRAMES):
        frame.pts, frame.time_base = index, encoder.time_base
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return [h264.sample_of_annex_b(bytes(packet)) for packet in packets]
