"""Keep the checkpoints of a training in a folder of its own, without a run.

Tests: tests/training/test_fine_tune.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nes_lab.errors import CheckpointError
from nes_lab.runs import checkpoints, layout
from nes_lab.training.checkpoint import load_state, load_training, save_training
from nes_lab.training.recipe import Recipe
from nes_lab.training.training_state import TrainingState

__all__ = ["CheckpointFolder"]

KEEP = 2
_FREE = ("checkpoint_every_epochs", "checkpoint_every_steps", "log_every_steps")
"""Fields of a recipe that may change when a training continues."""


class CheckpointFolder:
    """A folder that keeps the two newest checkpoints of a training, and the best ones. A damaged checkpoint is never used.

    There are two kinds of best checkpoint. In one, the weights that the optimizer trained had the best validation. In the
    other, the averaged weights had it.

    Args:
        folder: The folder. It is created if it does not exist.

    Raises:
        CheckpointError: If the folder holds something else, or cannot be created.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if (self.folder / layout.CHECKPOINTS).is_dir():
            checkpoints.drop_unfinished(self.folder, attempt=1)
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if any(self.folder.iterdir()):
                raise CheckpointError(
                    f"folder={str(folder)!r} holds other files; give an empty folder, or one with checkpoints"
                )
            checkpoints.empty_manifest(self.folder)
        except OSError as error:
            raise CheckpointError(f"folder={str(folder)!r} cannot be created: {error.strerror or error}") from error

    def save(self, training: TrainingState, **extra: float | int | str) -> None:
        """Save a training as a checkpoint in this folder.

        Args:
            training: The training.
            extra: Other values to save by name; :meth:`load` returns them.
        """
        stem = self.folder / layout.CHECKPOINTS / f".saving-step-{training.step:08d}-a01"
        files = [stem.with_name(stem.name + ending) for ending in (".safetensors", ".state.pt")]
        save_training(training, *files, recipe=json.dumps(asdict(training.recipe), default=str), **extra)
        checkpoints.commit(self.folder, training.step, 1, files, KEEP, training.score())

    def load(self, training: TrainingState) -> dict[str, Any]:
        """Load the newest undamaged checkpoint into a new training.

        Returns:
            The saved state with the ``extra`` values; empty if there is no checkpoint yet.

        Raises:
            CheckpointError: If the checkpoints are damaged, or belong to a training with another network, recipe, seed or data.
        """
        checkpoint = checkpoints.latest(self.folder)
        if checkpoint is None:
            return {}
        assert checkpoint.state is not None  # save writes both files
        self._check_recipe(training.recipe, load_state(checkpoint.state).get("recipe"))
        return load_training(training, checkpoint.weights, checkpoint.state)

    def _check_recipe(self, recipe: Recipe, saved: object) -> None:
        before = json.loads(saved) if isinstance(saved, str) else {}
        present = json.loads(json.dumps(asdict(recipe), default=str))
        changed = [f"{k}: {before[k]!r}, now {v!r}" for k, v in present.items() if k in before and before[k] != v]
        changed = [text for text in changed if text.partition(":")[0] not in _FREE]
        if changed:
            raise CheckpointError(
                f"folder={str(self.folder)!r} holds a training with another recipe ({'; '.join(changed)}); give the same recipe "
                "to continue it, or another folder to begin again"
            )

    def best(self) -> checkpoints.Checkpoint | None:
        """Return the checkpoint with the best weights, averaged or not; None if there is none yet."""
        return checkpoints.best(self.folder, averaged=None)
