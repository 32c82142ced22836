"""Send the metrics, the progress and the events of a training to its callbacks."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nes_lab.training import distributed
from nes_lab.training.hooks import Hooks
from nes_lab.training.metrics import mean_of
from nes_lab.training.training_clock import TrainingClock
from nes_lab.training.training_state import TrainingState

__all__ = ["Reporter"]


class Reporter:
    """Collects the metrics of a training, and reports them to callbacks. Only the first process reports.

    Args:
        training: The training to report on.
        hooks: The callbacks.
    """

    def __init__(self, training: TrainingState, hooks: Hooks) -> None:
        self.training, self.hooks, self.clock = training, hooks, TrainingClock()
        self._recent_loss: float | None = None

    def count(self, loss: Any, outputs: Any, labels: Tensor) -> None:
        """Add a batch of this process to the training metrics and to the measured speed."""
        self.training.metrics.update(loss, outputs, labels)
        self.clock.count(len(labels) * distributed.world_size())
        if self.training.device.type == "cpu":  # elsewhere reading the number would wait for the device
            self._recent_loss = float(mean_of("the loss", loss))

    def is_row_due(self) -> bool:
        """Return True if training metrics should be reported at this step."""
        training = self.training
        return training.step % training.recipe.log_every_steps == 0 or training.step % training.steps_per_epoch == 0

    def train_row(self) -> None:
        """Report the mean training metrics of the steps since the last report. Every process must call this method."""
        means = self.training.metrics.means(all_ranks=True)
        self._recent_loss = means["loss"]
        lr, speed = self.training.optimizer.param_groups[0]["lr"], self.clock.images_per_s()
        self.row("train", means | {"lr": lr, "images_per_s": speed})
        self.training.metrics.reset()

    def row(self, split: str, numbers: dict[str, float]) -> None:
        """Report the metrics of a split (training or validation) at the current step."""
        if distributed.is_main():
            step = self.training.step
            self.clock.mark(step)
            epoch = -(-step // self.training.steps_per_epoch)
            self.hooks.metric({"step": step, "epoch": epoch, "split": split, **numbers})

    def event(self, about: dict[str, Any]) -> None:
        """Report a rare event, for example that the learned positions in the epitomes were frozen."""
        if distributed.is_main():
            self.hooks.event(about | {"step": self.training.step, "epoch": self.training.epoch})

    def progress(self) -> None:
        """Report the progress of the training: step, epoch, speed and time left."""
        training = self.training
        if not distributed.is_main():
            return
        epoch = min(training.step // training.steps_per_epoch + 1, training.recipe.epochs)
        name = training.task.decisive
        value = f", {name} {training.last[name]:.4g}" if name in training.last else ""
        self.hooks.on_progress(
            {
                "phase": "training",
                "done": training.step,
                "total": training.total,
                "label": f"epoch {epoch} of {training.recipe.epochs}{value}",
                "epoch": epoch,
                "epochs": training.recipe.epochs,
                "images_per_s": self.clock.images_per_s() or None,  # 0 before the first step after resuming
                "seconds_left": self.clock.seconds_left(training.total),
                "loss": self._recent_loss,
                "top1": training.last.get("top1"),
            }
        )
