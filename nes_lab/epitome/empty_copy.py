"""Define the base class of caches that do not follow a copied or unpickled module.

Tests: tests/nn/test_inference_cache.py
"""

from __future__ import annotations

from typing import Any, Self

__all__ = ["EmptyCopy"]


class EmptyCopy:
    """Base class of objects that keep values for one module. A copied or unpickled one is empty.

    Examples:
        >>> class Kept(EmptyCopy, dict): ...
        >>> Kept(shape=(2, 3)).__deepcopy__({})
        {}
    """

    def __deepcopy__(self, memo: dict) -> Self:
        return type(self)()

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), ())
