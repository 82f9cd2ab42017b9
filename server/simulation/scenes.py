"""The pictures of a simulated site: a stylised room that names it and runs a clock.

A scene is one still background and, for each frame of the loop, two small patches that change
(the clock and the person speaking), so that a minute of video costs little to draw. Planes are
YUV 4:2:0 as the encoder takes them.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from functools import lru_cache

import av
from av.video.reformatter import VideoReformatter
from PIL import Image, ImageDraw, ImageFilter

from server.simulation.lettering import Lettering

WIDTH_PX, HEIGHT_PX = 640, 360
FRAME_RATE = 15
LOOP_S = 60

#: Hue of each site's picture in degrees; neighbours in the list are 360/11 apart.
SITE_COLOURS: tuple[float, ...] = tuple((212 + index * 360 / 11) % 360 for index in range(11))

#: Frames after which the speaker's movement begins again; it divides the loop.
SWAY_FRAMES = 60

_SCALE = 2  # drawn twice as large and reduced: smooth edges at little cost
_CLOCK = (496, 16, 624, 176)  # left, top, right, bottom: multiples of a macroblock
_CLOCK_CENTRE, _CLOCK_RADIUS = (64 * _SCALE, 62 * _SCALE), 52 * _SCALE  # within its patch
_SPEAKER = (32, 64, 160, 192)

_REFORMATTER = VideoReformatter()

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]


def hue_of(index: int) -> float:
    """The hue in degrees that dominates the picture of the site at ``index``."""
    return SITE_COLOURS[index % len(SITE_COLOURS)]


@dataclass(frozen=True)
class Patch:
    """A rectangle of new pixels: ``planes`` are tightly packed Y, U and V."""

    box: Box
    planes: tuple[bytes, bytes, bytes]

    def put(self, canvas: tuple[bytearray, bytearray, bytearray]) -> None:
        """Copy the pixels into a whole picture's planes."""
        left, top, right, bottom = self.box
        for plane, (data, pixels) in enumerate(zip(canvas, self.planes)):
            halved = 1 if plane else 0
            width, stride = (right - left) >> halved, WIDTH_PX >> halved
            start = (top >> halved) * stride + (left >> halved)
            for row in range((bottom - top) >> halved):
                at = start + row * stride
                data[at : at + width] = pixels[row * width : (row + 1) * width]


