"""Every error a user can meet: one parent, one child per kind of mistake.

Messages name the argument, the value it had, and what would be right. The command line prints them as they are and
exits with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "BudgetError",
    "CheckpointError",
    "DataError",
    "ExportError",
    "GeometryError",
    "NesLabError",
    "OptionError",
    "PlanError",
    "RunError",
    "closest",
    "check_choice",
    "check_int",
]


class NesLabError(Exception):
    """Parent of all errors that NES Lab raises on purpose."""


class GeometryError(NesLabError, ValueError):
    """A patch does not fit in its epitome, or shapes do not agree; names the axis, what it needs and what it has."""


class BudgetError(NesLabError, ValueError):
    """A budget cannot be read or cannot be met; names the least value that can be reached.

    Args:
        args: The message.
        least: The least counts that can be reached, with ``params`` and ``madds``, where a budget cannot be met.

    Examples:
        >>> BudgetError("params=10 cannot be met").least is None
        True
    """

    def __init__(self, *args: object, least: Any = None) -> None:
        super().__init__(*args)
        self.least = least


class PlanError(NesLabError, ValueError):
    """An execution plan is not available for a layer, or a compression plan does not fit a model; says why."""


class OptionError(NesLabError, ValueError):
    """An option has a value outside its choices or range."""


class RunError(NesLabError):
    """A run cannot be found, opened, locked or started."""


class CheckpointError(NesLabError):
    """A checkpoint is missing, altered or of another schema."""


class ExportError(NesLabError):
    """A model cannot be exported as asked, or the file does not agree with PyTorch; nothing was written."""


class DataError(NesLabError):
    """A dataset is missing, empty, or holds what it should not."""


def closest(name: object, known: Iterable[str], n: int = 3) -> str:
    """Suggest the nearest known names, as the tail of an error message.

    Args:
        name: What the user wrote.
        known: Names that exist.
        n: At most this many suggestions.

    Returns:
        ``" Did you mean 'x'?"`` with a leading space, or an empty string when nothing is near.

    Examples:
        >>> closest("jiont", ["joint", "separable"])
        " Did you mean 'joint'?"
    """
    near = difflib.get_close_matches(str(name), list(known), n=n, cutoff=0.5)
    if not near:
        return ""
    return " Did you mean " + " or ".join(repr(item) for item in near) + "?"


def check_choice(argument: str, value: object, choices: Iterable[str]) -> str:
    """Return ``value`` when it is one of ``choices``, else raise.

    Args:
        argument: The argument's name, for the message.
        value: What was given.
        choices: The names allowed.

    Raises:
        OptionError: With all choices and the closest match.

    Examples:
        >>> check_choice("scope", "joint", ["separable", "joint"])
        'joint'
    """
    known = list(choices)
    if isinstance(value, str) and value in known:
        return value
    raise OptionError(f"{argument}={value!r} is not known; choose one of {', '.join(known)}.{closest(value, known)}")


def check_int(argument: str, value: object, least: int) -> int:
    """Return ``value`` when it is an integer of at least ``least``, else raise.

    Args:
        argument: The argument's name, for the message.
        value: What was given.
        least: Smallest value allowed.

    Raises:
        OptionError: If it is not an integer, or too small.

    Examples:
        >>> check_int("round_to", 8, 1)
        8
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{argument}={value!r}; give an integer of at least {least}")
    return value
