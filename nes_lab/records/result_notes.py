"""Say at the end of a training when its numbers mean little: it diverged with finite numbers, or its data has one class.

Tests: tests/training/test_result_notes.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["LOWER_LR", "ONE_CLASS", "notes_on_results"]

ONE_CLASS = "the training data has one class, so the loss and the accuracy say nothing about the network"
LOWER_LR = "try a lower lr, a longer warmup_epochs, or clip_grad=1"
WORSE_THAN_GUESSING, FAR_ABOVE = 2.0, 10.0
"""A training diverged if its loss ends this many times above the loss of guessing, or far above its first loss."""


def notes_on_results(
    rows: Sequence[Mapping[str, Any]], classes: int, *, own_loss: bool = False, distilled: bool = False
) -> tuple[str, ...]:
    """Return sentences about a training whose results mean little, with or without a run. Empty for an ordinary one.

    Uniform guesses among C classes have a cross entropy of log C, with or without label smoothing. A validation loss may be
    above it by overfitting, so only a far larger one counts.

    Args:
        rows: Rows of the training's metrics, in the order of their steps.
        classes: Number of classes of the data; 0: not known.
        own_loss: Whether the training has a loss of its own, which has no such value.
        distilled: Whether a part of the training loss compares the network with a teacher.

    Examples:
        >>> rows = [{"step": 1, "split": "train", "loss": 2.3}, {"step": 9, "split": "train", "loss": 23538.0}]
        >>> notes_on_results(rows, classes=10)
        ('it diverged: the training loss ends at 23,538, and guessing among 10 classes gives 2.303; try a lower lr, ...)
    """
    if own_loss:
        return _diverged(rows, "train", _first(rows), FAR_ABOVE, "began at {:,.4g}")
    if classes == 1:
        return (ONE_CLASS,)
    if not classes:
        return _diverged(rows, "train", _first(rows), FAR_ABOVE, "began at {:,.4g}")
    guess, told = math.log(classes), f"guessing among {classes:,} classes gives {{:,.4g}}"
    train = () if distilled else _diverged(rows, "train", guess, WORSE_THAN_GUESSING, told)
    return train or _diverged(rows, "val", guess, FAR_ABOVE, told)


def _first(rows: Sequence[Mapping[str, Any]]) -> float:
    return next(iter(_losses(rows, "train")), math.nan)


def _losses(rows: Sequence[Mapping[str, Any]], split: str) -> list[float]:
    losses = [row.get("loss") for row in rows if row.get("split") == split]
    return [float(loss) for loss in losses if isinstance(loss, int | float) and math.isfinite(loss)]


def _diverged(
    rows: Sequence[Mapping[str, Any]], split: str, normal: float, factor: float, told: str
) -> tuple[str, ...]:
    losses = _losses(rows, split)
    if not losses or not 0 < normal * factor < losses[-1]:
        return ()
    what = "training" if split == "train" else "validation"
    return (f"it diverged: the {what} loss ends at {losses[-1]:,.6g}, and {told.format(normal)}; {LOWER_LR}",)
