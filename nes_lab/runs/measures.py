"""Name the numbers of a run that can be compared: what a network costs, and how good it is. Read limits that a user types.

Tests: tests/runs/test_settings.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nes_lab.errors import BudgetError
from nes_lab.records.budget import parse_quantity
from nes_lab.text import NO_VALUE, format_bytes, format_ms, format_number

__all__ = ["COSTS", "RESULTS", "Measure", "limit_text", "read_limit", "read_result"]


@dataclass(frozen=True)
class Measure:
    """A number of a run that one can compare: a cost such as params, or a result such as top-1 accuracy.

    Args:
        key: Name of the column in a run table.
        name: The measure in a sentence and at the head of a column.
        title: Title of an axis, with the unit.
        unit: ``"count"``, ``"bytes"``, ``"ms"``, ``"percent"`` or ``"loss"``.
        lower_is_better: Whether small values are the good ones.
    """

    key: str
    name: str
    title: str
    unit: str
    lower_is_better: bool = True

    def text(self, value: float | None, spread: float | None = None) -> str:
        """Return a value with its unit, and with its spread over seeds if there is one.

        Examples:
            >>> COSTS["madds"].text(18.4e6), RESULTS["top1"].text(88.93, 0.31), RESULTS["top1"].text(None)
            ('18.4 M MAdds', '88.9 ± 0.3 %', '–')
        """
        if value is None:
            return NO_VALUE
        if self.unit == "count":
            return f"{format_number(value)} {self.name}"
        if self.unit in ("bytes", "ms"):
            return format_bytes(value) if self.unit == "bytes" else format_ms(value)
        digits = 1 if self.unit == "percent" else 3
        sign = " %" if self.unit == "percent" else ""
        return f"{value:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}") + sign

    def number(self, value: float | None, spread: float | None = None) -> str:
        """Return a value as :meth:`text` does, but without the unit if the head of the column names it.

        Examples:
            >>> COSTS["madds"].number(18.4e6), RESULTS["top1"].number(88.93, 0.31), COSTS["stored_bytes"].number(140_000)
            ('18.4 M', '88.9 ± 0.3', '140.0 kB')
        """
        return self.text(value, spread).removesuffix(f" {self.name}").removesuffix(" %")

    def gap(self, value: float, signed: bool = False) -> str:
        """Return a difference of two values in words, without its sign unless asked for.

        Examples:
            >>> RESULTS["top1"].gap(-1.1), RESULTS["top1"].gap(-0.1, signed=True), RESULTS["val_loss"].gap(0.02)
            ('1.1 points', '−0.1', '0.020')
        """
        digits = 1 if self.unit == "percent" else 3
        if signed:
            return f"{value:.{digits}f}".replace("-", "−")
        return f"{abs(value):.{digits}f}" + (" points" if self.unit == "percent" else "")


COSTS = {
    measure.key: measure
    for measure in (
        Measure("madds", "MAdds", "multiply-adds of one input (MAdds)", "count"),
        Measure("params", "params", "stored numbers (params)", "count"),
        Measure("stored_bytes", "stored bytes", "stored size (bytes)", "bytes"),
        Measure("latency_ms", "time", "time of one forward (ms)", "ms"),
    )
}
"""What a network costs: key of the column -> measure."""

RESULTS = {
    measure.key: measure
    for measure in (
        Measure("top1", "top-1", "top-1 accuracy (%)", "percent", lower_is_better=False),
        Measure("top5", "top-5", "top-5 accuracy (%)", "percent", lower_is_better=False),
        Measure("val_loss", "loss", "validation loss", "loss"),
    )
}
"""How good a network is: key of the column -> measure."""


def read_limit(text: str, cost: str = "madds") -> float | None:
    """Read a budget that a user typed, such as ``1.2M``, ``140 kB`` or ``2.1 ms``. None if the text is empty.

    A share such as 60% is refused. The runs may have different dense networks, so a share would have no clear meaning.

    Raises:
        BudgetError: If the text is not a number, or is a share.

    Examples:
        >>> read_limit("1.2M"), read_limit("2.1 ms", "latency_ms"), read_limit("140 kB", "stored_bytes"), read_limit(" ")
        (1200000.0, 2.1, 140000.0, None)
    """
    unit = COSTS[cost].unit
    bare = text.strip()
    if not bare:
        return None
    for ending in {"ms": ("ms",), "bytes": ("bytes", "B")}.get(unit, ()):
        bare = bare.removesuffix(ending).strip()
    if unit == "ms":
        try:
            number = float(bare)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise BudgetError(f"budget {text!r} cannot be read; give a time in milliseconds, such as 2.5")
        return number
    example = "140 kB" if unit == "bytes" else "1.2M"
    try:
        value = parse_quantity(bare)
    except BudgetError as error:
        raise BudgetError(f"budget {text!r} cannot be read; give a number such as {example}") from error
    if value is not None and value <= 1:
        raise BudgetError(
            f"budget {text!r} is a share; give a number such as {example}, because the runs have different dense networks"
        )
    return float(value) if value is not None else None


def read_result(text: str, result: str = "top1") -> float | None:
    """Read the least accuracy, or the largest loss, that a user typed, such as ``88``, ``88.5 %`` or ``0.4``. None if it is empty.

    Raises:
        BudgetError: If the text is not a number, or an accuracy is not between 0 and 100 %.

    Examples:
        >>> read_result("88.5 %"), read_result("0.4", "val_loss"), read_result("")
        (88.5, 0.4, None)
    """
    measure = RESULTS[result]
    if not (bare := text.strip()):
        return None
    is_percent = measure.unit == "percent"
    try:
        number = float(bare.removesuffix("%").strip() if is_percent else bare)
    except ValueError:
        number = math.nan
    if is_percent and not 0 <= number <= 100:
        raise BudgetError(
            f"least {measure.name} {text!r} cannot be read; give a percentage from 0 to 100, such as 88.5"
        )
    if not 0 <= number < math.inf:
        raise BudgetError(f"largest {measure.name} {text!r} cannot be read; give a number such as 0.4")
    return number


def limit_text(value: float | None, ends: tuple[float, float], measure: Measure) -> str:
    """Return a limit as a user would type it, from the place of a handle on an axis. Empty at the end of the axis that limits nothing.

    Args:
        value: The place; None counts as the end.
        ends: Lower and upper end of the axis.
        measure: What the axis shows. Costs and losses are limited from above, accuracies from below.

    Examples:
        >>> limit_text(734_281.0, (0, 1e6), COSTS["madds"]), limit_text(88.43, (80, 95), RESULTS["top1"])
        ('734k', '88.4')
        >>> limit_text(1e6, (0, 1e6), COSTS["madds"]), limit_text(2.514, (1, 9), COSTS["latency_ms"])
        ('', '2.51')
    """
    low, high = ends
    margin = 0.01 * (high - low)
    if value is None or (value >= high - margin if measure.lower_is_better else value <= low + margin):
        return ""
    if measure.unit not in ("count", "bytes"):
        return f"{value:.3g}"
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"
