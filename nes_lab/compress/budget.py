"""Budgets of params and multiply-adds, and the one parser for Python, YAML, command line and app. Torch-free."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Real
from typing import Any

from nes_lab.errors import BudgetError

__all__ = ["Budget", "parse_quantity"]

_UNITS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "m": 1e6, "G": 1e9, "g": 1e9, "B": 1e9}
_QUANTITY = re.compile(r"^\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(%|[kKmMgGB]?)\s*$")


def parse_quantity(value: Any, argument: str = "budget") -> float | None:
    """Read one limit: a fraction of the dense model up to 1, or an absolute number above 1.

    Args:
        value: None, a number, or text such as ``"75%"``, ``"0.75"``, ``"225M"``, ``"2.9 M"``, ``"1e6"``.
        argument: Name used in the message.

    Returns:
        None, a fraction in (0, 1], or an absolute number above 1.

    Raises:
        BudgetError: If it cannot be read, is not finite, or is not above 0; says what would be right.

    Examples:
        >>> parse_quantity("75%"), parse_quantity("225M"), parse_quantity(0.5)
        (0.75, 225000000.0, 0.5)
    """
    right = "give a fraction of the dense model (0.75 or '75%') or an absolute number (225e6 or '225M')"
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real | str):
        raise BudgetError(f"{argument}={value!r} is no quantity; {right}")
    if isinstance(value, str):
        match = _QUANTITY.match(value)
        if match is None:
            raise BudgetError(f"{argument}={value!r} cannot be read; {right}")
        number, unit = float(match[1]), match[2]
        if unit == "%" and number > 100:
            raise BudgetError(f"{argument}={value!r} is more than the dense model; {right}")
        number *= 0.01 if unit == "%" else _UNITS[unit]
        if unit not in ("", "%") and number <= 1:
            raise BudgetError(f"{argument}={value!r} is less than one; {right}")
    else:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if not math.isfinite(number) or number <= 0:
        raise BudgetError(f"{argument}={value!r} must be finite and above 0; {right}")
    return number


@dataclass(frozen=True)
class Budget:
    """Limits on a network; each that is given must hold, both at once.

    Args:
        params: Stored numbers: a fraction of the dense model up to 1, or an absolute number above 1; None: no limit.
        madds: Multiply-adds for the example input, likewise.

    Raises:
        BudgetError: If a limit cannot be read, or if none is given.

    Examples:
        >>> Budget(params="50%", madds="225M")
        Budget(params=0.5, madds=225000000.0)
        >>> Budget(madds=0.75).absolute(params=3_504_872, madds=300_774_272)
        (None, 225580704.0)
    """

    params: float | None = None
    madds: float | None = None

    def __init__(self, params: float | int | str | None = None, madds: float | int | str | None = None) -> None:
        object.__setattr__(self, "params", parse_quantity(params, "params"))
        object.__setattr__(self, "madds", parse_quantity(madds, "madds"))
        if self.params is None and self.madds is None:
            raise BudgetError("Budget() limits nothing; give params=, madds= or both")

    def absolute(self, params: int, madds: int) -> tuple[float | None, float | None]:
        """The limits as absolute numbers for a dense model of the given size."""
        return _absolute(self.params, params), _absolute(self.madds, madds)


def _absolute(limit: float | None, dense: int) -> float | None:
    return limit if limit is None or limit > 1 else limit * dense
