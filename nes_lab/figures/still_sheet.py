"""Draw lines, areas and words on a white sheet with Pillow, and return the sheet as a PNG picture.

Tests: tests/figures/test_still_picture.py
"""

from __future__ import annotations

import io
import itertools
import math
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

from nes_lab.packages import needed_for

__all__ = ["Color", "Points", "Sheet", "color_of", "text_width"]

_SHARP = 2
"""The picture is drawn larger by this factor, and then shrunk, so that edges are smooth."""
_INK = (31, 36, 48, 255)
_DASHES = {"dot": (2, 3), "dash": (7, 4), "longdash": (11, 5), "dashdot": (7, 3, 2, 3), "longdashdot": (11, 3, 2, 3)}
_LETTERS = str.maketrans({"×": "x", "−": "-", "–": "-", "→": ">", "\xa0": " "})
"""Letters that the font of Pillow lacks, and what is written instead."""
Color = tuple[int, int, int, int]
Points = Sequence[tuple[float, float]]
Box = tuple[float, float, float, float]


class Sheet:
    """A white sheet. All places are in pixels of the finished picture, from the upper left corner.

    Args:
        width: Width in pixels.
        height: Height in pixels.

    Raises:
        MissingPackageError: If Pillow is not installed.

    Examples:
        >>> sheet = Sheet(40, 20)
        >>> sheet.line([(0, 10), (40, 10)], (255, 0, 0, 255))
        >>> sheet.png()[1:4]
        b'PNG'
    """

    def __init__(self, width: int, height: int) -> None:
        with needed_for("drawing pictures"):
            from PIL import Image, ImageDraw
        self.width, self.height = width, height
        self._image, self._draw = Image, ImageDraw
        self._sheet = Image.new("RGB", (width * _SHARP, height * _SHARP), "white")

    def line(
        self, points: Points, color: Color, width: float = 1, dash: str = "solid", clip: Box | None = None
    ) -> None:
        """Draw a line through points.

        Args:
            points: Where it goes.
            color: Red, green, blue and opacity, each from 0 to 255.
            width: Width in pixels.
            dash: Name of its dashes in plotly, such as ``"dot"``.
            clip: Left, top, right and bottom edge; what lies outside is not drawn. None: all is drawn.
        """
        parts = _dashed(points, _DASHES[dash]) if dash in _DASHES else [points]
        size = max(1, round(width * _SHARP))
        self._paint(clip, lambda pen, move: [pen.line(move(part), color, size, "curve") for part in parts])

    def areas(self, areas: Sequence[Points], colors: Sequence[Color], clip: Box | None = None) -> None:
        """Fill areas. Each has the corners that are given, and a color."""
        pairs = list(zip(areas, colors, strict=True))
        self._paint(clip, lambda pen, move: [pen.polygon(move(corners), color) for corners, color in pairs])

    def discs(self, centers: Points, radius: float, color: Color) -> None:
        """Draw filled circles."""
        r = radius * _SHARP
        self._paint(None, lambda pen, move: [pen.circle(center, r, color) for center in move(centers)])

    def text(self, x: float, y: float, text: str, anchor: str, size: int = 12, color: Color = _INK) -> None:
        """Write a text. Tags are dropped, and letters that the font lacks are replaced or dropped.

        Args:
            x: Place of the anchor from the left edge.
            y: Place of the anchor from the upper edge.
            text: The text.
            anchor: Which point of the text is there, as Pillow calls it: ``"lm"`` is the middle of the left edge.
            size: Size of the letters in pixels.
            color: Red, green, blue and opacity, each from 0 to 255.
        """
        self._paint(None, lambda pen, move: pen.text(move([(x, y)])[0], _plain(text), color, _font(size), anchor))

    def png(self) -> bytes:
        """Return the bytes of a PNG picture of the sheet."""
        file = io.BytesIO()
        small = self._sheet.resize((self.width, self.height), self._image.Resampling.LANCZOS)
        small.save(file, "PNG", optimize=True)
        return file.getvalue()

    def _paint(self, clip: Box | None, draw: Any) -> None:
        """Call a function with a pen for the sheet, or for a part of it, and with a function that gives the places there."""
        left, top, right, bottom = (round(_SHARP * edge) for edge in clip or (0, 0, 0, 0))
        part = self._sheet.crop((left, top, right, bottom)) if clip else self._sheet
        draw(self._draw.Draw(part, "RGBA"), lambda points: [(_SHARP * x - left, _SHARP * y - top) for x, y in points])
        if clip:  # Pillow itself would draw over the edge
            self._sheet.paste(part, (left, top))


def text_width(text: str, size: int = 12) -> float:
    """Return the width of a text in pixels."""
    return _font(size).getlength(_plain(text)) / _SHARP


def color_of(text: str, opacity: float | None = None) -> Color:
    """Return red, green, blue and opacity, each from 0 to 255, of a color as plotly writes it.

    Examples:
        >>> color_of("#0072B2", 0.5), color_of("rgba(0,114,178,0.2)")
        ((0, 114, 178, 128), (0, 114, 178, 51))
    """
    from PIL import ImageColor

    found = re.fullmatch(r"rgba?\(([^)]*)\)", text.replace(" ", ""))
    parts = [float(part) for part in (found[1].split(",") if found else ImageColor.getrgb(text)[:3])]
    red, green, blue = (round(part) for part in parts[:3])
    alpha = parts[3] if len(parts) > 3 else 1.0
    return red, green, blue, round(255 * alpha * (1.0 if opacity is None else opacity))


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size * _SHARP)


def _plain(text: str) -> str:
    """Return a text that the font can write.

    Examples:
        >>> _plain("<b>6×6</b>, 75 %")
        ' 6x6 , 75 %'
    """
    text = re.sub(r"<[^>]*>", " ", text).translate(_LETTERS)
    return unicodedata.normalize("NFKD", text).encode("latin-1", "ignore").decode("latin-1")


def _dashed(points: Points, pattern: Sequence[float]) -> list[Points]:
    """Cut a line into dashes. The lengths of dashes and gaps follow each other in the pattern.

    Examples:
        >>> _dashed([(0, 0), (10, 0)], (3, 2))
        [[(0.0, 0.0), (3.0, 0.0)], [(5.0, 0.0), (8.0, 0.0)]]
    """
    lengths, left, on = itertools.cycle(pattern), 0.0, False
    dashes: list[Points] = []
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        total, done = math.hypot(x1 - x0, y1 - y0), 0.0
        while done < total:
            if left <= 0:
                left, on = next(lengths), not on
            step = min(left, total - done)
            if on:
                shares = (done / total, (done + step) / total)
                dashes.append([(x0 + share * (x1 - x0), y0 + share * (y1 - y0)) for share in shares])
            done, left = done + step, left - step
    return dashes
