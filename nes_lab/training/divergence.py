"""Stop a training when a loss or a weight is not finite (NaN or infinite), before a good checkpoint is overwritten.

On the CPU every loss is checked immediately. On a GPU, losses are checked when metrics are reported and before a
checkpoint is saved.
"""

from __future__ import annotations

import math
from typing import NoReturn

import torch
from torch import Tensor

from nes_lab.errors import RunError
from nes_lab.records.result_notes import LOWER_LR
from nes_lab.training import distributed
from nes_lab.training.training_state import TrainingState

__all__ = ["DivergedError", "DivergenceWatch"]


class DivergedError(RunError):
    """The error that is raised when a loss or a weight is not finite. The message gives the training step and advice."""


class DivergenceWatch:
    """Watches the losses of a training. If one is not finite, every process of the training raises an error.

    Args:
        training: The training to watch.
    """

    def __init__(self, training: TrainingState) -> None:
        self.training = training
        self.is_cpu = training.device.type == "cpu"
        self._bad_step = torch.full((), -1, dtype=torch.long, device=training.device)

    def watch(self, loss: Tensor) -> None:
        """Check that the loss of a training step is finite.

        A training in a single process on the CPU raises an error at once. Any other training stores the number of the step, and
        raises the error at a later check.

        Raises:
            DivergedError: If the loss is not finite, and the training runs in a single process on the CPU.
        """
        step = self.training.step + 1
        if self.is_cpu:
            value = loss.item()
            if math.isfinite(value):
                return
            if distributed.world_size() == 1:
                self.stop("the training loss", value, step)
        is_first = ~loss.detach().isfinite() & (self._bad_step < 0)
        self._bad_step.masked_fill_(is_first, step)

    def before_update(self) -> None:
        """Raise an error in every process if any process had a loss that is not finite.

        Call this method before each update of the weights. It does nothing if the training runs on a GPU or in a single
        process. On a GPU the losses are checked before a report or a checkpoint, because a check makes the CPU wait. In a single
        process on the CPU, :meth:`watch` has checked the loss already.

        Raises:
            DivergedError: If a loss was not finite; the message gives the step.
        """
        if self.is_cpu and distributed.world_size() > 1:
            self.raise_if_bad()

    def raise_if_bad(self) -> None:
        """Raise an error in every process if any process has had a loss that is not finite since the training began.

        Raises:
            DivergedError: If a loss was not finite; the message gives the step.
        """
        if self.is_cpu and distributed.world_size() == 1:
            return  # in this case watch() raises the error
        (step,) = distributed.max_over_ranks(int(self._bad_step))
        if step >= 0:
            self.stop("the training loss", math.nan, step)

    def raise_if_spoiled(self) -> None:
        """Raise an error in every process if a loss, a weight or a buffer of the network is not finite.

        Call this method before you save the training.

        Raises:
            DivergedError: If a loss, weight or buffer is not finite; the message names it.
        """
        self.raise_if_bad()
        floating = ((name, t) for name, t in self.training.model.state_dict().items() if t.is_floating_point())
        spoiled = next((name for name, tensor in floating if not bool(tensor.isfinite().all())), None)
        if (spoiled := distributed.broadcast(spoiled)) is not None:
            self.stop(spoiled, math.nan, self.training.step)

    def stop(self, what: str, value: float, step: int) -> NoReturn:
        """Raise a :class:`DivergedError` whose message gives the training step, the learning rate and advice.

        Args:
            what: Name of the loss or tensor that is not finite.
            value: The value that is not finite.
            step: The training step at which it occurred.

        Raises:
            DivergedError: Always.
        """
        lr = self.training.optimizer.param_groups[0]["lr"]
        raise DivergedError(f"{what} is {value} at step {step} (lr {lr:.3g}); the last checkpoint is kept; {LOWER_LR}")
