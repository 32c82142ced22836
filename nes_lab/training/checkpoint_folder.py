"""Keep the checkpoints of a training in a folder of its own, without a run.

Tests: tests/training/test_fine_tune.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nes_lab.errors import CheckpointError
from nes_lab.runs import checkpoints, layout
from nes_lab.training.checkpoint import load_training, save_training
from nes_lab.training.training_state import TrainingState

__all__ = ["CheckpointFolder"]

KEEP = 2


class CheckpointFolder:
    """A folder that keeps the two newest checkpoints of a training, and the best ones.

    The best ones are that of the network that the optimizer trained, and that of the network with averaged weights. A
    damaged checkpoint is never used.

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
        save_training(training, *files, **extra)
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
        return load_training(training, checkpoint.weights, checkpoint.state)

    def best(self) -> checkpoints.Checkpoint | None:
        """Return the checkpoint with the best weights, averaged or not; None if there is none yet."""
        return checkpoints.best(self.folder, averaged=None)
