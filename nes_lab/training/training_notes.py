"""Say at the end of a training when its numbers mean little, with or without a run.

Tests: tests/training/test_result_notes.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nes_lab.records.result_notes import notes_on_results
from nes_lab.training.loop import Trainer

__all__ = ["notes_on_training"]


def notes_on_training(trainer: Trainer, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return sentences about a finished training: it diverged, its data has one class, or its network has too many outputs.

    Args:
        trainer: The training.
        rows: Rows of its metrics, in the order of their steps.
    """
    head = trainer.objective.head
    about = {"own_loss": trainer.task.own_loss is not None, "distilled": trainer.recipe.kd_weight > 0}
    return (*notes_on_results(rows, head.guessed_classes(), **about), *head.notes())
