"""Define the errors that NES Lab raises on purpose: ``NesLabError``, and one subclass per kind of mistake.

The message of an error names the argument, the value that was given, and the values that are allowed. The command line
prints the message and exits with status 2.

Tests: tests/records/test_options.py.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable
from typing import Any, TypeVar

__all__ = [
    "BudgetError",
    "CheckpointError",
    "DataError",
    "ExportError",
    "GeometryError",
    "MissingPackageError",
    "NesLabError",
    "OptionError",
    "PlanError",
    "RunError",
    "closest",
    "check_choice",
    "check_int",
    "warn_user",
]

Choice = TypeVar("Choice", bound=str)


class NesLabError(Exception):
    """Parent class of all errors that NES Lab raises on purpose."""


class GeometryError(NesLabError, ValueError):
    """Raised if a patch does not fit in its epitome, or shapes do not agree. The message names the axis and both sizes."""


class BudgetError(NesLabError, ValueError):
    """Raised if a budget cannot be read, or if no plan can meet it.

    If no plan can meet the budget, the message names the smallest budget that a plan can meet.

    Args:
        args: The message.
        least: The smallest ``params`` and the smallest ``madds`` (multiply-adds) that a plan can reach. None if not
            known.
        dense: Counts of the dense model. None if not known.

    Examples:
        >>> import nes_lab
        >>> nes_lab.BudgetError("params=10 cannot be met").least is None
        True
    """

    def __init__(self, *args: object, least: Any = None, dense: Any = None) -> None:
        super().__init__(*args)
        self.least = least
        self.dense = dense


class PlanError(NesLabError, ValueError):
    """Raised if a compression plan or a report of measurements cannot be read, or does not fit a model.

    Also raised if a layer cannot be computed as requested.
    """


class OptionError(NesLabError, ValueError):
    """Raised if the value of an option is not allowed."""


class MissingPackageError(ModuleNotFoundError, OptionError):
    """Raised if a package that NES Lab needs only for some tasks is not installed. The message says how to install it."""


class RunError(NesLabError):
    """Raised if a training run cannot be found, opened, locked or started."""


class CheckpointError(NesLabError):
    """Raised if a checkpoint is missing, has been altered or has an unknown format."""


class ExportError(NesLabError):
    """Raised if a model cannot be exported, or if the exported file gives other outputs than the model.

    In both cases no exported file is kept.
    """


class DataError(NesLabError):
    """Raised if a data set is missing, empty or damaged, or has the wrong kind of content."""


def closest(name: object, known: Iterable[str], n: int = 3) -> str:
    """Return a question that suggests similar names for a wrong name.

    The question is meant for the end of an error message.

    Args:
        name: The wrong name that the user wrote.
        known: The names that exist.
        n: Largest number of names to suggest.

    Returns:
        ``" Did you mean 'x'?"`` with a leading space, or an empty string if no known name is similar.

    Examples:
        >>> closest("jiont", ["joint", "separable"])
        " Did you mean 'joint'?"
    """
    near = difflib.get_close_matches(str(name), list(known), n=n, cutoff=0.5)
    if not near:
        return ""
    return " Did you mean " + " or ".join(repr(item) for item in near) + "?"


def check_choice(argument: str, value: object, choices: Iterable[Choice]) -> Choice:
    """Check that the value of an argument is one of ``choices``, and return it.

    Args:
        argument: Name of the argument, for the message.
        value: The value of the argument.
        choices: The allowed values.

    Raises:
        OptionError: If the value is not one of ``choices``. The message lists all choices and suggests the most similar.

    Examples:
        >>> check_choice("scope", "joint", ["separable", "joint"])
        'joint'
    """
    known = list(choices)
    found = next((choice for choice in known if isinstance(value, str) and choice == value), None)
    if found is not None:
        return found
    raise OptionError(f"{argument}={value!r} is not known; choose one of {', '.join(known)}.{closest(value, known)}")


def check_int(argument: str, value: object, least: int) -> int:
    """Check that the value of an argument is an integer of at least ``least``, and return it.

    Args:
        argument: Name of the argument, for the message.
        value: The value of the argument.
        least: Smallest allowed value.

    Raises:
        OptionError: If the value is not an integer, or is too small.

    Examples:
        >>> check_int("round_to", 8, 1)
        8
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{argument}={value!r}; give an integer of at least {least}")
    return value


def warn_user(sentence: str) -> None:
    """Warn, and show the line of the user's code that called this library, however many of its functions are in between."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("nes_lab."):
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, stacklevel=level)