class Scene:
    """The pictures of one site.

    ``name`` stands on the board; ``index`` chooses the colour and how people sit.
    """

    def __init__(self, name: str, index: int, lettering: Lettering) -> None:
        self._name = name
        self._index = index
        self._lettering = lettering
        self._large = self._draw_room()
        self._dial = self._draw_dial()
        self.background = _planes(self._large.reduce(_SCALE))

    def tone(self, lightness: float, saturation: float = 0.5) -> Colour:
        """A colour of the site's hue."""
        red, green, blue = colorsys.hls_to_rgb(hue_of(self._index) / 360, lightness, saturation)
        return round(255 * red), round(255 * green), round(255 * blue)

    def clock(self, second: int) -> Patch:
        """The wall clock at ``second`` of any minute: a hand that is true, and the number."""
        image = self._dial.copy()
        draw = ImageDraw.Draw(image)
        draw.line([_CLOCK_CENTRE, _on_dial(second, 0.74)], self.tone(0.35, 0.9), 7)
        _disc(draw, _CLOCK_CENTRE, 5 * _SCALE, self.tone(0.35, 0.9))
        label = (_CLOCK_CENTRE[0], 136 * _SCALE)
        text = f"{second:02d} giây"
        self._lettering.draw_centred(draw, label, text, 20 * _SCALE, self.tone(0.98, 0.3))
        return Patch(_CLOCK, _planes(image.reduce(_SCALE)))

    def _draw_dial(self) -> Image.Image:
        image, draw = self._patch_canvas(_CLOCK)
        face = self.tone(0.97, 0.35)
        _disc(draw, _CLOCK_CENTRE, _CLOCK_RADIUS, face, self.tone(0.22), 4 * _SCALE)
        for tick in range(60):
            inner, width = (0.78, 2) if tick % 5 == 0 else (0.86, 1)
            ends = [_on_dial(tick, inner), _on_dial(tick, 0.9)]
            draw.line(ends, fill=self.tone(0.3), width=width * _SCALE)
        return image

    def speaker(self, frame: int) -> Patch:
        """The person at the lectern, who sways and gestures."""
        image, draw = self._patch_canvas(_SPEAKER)
        angle = 2 * math.pi * (frame % SWAY_FRAMES) / SWAY_FRAMES
        x = (64 + 14 * math.sin(angle)) * _SCALE
        y = (40 + 2 * math.sin(4 * angle)) * _SCALE
        suit, skin = self.tone(0.2, 0.45), self.tone(0.78, 0.4)
        body = (x - 30 * _SCALE, y + 22 * _SCALE, x + 30 * _SCALE, y + 120 * _SCALE)
        draw.rounded_rectangle(body, 22 * _SCALE, suit)
        shoulder = (x + 24 * _SCALE, y + 40 * _SCALE)
        reach = -0.5 + 0.7 * math.sin(2 * angle + self._index)
        hand = (
            shoulder[0] + 30 * _SCALE * math.cos(reach),
            shoulder[1] + 30 * _SCALE * math.sin(reach),
        )
        draw.line([shoulder, hand], suit, 11 * _SCALE)
        _disc(draw, hand, 7 * _SCALE, skin)
        collar = [(x - 9 * _SCALE, y + 20 * _SCALE), (x + 9 * _SCALE, y + 20 * _SCALE)]
        draw.polygon([*collar, (x, y + 46 * _SCALE)], fill=self.tone(0.95, 0.3))
        _disc(draw, (x, y), 20 * _SCALE, skin)
        draw.chord(
            (x - 21 * _SCALE, y - 23 * _SCALE, x + 21 * _SCALE, y + 17 * _SCALE), 180, 360, suit
        )
        lectern = [(22, 104), (106, 104), (98, 128), (30, 128)]
        draw.polygon([(px * _SCALE, py * _SCALE) for px, py in lectern], self.tone(0.3, 0.4))
        return Patch(_SPEAKER, _planes(image.reduce(_SCALE)))

    def _patch_canvas(self, box: Box) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        left, top, right, bottom = (edge * _SCALE for edge in box)
        image = self._large.crop((left, top, right, bottom))
        return image, ImageDraw.Draw(image)

    def _draw_room(self) -> Image.Image:
        """The room without what moves, at ``_SCALE`` times the size."""
        width, height = WIDTH_PX * _SCALE, HEIGHT_PX * _SCALE
        image = Image.composite(
            Image.new("RGB", (width, height), self.tone(0.30, 0.6)),
            Image.new("RGB", (width, height), self.tone(0.68, 0.6)),
            _vertical_gradient(width, height),
        )
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, 204 * _SCALE, width, height), self.tone(0.34, 0.5))  # the floor
        draw.rectangle((0, 203 * _SCALE, width, 206 * _SCALE), self.tone(0.2, 0.5))
        self._draw_board(draw)
        foot = [(62, 190), (130, 190), (126, 240), (66, 240)]
        draw.polygon([(x * _SCALE, y * _SCALE) for x, y in foot], self.tone(0.26, 0.4))
        for row, (y, size) in enumerate(((226, 13), (262, 17), (308, 23))):
            self._draw_row(draw, y, size, row)
        return image

    def _draw_board(self, draw: ImageDraw.ImageDraw) -> None:
        left, top, right, bottom = (edge * _SCALE for edge in (178, 40, 478, 168))
        frame = 5 * _SCALE
        outer = (left - frame, top - frame, right + frame, bottom + frame)
        draw.rounded_rectangle(outer, 12 * _SCALE, self.tone(0.2, 0.5))
        draw.rounded_rectangle((left, top, right, bottom), 9 * _SCALE, self.tone(0.95, 0.7))
        middle, room = (left + right) / 2, right - left - 28 * _SCALE
        letters = self._lettering
        letters.draw_centred(
            draw, (middle, top + 32 * _SCALE), "ĐIỂM CẦU", 19 * _SCALE, self.tone(0.38, 0.8)
        )
        size = letters.fit_px(self._name, 54 * _SCALE, room)
        letters.draw_centred(draw, (middle, top + 80 * _SCALE), self._name, size, self.tone(0.16))

    def _draw_row(self, draw: ImageDraw.ImageDraw, y: int, size: int, row: int) -> None:
        """People who sit side by side, seen from behind; one seat in nine or so is empty."""
        step = size * 3.1
        count = int(WIDTH_PX / step) + 2
        for seat in range(count):
            x = (seat - 0.5 * (row % 2)) * step
            if (seat * 7 + row * 5 + self._index * 3) % 9 == 0:
                continue
            lean = ((seat * 5 + self._index + row) % 5 - 2) * size * 0.06
            coat = self.tone(0.13 + 0.03 * ((seat + row + self._index) % 4), 0.45)
            centre = ((x + lean) * _SCALE, y * _SCALE)
            shoulders = (x - 1.25 * size, y + 0.8 * size, x + 1.25 * size, y + 4.2 * size)
            draw.rounded_rectangle([v * _SCALE for v in shoulders], size * _SCALE, coat)
            _disc(draw, centre, size * 0.82 * _SCALE, self.tone(0.10, 0.4))
        chair = [v * _SCALE for v in (0, y + 2.1 * size, WIDTH_PX, y + 2.5 * size)]
        draw.rectangle(chair, self.tone(0.42, 0.45))


def _disc(
    draw: ImageDraw.ImageDraw,
    centre: tuple[float, float],
    radius: float,
    fill: Colour,
    outline: Colour | None = None,
    width: int = 1,
) -> None:
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill, outline, width)


def _on_dial(second: float, part: float) -> tuple[float, float]:
    """The point of the clock at ``part`` of its radius where ``second`` is."""
    angle, radius = 2 * math.pi * second / 60, _CLOCK_RADIUS * part
    return _CLOCK_CENTRE[0] + radius * math.sin(angle), _CLOCK_CENTRE[1] - radius * math.cos(angle)


@lru_cache(maxsize=1)
def _vertical_gradient(width: int, height: int) -> Image.Image:
    """A mask that is dark at the top, softened towards the sides as a lamp would."""
    lamp = Image.new("L", (32, 18), 255)
    ImageDraw.Draw(lamp).ellipse((4, -12, 28, 14), fill=0)
    return lamp.filter(ImageFilter.GaussianBlur(4)).resize(
        (width, height), Image.Resampling.BICUBIC
    )


def _planes(image: Image.Image) -> tuple[bytes, bytes, bytes]:
    """The picture as tightly packed Y, U and V planes (4:2:0, BT.601, limited range)."""
    frame = _REFORMATTER.reformat(av.VideoFrame.from_image(image), format="yuv420p")
    packed = []
    for plane in frame.planes:
        data, stride = bytes(plane), plane.line_size
        if stride != plane.width:
            rows = range(plane.height)
            data = b"".join(data[row * stride : row * stride + plane.width] for row in rows)
        packed.append(data[: plane.width * plane.height])
    return packed[0], packed[1], packed[2]
