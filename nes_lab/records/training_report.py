"""TrainingReport: the metrics of every epoch of a training, and which weights were the best.

Tests: tests/training/test_fine_tune.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from nes_lab.records.columns import number_column
from nes_lab.records.record import Part, Record
from nes_lab.records.table import Table
from nes_lab.text import format_seconds

__all__ = ["BestEpoch", "TrainingReport"]


@dataclass(frozen=True)
class BestEpoch(Part):
    """The epoch with the best validation.

    Args:
        epoch: Number of the epoch, counted from 1.
        step: Training steps done at its end.
        value: Value of the metric that decides.
        averaged: Whether the weights averaged over training had this value, or those that the optimizer updated.
    """

    epoch: int
    step: int
    value: float
    averaged: bool

    def __str__(self) -> str:
        return f"{self.value:.4g} with {'averaged ' * self.averaged}weights of epoch {self.epoch}"


@dataclass(frozen=True, repr=False)
class TrainingReport(Record):
    """Result of a training: its metrics, and which weights were the best.

    Args:
        metric: Name of the number that decides which weights are the best: the first metric, or ``loss``.
        better: Which value of this number is better, ``"higher"`` or ``"lower"``.
        history: Rows of metrics in order of steps, as dicts. Each has ``step``, ``epoch``, ``split`` (``train`` or ``val``),
            ``loss`` and the metrics by name; ``ema_`` before a name means the network with averaged weights.
        best: The epoch with the best validation; None if no validation gave a finite number.
        weights: ``"best"`` if the network has the weights of this epoch now, ``"last"`` if it has those of the last step.
        steps: Training steps done.
        seconds: Duration of the training.
        notes: Sentences about the training, for example that it is not resumable bit for bit.

    Examples:
        >>> import nes_lab
        >>> rows = ({"step": 4, "epoch": 1, "split": "val", "loss": 0.7, "top1": 61.5},)
        >>> report = nes_lab.TrainingReport("top1", "higher", rows, None, "last", steps=4, seconds=2.0)
        >>> nes_lab.TrainingReport.from_json(report.to_json()) == report
        True
        >>> report
        TrainingReport: 4 steps in 2 s; no validation gave a finite number; the network has the last weights
    """

    NAME: ClassVar[str] = "training report"
    metric: str
    better: Literal["higher", "lower"]
    history: tuple[Mapping[str, float | int | str], ...]
    best: BestEpoch | None
    weights: Literal["best", "last"]
    steps: int
    seconds: float
    notes: tuple[str, ...] = ()

    def table(self) -> Table:
        """Return the validations as a table with one row per epoch. :attr:`history` also has the rows of the training split."""
        rows: list[dict[str, Any]] = [dict(row) for row in self.history if row.get("split") == "val"]
        keys = dict.fromkeys(key for row in rows for key in row if key != "split")
        return Table([number_column(key) for key in keys], rows, after=[self._summary(), *self.notes])

    def __repr__(self) -> str:
        return f"TrainingReport: {self._summary()}"

    def notebook_table(self) -> Table:
        """Return the table that a notebook shows, with a line above it that sums up the training."""
        return replace(self.table(), before=[repr(self)], after=self.notes)

    def _summary(self) -> str:
        best = "no validation gave a finite number" if self.best is None else f"best {self.metric}: {self.best}"
        steps = f"{self.steps:,} steps in {format_seconds(self.seconds)}"
        return f"{steps}; {best}; the network has the {self.weights} weights"
