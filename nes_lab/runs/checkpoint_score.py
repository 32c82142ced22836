"""Say how good a checkpoint is in validation, and find the best one.

Tests: tests/runs/test_checkpoints.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Score", "best_of"]


@dataclass(frozen=True)
class Score:
    """Says how good a checkpoint is in validation, by one metric.

    A checkpoint holds two networks: the one that the optimizer trained and, if there is one, its copy with averaged weights.

    Attributes:
        metric: Name of the metric that decides which checkpoint is the best, such as ``top1``, or ``loss``.
        better: ``"higher"`` or ``"lower"``.
        plain: Value of the network that the optimizer trained; None if it was not a finite number.
        averaged: Value of the network with averaged weights; None if there is none.
    """

    metric: str
    better: str
    plain: float | None
    averaged: float | None = None

    def value(self, averaged: bool) -> float | None:
        """Return the metric of the network with averaged weights if ``averaged`` is True, otherwise that of the other network."""
        return self.averaged if averaged else self.plain

    def is_better(self, value: float, than: float) -> bool:
        """Return True if a value of the metric is better than another one."""
        return value > than if self.better == "higher" else value < than

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Score | None:
        """Read the score from an entry of ``manifest.json``; None if the checkpoint was not validated.

        Examples:
            >>> Score.of({"step": 8, "top1": 7.0})
            Score(metric='top1', better='higher', plain=7.0, averaged=None)
        """
        about = entry.get("score")
        if not isinstance(about, dict):  # versions until 0.1.0 wrote only the top-1
            top1 = _number(entry.get("top1"))
            return None if top1 is None else cls("top1", "higher", top1)
        values = _number(about.get("plain")), _number(about.get("averaged"))
        return cls(str(about.get("metric")), "lower" if about.get("better") == "lower" else "higher", *values)


def best_of(entries: list[dict[str, Any]], averaged: bool = False) -> dict[str, Any] | None:
    """Return the entry of the checkpoint with the best validation; None if no checkpoint was validated.

    If several are equally good, the first of them is returned.

    Args:
        entries: Entries of ``manifest.json``, oldest first.
        averaged: True: compare the networks with averaged weights; False: those that the optimizer trained.

    Examples:
        >>> best_of([{"step": 1, "top1": 7.0}, {"step": 2, "top1": 9.0}, {"step": 3, "top1": 9.0}, {"step": 4}])["step"]
        2
    """
    top, value = None, None
    for entry in entries:
        score = Score.of(entry)
        new = None if score is None else score.value(averaged)
        if score is not None and new is not None and (value is None or score.is_better(new, value)):
            top, value = entry, new
    return top


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) else None
