"""Say in which type a saved model stores integer starts and epitomes of int8, and how many bytes they take.

Tests: tests/export/test_file_size.py
"""

from __future__ import annotations

from math import prod
from typing import Any

__all__ = ["SCALE_BLOCK", "START_TYPES", "int8_bytes", "start_bytes", "start_type", "wrong_packing"]

START_TYPES = {"uint8": 1 << 8, "int16": 1 << 15, "int32": 1 << 31}
"""Types in which a saved model stores integer starts -> the number of starts, from 0, that each can hold."""

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_BYTES = {"uint8": 1, "int16": 2, "int32": 4}


SCALE_BLOCK = 64
"""Number of cells of a flat epitome of int8 that have one scale. Other epitomes have one scale per output channel."""


def int8_bytes(shape: tuple[int, ...]) -> int:
    """Return the bytes of an epitome of int8 in a file: one per cell, and two per scale.

    Args:
        shape: Shape of the epitome, in cells.

    Examples:
        >>> int8_bytes((32, 16, 3, 3)), int8_bytes((100,))
        (4672, 104)
    """
    first, *others = shape
    scales = first if others else -(-first // SCALE_BLOCK)
    return prod(shape) + 2 * scales


def start_type(length: int) -> str:
    """Return the name of the smallest type that holds every integer start of an epitome axis.

    Args:
        length: Length of the axis of the epitome, in cells.

    Examples:
        >>> start_type(256), start_type(257), start_type(40_000)
        ('uint8', 'int16', 'int32')
    """
    return next(name for name, most in START_TYPES.items() if length <= most)


def start_bytes(length: int) -> int:
    """Return the number of bytes in which a saved model stores one integer start of an epitome axis.

    Args:
        length: Length of the axis of the epitome, in cells.
    """
    return _BYTES[start_type(length)]


def wrong_packing(packed: Any) -> str:
    """Say what is wrong with the entry ``packed`` of a saved model's configuration; empty if nothing.

    Args:
        packed: The value of the entry.
    """
    if not isinstance(packed, dict) or not all(dtype in _FLOATS for dtype in packed.values()):
        return f"'packed' must name a dtype for each tensor, one of {', '.join(_FLOATS)}"
    return ""
