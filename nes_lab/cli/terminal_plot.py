"""Draw curves in a terminal with block characters.

Tests: tests/cli/test_watch.py
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

__all__ = ["plot", "sparkline"]

BLOCKS = "▁▂▃▄▅▆▇█"
MAX_POINT_COLUMNS = 4  # largest width of one point, used when there are few points


def sparkline(values: Sequence[float], width: int = 12) -> str:
    """Draw a list of values as one line of block characters. A higher block is a larger value.

    If there are more than ``width`` values, each block shows the mean of several values.

    Examples:
        >>> sparkline([0, 1, 2, 3]), sparkline([5, 5]), sparkline([])
        ('▁▃▆█', '▁▁', '')
    """
    if not values or width < 1:
        return ""
    shown = _thinned(values, width)
    low, high = min(shown), max(shown)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * scale)] for value in shown)


def plot(points: Sequence[tuple[float, float]], width: int, height: int, number: str = "{:.1f}") -> list[str]:
    """Draw a curve with block characters, and return its lines of text.

    The largest and the smallest y are written at the left. The first and the last x are written below the curve.

    Args:
        points: Pairs (x, y) in order of x.
        width: Number of columns of the terminal, including labels.
        height: Number of lines of the curve. One more line shows x.
        number: Format string for the values of y at the left.

    Examples:
        >>> for line in plot([(1, 0.0), (2, 5.0), (3, 10.0)], width=9, height=2):
        ...     print(line)
        10.0 ┤ ▁█
         0.0 ┤▁██
              1 3
    """
    if not points:
        return []
    ys = [y for _, y in points]
    labels = [number.format(max(ys)), number.format(min(ys))]
    room = max(map(len, labels))
    columns = max(3, width - room - 2)
    wide = min(MAX_POINT_COLUMNS, max(1, columns // len(ys)))
    shown = [y for y in _thinned(ys, columns) for _ in range(wide)]
    low, high = min(shown), max(shown)
    eighths = [1 + round((y - low) / (high - low) * (8 * height - 1)) if high > low else 1 for y in shown]
    lines = []
    for line in range(height - 1, -1, -1):
        label = labels[0] if line == height - 1 else labels[1] if line == 0 else ""
        filled = (min(8, max(0, count - 8 * line)) for count in eighths)
        lines.append(f"{label:>{room}} ┤" + "".join(BLOCKS[n - 1] if n else " " for n in filled))
    first, last = f"{points[0][0]:g}", f"{points[-1][0]:g}"
    gap = max(1, len(shown) - len(first) - len(last))
    return [*lines, " " * (room + 2) + first + (" " * gap + last if len(points) > 1 else "")]


def _thinned(values: Sequence[float], most: int) -> list[float]:
    if len(values) <= most:
        return list(values)
    edges = [round(index * len(values) / most) for index in range(most + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
