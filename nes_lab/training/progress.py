"""What a training tells of itself on the way: rows of metrics, progress, and the first number that is not finite."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from nes_lab.errors import RunError
from nes_lab.training import distributed
from nes_lab.training.clock import Clock
from nes_lab.training.metrics import Meter

if TYPE_CHECKING:
    from nes_lab.training.loop import Trainer

__all__ = ["DivergedError", "Progress"]

_ADVICE = "try a lower lr, a longer warmup_epochs, or clip_grad=1"


class DivergedError(RunError):
    """The training left the finite numbers; says at which step and what to try."""


class Progress:
    """Counts what a trainer does and hands it to the trainer's hooks; with several processes, to those of the first.

    Args:
        trainer: Whom to watch.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.meter, self.clock = Meter(trainer.device), Clock()
        self._recent_loss: float | None = None
        self._bad_step = torch.full((), -1, dtype=torch.long, device=trainer.device)

    def count(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch of this process."""
        self.meter.update(loss, logits, labels)
        self.clock.count(len(labels) * distributed.world_size())

    def watch(self, loss: Tensor) -> None:
        """Note the first step whose loss is not finite; on CPU alone at once, else when all can say so together."""
        if self.trainer.device.type == "cpu":
            self._recent_loss = value = loss.item()
            if math.isfinite(value):
                return
            if distributed.world_size() == 1:
                self.diverged("the training loss", value, self.trainer.step + 1)
        is_first = ~loss.detach().isfinite() & (self._bad_step < 0)
        self._bad_step.masked_fill_(is_first, self.trainer.step + 1)

    def before_update(self) -> None:
        """Agree that no process has seen a bad loss; on CPU, where asking costs nothing, at every step."""
        if self.trainer.device.type == "cpu" and distributed.world_size() > 1:
            self.raise_if_bad()

    def raise_if_bad(self) -> None:
        """Raise, in all processes, when one has seen a loss that is not finite.

        Raises:
            DivergedError: With the step.
        """
        if self.trainer.device.type == "cpu" and distributed.world_size() == 1:
            return  # watch() has raised already
        (step,) = distributed.agree(int(self._bad_step))
        if step >= 0:
            self.diverged("the training loss", math.nan, step)

    def diverged(self, what: str, value: float, step: int) -> NoReturn:
        """Give up.

        Raises:
            DivergedError: Always.
        """
        lr = self.trainer.optimizer.param_groups[0]["lr"]
        raise DivergedError(f"{what} is {value} at step {step} (lr {lr:.3g}); the last checkpoint is kept; {_ADVICE}")

    def report(self) -> None:
        """After a step: a row of metrics if it is time, and progress."""
        trainer = self.trainer
        if trainer.step % trainer.recipe.log_every_steps == 0 or trainer.step % trainer.steps_per_epoch == 0:
            self.raise_if_bad()
            means = self.meter.means(together=True)
            self._recent_loss = means["loss"]
            lr, speed = trainer.optimizer.param_groups[0]["lr"], self.clock.images_per_s()
            self.row("train", means | {"lr": lr, "images_per_s": speed})
            self.meter.reset()
        if self.clock.is_due():
            self.show()

    def row(self, split: str, numbers: dict[str, float]) -> None:
        """Hand over a row of metrics of the step at hand."""
        if distributed.is_main():
            step = self.trainer.step
            epoch = -(-step // self.trainer.steps_per_epoch)
            self.trainer.hooks.metric({"step": step, "epoch": epoch, "split": split, **numbers})

    def event(self, about: dict[str, Any]) -> None:
        """Hand over what happens once."""
        if distributed.is_main():
            self.trainer.hooks.event(about | {"step": self.trainer.step, "epoch": self.trainer.epoch})

    def show(self) -> None:
        """Hand over progress."""
        trainer = self.trainer
        if not distributed.is_main():
            return
        trainer.hooks.progress(
            {
                "step": trainer.step,
                "total": trainer.total,
                "epoch": min(trainer.step // trainer.steps_per_epoch + 1, trainer.recipe.epochs),
                "epochs": trainer.recipe.epochs,
                "images_per_s": self.clock.images_per_s() or None,  # none yet when resumed at an epoch's end
                "eta_s": self.clock.eta(trainer.step, trainer.total),
                "loss": self._recent_loss,
                "top1": trainer.last.get("top1"),
            }
        )
