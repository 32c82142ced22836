"""Lists in messages: the first few, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["some"]

_MOST_NAMED = 5


def some(names: Sequence[str]) -> str:
    """Join the first five names, and say how many more there are.

    Examples:
        >>> some(["a", "b"]), some(list("abcdefg"))
        ('a, b', 'a, b, c, d, e and 2 more')
    """
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
