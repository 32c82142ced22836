"""Decide how many channels each stage of a small backbone has: a multiple of the usual ones, or given one by one.

Tests: tests/backbones/test_cifar_resnet.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from nes_lab.errors import OptionError

__all__ = ["stage_widths"]

MOST_CHANNELS = 4096


def stage_widths(
    usual: Sequence[int], width: float, widths: Sequence[int] | None, *, step: int = 1, most: float = 8
) -> list[int]:
    """Return the channels of each stage.

    Args:
        usual: Channels of each stage of the usual network.
        width: Multiplies the usual channels; the result is rounded to a multiple of ``step``.
        widths: Channels of each stage, which replace this; None: the usual ones times ``width``.
        step: Channels are rounded to a multiple of this number, which is also the least.
        most: Largest value of ``width``.

    Raises:
        OptionError: If ``width`` is out of range, if ``widths`` are not as many positive integers as ``usual``, or if both are given.

    Examples:
        >>> stage_widths((16, 32, 64), 0.7, None), stage_widths((16, 32, 64), 1.0, (12, 20, 45))
        ([11, 22, 45], [12, 20, 45])
    """
    if not 0 < width <= most:
        raise OptionError(f"width={width!r}; the width multiplier must be above 0 and at most {most:g}")
    if widths is None:
        return [max(step, round(channels * width / step) * step) for channels in usual]
    if width != 1.0:
        raise OptionError(f"width={width!r} and widths={widths!r} both say how wide the network is; give one of them")
    whole = all(isinstance(channels, int) and 1 <= channels <= MOST_CHANNELS for channels in widths)
    if len(widths) != len(usual) or not whole:
        raise OptionError(
            f"widths={widths!r} should be {len(usual)} integers from 1 to {MOST_CHANNELS}, such as {tuple(usual)}"
        )
    return list(widths)
