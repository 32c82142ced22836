"""InputPart: the description of an example input that a compression plan keeps. It has shapes and types, but no data.

:mod:`nes_lab.cost.example_input` describes inputs, and makes inputs from descriptions.

Tests: tests/cost/test_example_input.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from nes_lab.records.record import Part

__all__ = ["InputKind", "InputPart"]

InputKind = Literal["tensor", "tuple", "list", "dict", "value", "other"]


@dataclass(frozen=True)
class InputPart(Part):
    """Description of an example input, or of a part of one.

    Args:
        kind: ``tensor``; ``tuple``, ``list`` or ``dict`` of parts; ``value`` for a number, a text, True, False or None;
            ``other`` for an object that the description does not cover, so that no input can be made from it.
        shape: Shape of a tensor.
        dtype: Type of a tensor's numbers, such as ``"float32"``.
        range: Least and largest number in a tensor of integers or truth values. None for other tensors, and if it is not known.
        value: The value; for the kind ``other``, the name of the object's class.
        parts: Parts of a tuple, list or dict.
        names: Keys of a dict, in the order of ``parts``.

    Examples:
        >>> InputPart("tuple", parts=(InputPart("tensor", (1, 3, 8, 8), "float32"), InputPart("value", value=True))).shapes
        ((1, 3, 8, 8),)
    """

    kind: InputKind
    shape: tuple[int, ...] = ()
    dtype: str = ""
    range: tuple[int, int] | None = None
    value: bool | int | float | str | None = None
    parts: tuple[InputPart, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of all tensors in the input, in order."""
        return tuple(self._shapes())

    def _shapes(self) -> Iterator[tuple[int, ...]]:
        if self.kind == "tensor":
            yield self.shape
        for part in self.parts:
            yield from part._shapes()
