"""Budget: limits on the params, multiply-adds, time and stored bytes of a network. This file also reads the limits from text.

Limits are read in the same way from Python, YAML files, the command line and the app.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

from nes_lab.errors import BudgetError
from nes_lab.records.counts import QUANTITIES, Counts, total
from nes_lab.renamed import warn_renamed

__all__ = ["Budget", "parse_bytes", "parse_latency", "parse_quantity"]

_UNITS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "m": 1e6, "G": 1e9, "g": 1e9, "B": 1e9}
_GROUPS = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:[ ,\u00a0\u202f][0-9]{3})+(?![0-9])")
"""Digits in groups of three, as in 225,000,000 or 225 000 000."""

_TIME = re.compile(r"^\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(%|ms)?\s*$")
_BYTES = re.compile(r"\s*(B|bytes?)\s*$", re.IGNORECASE)
"""The unit of a number of bytes; a k or an M may stand before it."""

_QUANTITY = re.compile(r"^\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(%|[kKmMgGB]?)\s*$")


def parse_quantity(value: Any, argument: str = "budget") -> float | None:
    """Read a limit on params or multiply-adds from a number or text.

    A number up to 1 is a fraction of the dense model's count. A larger number is the limit itself.

    Args:
        value: A number, or text such as ``"75%"``, ``"0.75"``, ``"225M"``, ``"2.9 M"``, ``"225,000,000"``, ``"1e6"``; None means no
            limit.
        argument: Name of the limit, for error messages.

    Returns:
        A fraction in (0, 1], an absolute number above 1, or None if there is no limit.

    Raises:
        BudgetError: If the value cannot be read, is not finite, or is not above 0; the message says what to give.

    Examples:
        >>> parse_quantity("75%"), parse_quantity("225M"), parse_quantity(0.5)
        (0.75, 225000000.0, 0.5)
        >>> parse_quantity("225,000,000"), parse_quantity(" 1 200 k ")
        (225000000.0, 1200000.0)
    """
    right = "give a fraction of the dense model (0.75 or '75%') or an absolute number (225e6 or '225M')"
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real | str):
        raise BudgetError(f"{argument}={value!r} is not a quantity; {right}")
    if isinstance(value, str):
        match = _QUANTITY.match(_GROUPS.sub(lambda found: re.sub("[^0-9]", "", found[0]), value))
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


def parse_bytes(value: Any, argument: str = "stored_bytes") -> float | None:
    """Read a limit on stored bytes from a number or text. ``k`` is 1,000.

    A number up to 1 is a fraction of the dense model's bytes. A larger number is the limit itself.

    Args:
        value: A number, or text such as ``"200k"``, ``"200 kB"``, ``"1.5 MB"``, ``"200000"``, ``"10%"``; None means no limit.
        argument: Name of the limit, for error messages.

    Returns:
        A fraction in (0, 1], an absolute number above 1, or None if there is no limit.

    Raises:
        BudgetError: If the value cannot be read, is not finite, or is not above 0; the message says what to give.

    Examples:
        >>> parse_bytes("200k"), parse_bytes("1.5 MB"), parse_bytes("200 bytes"), parse_bytes("10 %")
        (200000.0, 1500000.0, 200.0, 0.1)
    """
    bare = _BYTES.sub("", value) if isinstance(value, str) else value
    try:
        return parse_quantity(bare, argument)
    except BudgetError as error:
        raise BudgetError(
            f"{argument}={value!r} cannot be read; give a fraction of the dense model's bytes above 0 and at most 1 (0.1 or '10%'), or a "
            "number of bytes ('200k', '200 kB', '1.5 MB')"
        ) from error


def parse_latency(value: Any, argument: str = "latency_ms") -> float | str | None:
    """Read a limit on measured time from a number or text.

    The limit is in milliseconds, or in percent of the dense model's time if the text has a percent sign.

    A number without a unit is always in milliseconds, even below 1: ``0.75`` means 0.75 milliseconds.

    Args:
        value: A number, or text such as ``"12"``, ``"12.5 ms"``, ``"75%"``; None means no limit.
        argument: Name of the limit, for error messages.

    Returns:
        Milliseconds as a number, the percentage as text such as ``"75%"``, or None if there is no limit.

    Raises:
        BudgetError: If the value cannot be read, is not finite, or is not above 0; the message says what to give.

    Examples:
        >>> parse_latency(0.5), parse_latency("12.5 ms"), parse_latency(" 75 %")
        (0.5, 12.5, '75%')
    """
    right = "give milliseconds (12.5 or '12.5 ms'), or a share of the dense model's time as text ('75%')"
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real | str):
        raise BudgetError(f"{argument}={value!r} is not a time; {right}")
    match = _TIME.match(value) if isinstance(value, str) else None
    if isinstance(value, str) and match is None:
        raise BudgetError(f"{argument}={value!r} cannot be read; {right}")
    try:
        number = float(match[1] if match else value)  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    share = match is not None and match[2] == "%"
    if not math.isfinite(number) or number <= 0:
        raise BudgetError(f"{argument}={value!r} must be finite and above 0; {right}")
    if share and number > 100:
        raise BudgetError(f"{argument}={value!r} is more than the dense model takes; {right}")
    return f"{number:g}%" if share else number


@dataclass(frozen=True)
class Budget:
    """Limits on the size and speed of a network. The network must meet every given limit; None means no limit.

    Args:
        params: Limit on the number of stored params. A limit up to 1 is a fraction of the dense model's params.
        madds: Limit on the multiply-adds for the example input. A limit up to 1 is a fraction of the dense model's
            multiply-adds.
        latency_ms: Limit on the measured time of one forward pass of the example input. A number is in milliseconds, even below
            1. A text such as ``"75%"`` is a percentage of the dense model's measured time.
        stored_bytes: Limit on the bytes of the tensors in the file that :func:`nes_lab.save_pretrained` writes, such as ``"200k"`` or
            ``"200 kB"``. A limit up to 1 is a fraction of the dense model's bytes.

    Raises:
        BudgetError: If a limit cannot be read, or if none is given.

    Examples:
        >>> import nes_lab
        >>> nes_lab.Budget(params="50%", madds="225M")
        Budget(params=0.5, madds=225000000.0)
        >>> nes_lab.Budget(latency_ms="75%").latency_limit(dense_ms=20.0), nes_lab.Budget(latency_ms=0.75).latency_limit(20.0)
        (15.0, 0.75)
    """

    params: float | None = None
    madds: float | None = None
    latency_ms: float | str | None = None
    stored_bytes: float | None = None

    def __init__(
        self,
        params: float | int | str | None = None,
        madds: float | int | str | None = None,
        latency_ms: float | int | str | None = None,
        stored_bytes: float | int | str | None = None,
    ) -> None:
        given = {"params": params, "madds": madds, "latency_ms": latency_ms, "stored_bytes": stored_bytes}
        for name, value in given.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        for name in ("params", "madds"):
            object.__setattr__(self, name, parse_quantity(getattr(self, name), name))
        object.__setattr__(self, "latency_ms", parse_latency(self.latency_ms, "latency_ms"))
        object.__setattr__(self, "stored_bytes", parse_bytes(self.stored_bytes, "stored_bytes"))
        if all(getattr(self, field.name) is None for field in fields(self)):
            raise BudgetError("Budget() limits nothing; give params=, madds=, stored_bytes=, latency_ms= or several")

    def limits(self, dense: Counts) -> dict[str, float]:
        """Return the budget's limits on params, multiply-adds and stored bytes as absolute numbers, by name.

        A quantity without a limit is left out.

        Args:
            dense: Counts of the dense model. Limits that are fractions are multiplied by these counts.
        """
        given = {name: getattr(self, name, None) for name in QUANTITIES}
        return {name: v if v > 1 else v * getattr(dense, name) for name, v in given.items() if v is not None}

    def absolute(self, params: int, madds: int) -> tuple[float | None, float | None]:
        """Return the budget's limits on params and multiply-adds as absolute numbers. Deprecated; use :meth:`limits`."""
        warn_renamed("Budget.absolute()", "Budget.limits()")
        limits = self.limits(replace(total([]), params=params, madds=madds))
        return limits.get("params"), limits.get("madds")

    def latency_limit(self, dense_ms: float) -> float | None:
        """Return the budget's limit on time in milliseconds; None if time is not limited.

        Args:
            dense_ms: Measured time of the dense model in milliseconds. A limit in percent is a percentage of this time.
        """
        if isinstance(self.latency_ms, str):
            return float(self.latency_ms.rstrip("%")) / 100 * dense_ms
        return self.latency_ms

    def __repr__(self) -> str:
        time = "" if self.latency_ms is None else f", latency_ms={self.latency_ms!r}"
        size = "" if self.stored_bytes is None else f", stored_bytes={self.stored_bytes!r}"
        return f"Budget(params={self.params}, madds={self.madds}{time}{size})"
