"""Format numbers, percentages, durations, numbers of bytes, shapes and lists as text.

Every table, figure, message and page uses these functions. So the same number looks the same everywhere.

Tests: tests/house/test_doctests.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

__all__ = [
    "NO_VALUE",
    "format_bytes",
    "format_clock",
    "format_ms",
    "format_number",
    "format_percent",
    "format_room",
    "format_seconds",
    "format_shape",
    "format_share",
    "format_value",
    "list_all",
    "list_some",
    "shorten_middle",
    "shorten_name",
    "space_percent",
]

NO_VALUE = "–"
"""The dash that is shown where there is no value."""

_TIME_UNITS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def format_number(value: float | None) -> str:
    """Format a number with up to four significant digits and a metric prefix, such as k (1,000) or M (million).

    Args:
        value: The number; None, NaN and infinity become a dash.

    Examples:
        >>> format_number(300_774_272), format_number(225e6), format_number(950), format_number(None)
        ('300.8 M', '225 M', '950', '–')
    """
    import humanize

    if value is None or not math.isfinite(value):
        return NO_VALUE
    if abs(value) < 1000:
        return f"{value:.4g}"
    digits, _, prefix = humanize.metric(value, precision=4).partition(" ")
    return f"{float(digits):g} {prefix}"


def format_value(value: object, digits: int = 4) -> str:
    """Format any value: integers with commas between thousands, floats rounded, other values as ``str`` does.

    Args:
        value: Any value; None becomes a dash.
        digits: Number of significant digits of a float below 1,000.

    Examples:
        >>> format_value(33784), format_value(96.94444), format_value(2048.0), format_value(None), format_value("cpu")
        ('33,784', '96.94', '2,048', '–', 'cpu')
    """
    if value is None:
        return NO_VALUE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (math.isfinite(value) and abs(value) >= 1000):
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.{digits}g}"
    return f"{value:.{digits}g}"


def format_percent(value: float | None, digits: int = 1) -> str:
    """Format a number of percent, such as an accuracy. Pages and figures write all percentages in this form.

    Args:
        value: The number of percent; None, NaN and infinity become a dash.
        digits: Number of digits after the decimal point.

    Examples:
        >>> format_percent(58.8), format_percent(88.934, digits=2), format_percent(None)
        ('58.8 %', '88.93 %', '–')
    """
    return NO_VALUE if value is None or not math.isfinite(value) else f"{value:.{digits}f} %"


def format_share(part: float, total: float = 1.0, digits: int = 1) -> str:
    """Format a part of a total as a percentage.

    Args:
        part: The part.
        total: The total. Leave it at 1 if ``part`` is already a fraction, such as 0.5. A total of 0 gives a dash.
        digits: Number of digits after the decimal point.

    Examples:
        >>> format_share(225, 300), format_share(0.5, digits=0), format_share(1, 0)
        ('75.0 %', '50 %', '–')
    """
    return format_percent(100 * part / total, digits) if total else NO_VALUE


def format_room(share: float) -> str:
    """Format how far a number is under its limit, as a percentage of the limit with up to two significant digits.

    Args:
        share: The number divided by the limit; at most 1.

    Examples:
        >>> [format_room(share) for share in (0.5, 0.981, 0.9998, 0.99999, 1.0)]
        ['50 %', '1.9 %', '0.02 %', 'less than 0.01 %', 'less than 0.01 %']
    """
    room = 1 - share
    return space_percent(f"{100 * room:.2g}%" if room >= 0.0001 else "less than 0.01%")


def space_percent(text: str) -> str:
    """Put a space between a number and its percent sign, for a budget that was typed or stored as ``60%``.

    Examples:
        >>> space_percent("60%"), space_percent("MAdds 50%, seed 1"), space_percent("225M")
        ('60 %', 'MAdds 50 %, seed 1', '225M')
    """
    return re.sub(r"(?<=\d)%", " %", text)


def format_seconds(seconds: float | None) -> str:
    """Format a duration in its two largest units, such as minutes and seconds.

    Args:
        seconds: The duration in seconds. None, NaN and infinity become a dash. A negative number counts as 0.

    Examples:
        >>> [format_seconds(s) for s in (0.25, 42, 125, 7260, 200_000)]
        ['0.2 s', '42 s', '2 min 5 s', '2 h 1 min', '2 d 7 h']
    """
    if seconds is None or not math.isfinite(seconds):
        return NO_VALUE
    if seconds < 10:
        return f"{round(max(0.0, seconds), 1):g} s"
    rounded = round(seconds)
    for size, name, inner, inner_name in _TIME_UNITS:
        if rounded >= size:
            return f"{rounded // size} {name} {rounded % size // inner} {inner_name}"
    return f"{rounded} s"


def format_clock(seconds: float | None) -> str:
    """Format a duration as hours, minutes and seconds. Texts of this form have the order of the durations up to 99 hours.

    Args:
        seconds: The duration in seconds. None, NaN and infinity become a dash. A negative number counts as 0.

    Examples:
        >>> format_clock(125), format_clock(200_000), format_clock(None)
        ('00:02:05', '55:33:20', '–')
    """
    if seconds is None or not math.isfinite(seconds):
        return NO_VALUE
    rounded = round(max(0.0, seconds))
    return f"{rounded // 3600:02}:{rounded // 60 % 60:02}:{rounded % 60:02}"


def format_ms(milliseconds: float) -> str:
    """Format a measured time in milliseconds with three significant digits.

    Examples:
        >>> format_ms(0.12345), format_ms(12.3456), format_ms(1234.5)
        ('0.123 ms', '12.3 ms', '1,234 ms')
    """
    return f"{milliseconds:.3g} ms" if milliseconds < 100 else f"{milliseconds:,.0f} ms"


def format_bytes(count: float) -> str:
    """Format a number of bytes with a unit such as kB (1,000 bytes).

    Examples:
        >>> format_bytes(512), format_bytes(1536), format_bytes(5e9)
        ('512 Bytes', '1.5 kB', '5.0 GB')
    """
    import humanize

    return humanize.naturalsize(count)


def format_shape(shape: Sequence[int] | None) -> str:
    """Format the shape of a tensor with multiplication signs. None and the shape of a scalar become a dash.

    Examples:
        >>> format_shape((64, 3, 3, 3)), format_shape(None)
        ('64×3×3×3', '–')
    """
    return "×".join(map(str, shape)) if shape else NO_VALUE


def list_some(names: Sequence[object], most: int = 5) -> str:
    """Join the first names of a list with commas, and say how many more names there are.

    Args:
        names: The names, or other things, to list.
        most: Largest number of names that are written out.

    Examples:
        >>> list_some(["a", "b"]), list_some("abcdefg")
        ('a, b', 'a, b, c, d, e and 2 more')
    """
    rest = len(names) - most
    return ", ".join(map(str, names[:most])) + (f" and {rest} more" if rest > 0 else "")


def list_all(names: Sequence[object]) -> str:
    """Join all names of a list with commas, and put "and" before the last name.

    Examples:
        >>> list_all(["params", "madds", "top1"])
        'params, madds and top1'
    """
    import humanize

    return humanize.natural_list([str(name) for name in names]) if names else ""


def shorten_name(name: str, limit: int = 26) -> str:
    """Shorten a long dotted name by cutting off its beginning.

    Args:
        name: The name, for example of a layer.
        limit: Largest number of characters of the shortened name.

    Examples:
        >>> shorten_name("features.denseblock3.denselayer24.conv1"), shorten_name("conv1")
        ('…block3.denselayer24.conv1', 'conv1')
    """
    # The beginnings of layer names are often equal.
    return name if len(name) <= limit else "…" + name[1 - limit :]


def shorten_middle(text: str, limit: int) -> str:
    """Shorten a long text by cutting out its middle.

    Args:
        text: The text, for example the label of a run or the name of a class.
        limit: Largest number of characters of the shortened text.

    Examples:
        >>> shorten_middle("madds=50% routing=tiled seed=2", 17)
        'madds=50…d seed=2'
    """
    if len(text) <= limit:
        return text
    end = max(0, limit - 1) // 2
    return text[: max(0, limit - 1 - end)] + "…" + text[len(text) - end :]
