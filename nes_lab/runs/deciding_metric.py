"""Find out which number decides which weights of a run are the best: its first metric, such as ``top1``, or the loss.

Tests: tests/runs/test_run_progress.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nes_lab.text import format_percent

__all__ = ["MACHINE", "DecidingMetric", "deciding_metric"]

MACHINE = ("cpu_percent", "memory_bytes", "memory_percent", "gpu_memory_bytes", "gpu_memory_percent")
"""Keys of the rows of metrics that say what the training takes of its machine."""
_OTHER = ("step", "epoch", "split", "loss", "lr", "images_per_s", "attempt", "time", *MACHINE)


@dataclass(frozen=True)
class DecidingMetric:
    """The number that decides which weights of a run are the best.

    Attributes:
        name: Name of the number in the rows of metrics.
        better: Which values of the number are better: ``"higher"`` or ``"lower"``.
    """

    name: str = "top1"
    better: str = "higher"

    @classmethod
    def of_summary(cls, summary: Mapping[str, Any]) -> DecidingMetric:
        """Find out from the summary of a run which number decides which weights are the best.

        Only for the deciding number does a summary have an entry ``best_<name>``. In the example this is ``best_error``, so the
        deciding number is ``error``. Entries ``best_ema_<name>`` are about the averaged weights and are ignored. The summary does
        not say whether higher or lower values are better. The attribute :attr:`better` of the result is therefore always
        ``"higher"``, even for an error; do not use it.

        Examples:
            >>> DecidingMetric.of_summary({"error": 0.2, "best_error": 0.1, "best_ema_error": 0.3}).name
            'error'
        """
        names = (name.removeprefix("best_") for name in summary if name.startswith("best_"))
        return cls(next((name for name in names if not name.startswith("ema_")), "top1"))

    @property
    def title(self) -> str:
        """The name as titles and tables show it: ``top-1`` for ``top1``, otherwise the name itself."""
        return "top-1" if self.name == "top1" else self.name

    def text(self, value: float) -> str:
        """Return a value as text, with its unit.

        Examples:
            >>> DecidingMetric().text(61.25), DecidingMetric("error", "lower").text(0.03125)
            ('61.25 %', '0.03125')
        """
        return format_percent(value, 2) if self.name == "top1" else f"{value:.4g}"

    def best(self, rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """Return the row of the validation split with the best value; None if no row has one.

        Examples:
            >>> DecidingMetric("error", "lower").best([{"split": "val", "error": 0.2}, {"split": "val", "error": 0.1}])
            {'split': 'val', 'error': 0.1}
        """
        scored = [row for row in rows if row.get("split") == "val" and isinstance(row.get(self.name), int | float)]
        choose = max if self.better == "higher" else min
        return choose(scored, key=lambda row: row[self.name], default=None)


def deciding_metric(rows: Sequence[Mapping[str, Any]], events: Iterable[Mapping[str, Any]] = ()) -> DecidingMetric:
    """Return the number that decides which weights of a run are the best: its first metric in validation, or the loss.

    Args:
        rows: Rows of the run's metrics.
        events: Rows of the run's events. They say whether higher or lower values are better. Without events, higher values
            of a metric are taken to be better.

    Examples:
        >>> deciding_metric([{"step": 8, "split": "val", "loss": 0.5, "iou": 0.9, "accuracy": 0.95}]).name
        'iou'
    """
    for event in events:
        names = event.get("metrics")
        if event.get("kind") == "task" and isinstance(names, list):
            return DecidingMetric(*map(str, names[0])) if names else DecidingMetric("loss", "lower")
    row = next((row for row in rows if row.get("split") == "val"), {})
    names = [name for name in row if name not in _OTHER and not name.startswith("ema_")]
    if "top1" in names or not row:
        return DecidingMetric()
    return DecidingMetric(names[0]) if names else DecidingMetric("loss", "lower")
