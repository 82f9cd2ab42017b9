"""Vietnamese text in drawn pictures, whichever font files are at hand.

Web fonts come cut into subsets (one file for Latin, one for the Vietnamese letters), so each
character is drawn with the first file that has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont

#: Looked up by name in the system's font folders where no file is given or none fits.
SYSTEM_FONTS = (
    "BeVietnamPro-SemiBold.ttf",
    "NotoSans-Bold.ttf",
    "DejaVuSans-Bold.ttf",
    "arial.ttf",
)

_NOT_A_CHARACTER = "\U0010ffff"

Font = ImageFont.FreeTypeFont


class Lettering:
    """Draws text with the first of several font files (TTF, OTF, WOFF2) that has each letter."""

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        self._paths = tuple(str(path) for path in paths) + SYSTEM_FONTS
        self._chosen: dict[str, str | None] = {}

    def path_for(self, character: str) -> str | None:
        """The file that ``character`` is drawn with; None where no file has it."""
        if character not in self._chosen:
            candidates = (path for path in self._paths if _has(path, character))
            self._chosen[character] = next(candidates, None)
        return self._chosen[character]

    def _runs(self, text: str, size_px: int) -> list[tuple[str, Font]]:
        return [
            ("".join(run), _font(path, size_px)) for path, run in groupby(text, key=self.path_for)
        ]

    def width_px(self, text: str, size_px: int) -> float:
        """The advance width of ``text``."""
        return sum(font.getlength(run) for run, font in self._runs(text, size_px))

    def fit_px(self, text: str, size_px: int, width_px: float) -> int:
        """The largest size not above ``size_px`` at which ``text`` fits in ``width_px``."""
        width = self.width_px(text, size_px)
        return size_px if width <= width_px else max(8, int(size_px * width_px / width))

    def draw_centred(
        self,
        draw: ImageDraw.ImageDraw,
        centre: tuple[float, float],
        text: str,
        size_px: int,
        fill: tuple[int, int, int],
    ) -> None:
        """Draw one line of NFC ``text`` with the middle of its capitals at ``centre``."""
        x = centre[0] - self.width_px(text, size_px) / 2
        baseline = centre[1] + 0.36 * size_px
        for run, font in self._runs(text, size_px):
            draw.text((x, baseline), run, font=font, fill=fill, anchor="ls")
            x += font.getlength(run)


@lru_cache(maxsize=256)
def _font(path: str | None, size_px: int) -> Font:
    if path is None:
        default = ImageFont.load_default(size_px)
        assert isinstance(default, ImageFont.FreeTypeFont), "Pillow is built without FreeType"
        return default
    return ImageFont.truetype(path, size_px)


@lru_cache(maxsize=1024)
def _has(path: str, character: str) -> bool:
    """Whether the file can be read and draws ``character`` unlike a missing letter."""
    try:
        font = _font(path, 24)
    except OSError:
        return False
    if character.isspace():
        return True
    return bytes(font.getmask(character)) != bytes(font.getmask(_NOT_A_CHARACTER))
