"""Keep the weights of the epoch with the best validation in memory.

Tests: tests/training/test_fine_tune.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nes_lab.records.training_report import BestEpoch
from nes_lab.runs.checkpoints import Checkpoint
from nes_lab.training.checkpoint import load_weights
from nes_lab.training.training_state import TrainingState

__all__ = ["BestWeights"]


class BestWeights:
    """Remembers the epoch with the best validation of a training so far, and keeps its weights on the CPU.

    A network may have two sets of weights: those that the optimizer trained, and their moving average. The better set is
    kept. When a training rounds its starting indices to integers, the best epoch before this is forgotten.

    Args:
        keep: True: keep the weights. False: only remember the epoch.

    Attributes:
        epoch: The epoch with the best validation; None before the first one.
    """

    def __init__(self, keep: bool = True) -> None:
        self.keep = keep
        self.epoch: BestEpoch | None = None
        self._weights: dict[str, Tensor] | None = None
        self._snapped = False

    def update(self, training: TrainingState) -> None:
        """Remember the present epoch and copy its weights, if its validation is the best so far."""
        if training.routing.snapped and not self._snapped:
            self.epoch, self._weights, self._snapped = None, None, True
        score = training.score()
        networks = [training.model] if training.ema is None else [training.model, training.ema.module]
        for averaged, network in enumerate(networks):
            value = None if score is None else score.value(bool(averaged))
            if value is None or not training.task.is_better(value, None if self.epoch is None else self.epoch.value):
                continue
            self.epoch = BestEpoch(training.epoch, training.step, value, bool(averaged))
            if self.keep:
                self._weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}

    def resume(self, training: TrainingState, checkpoint: Checkpoint | None) -> None:
        """Remember the best epoch of a training that was interrupted, from its best checkpoint.

        Args:
            training: The training, loaded from its latest checkpoint.
            checkpoint: The best checkpoint of the training; None: no checkpoint was validated.
        """
        self._snapped = training.routing.snapped
        if checkpoint is None or checkpoint.value is None or checkpoint.step < self._first_candidate(training):
            return
        epoch = checkpoint.step // training.steps_per_epoch
        self.epoch = BestEpoch(epoch, checkpoint.step, checkpoint.value, checkpoint.averaged)
        if self.keep:
            self._weights = load_weights(checkpoint.weights, ema=checkpoint.averaged)

    def _first_candidate(self, training: TrainingState) -> int:
        snap = training.recipe.starts_snap_epoch
        return 0 if snap is None or not self._snapped else snap * training.steps_per_epoch

    def load_into(self, network: nn.Module) -> bool:
        """Load the best weights into a network. Return False if there are none."""
        if self._weights is None:
            return False
        with torch.no_grad():
            network.load_state_dict(self._weights)
        return True
