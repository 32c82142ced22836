"""Stop a training at the first loss or weight that is not finite, before a good checkpoint is replaced.

On the CPU a bad loss is seen at once. On a GPU reading it would wait for the device, so its step is noted there and read
when metrics are due and before a checkpoint.
"""

from __future__ import annotations

import math
from typing import NoReturn

import torch
from torch import Tensor

from nes_lab.errors import RunError
from nes_lab.training import distributed
from nes_lab.training.training_state import TrainingState

__all__ = ["DivergedError", "DivergenceWatch"]

_ADVICE = "try a lower lr, a longer warmup_epochs, or clip_grad=1"


class DivergedError(RunError):
    """A loss or a weight is no longer finite; says at which step, and what to try."""


class DivergenceWatch:
    """Notes the first step whose loss is not finite, and raises on every process.

    Args:
        training: The training to watch.
    """

    def __init__(self, training: TrainingState) -> None:
        self.training = training
        self.is_cpu = training.device.type == "cpu"
        self._bad_step = torch.full((), -1, dtype=torch.long, device=training.device)

    def watch(self, loss: Tensor) -> None:
        """Note the step if its loss is not finite. A single process on the CPU raises at once.

        Raises:
            DivergedError: On the CPU, with the step.
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
        """Raise on every rank if any rank saw a loss that is not finite. Done at each step on CPU, where it is cheap.

        Raises:
            DivergedError: With the step.
        """
        if self.is_cpu and distributed.world_size() > 1:
            self.raise_if_bad()

    def raise_if_bad(self) -> None:
        """Raise on every rank if any rank saw a loss that is not finite.

        Raises:
            DivergedError: With the step.
        """
        if self.is_cpu and distributed.world_size() == 1:
            return  # watch() has raised already
        (step,) = distributed.max_over_ranks(int(self._bad_step))
        if step >= 0:
            self.stop("the training loss", math.nan, step)

    def raise_if_spoiled(self) -> None:
        """Raise on every rank if a loss, a weight or a buffer is not finite. Call before saving.

        Raises:
            DivergedError: Names the tensor.
        """
        self.raise_if_bad()
        floating = ((name, t) for name, t in self.training.model.state_dict().items() if t.is_floating_point())
        spoiled = next((name for name, tensor in floating if not bool(tensor.isfinite().all())), None)
        if (spoiled := distributed.broadcast(spoiled)) is not None:
            self.stop(spoiled, math.nan, self.training.step)

    def stop(self, what: str, value: float, step: int) -> NoReturn:
        """Raise the error.

        Args:
            what: What is not finite, for the message.
            value: Its value.
            step: The step at which it happened.

        Raises:
            DivergedError: Always.
        """
        lr = self.training.optimizer.param_groups[0]["lr"]
        raise DivergedError(f"{what} is {value} at step {step} (lr {lr:.3g}); the last checkpoint is kept; {_ADVICE}")
