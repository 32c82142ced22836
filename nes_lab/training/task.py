"""Task: what a training minimizes and measures, the loss and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.errors import CheckpointError, OptionError
from nes_lab.training.losses import classification_loss
from nes_lab.training.metrics import ACCURACY, AnyMetric, Metric, as_metrics, call_named

__all__ = ["CLASSIFICATION", "Loss", "Task", "name_of"]

Loss = Callable[[Any, Tensor], Any]
"""A function of (outputs, targets) that returns the mean loss of a batch, a loss per example, or a pair (sum, count)."""


@dataclass(frozen=True)
class Task:
    """The loss and the metrics of a training.

    Args:
        own_loss: Function of (outputs, targets); None: cross entropy.
        metrics: Name -> metric. The first one decides which checkpoint is the best. Without metrics the loss decides.

    Examples:
        >>> Task.of().decisive, Task.of(loss=nn.MSELoss()).decisive
        ('top1', 'loss')
    """

    own_loss: Loss | None = None
    metrics: Mapping[str, Metric] = field(default_factory=lambda: ACCURACY)

    @classmethod
    def of(cls, loss: Loss | None = None, metrics: Mapping[str, AnyMetric] | None = None) -> Task:
        """Make a task from the arguments ``loss=`` and ``metrics=`` of public functions.

        Args:
            loss: Function of (outputs, targets); None: cross entropy.
            metrics: Name -> metric. None: top-1 and top-5 accuracy for cross entropy, otherwise none.

        Raises:
            OptionError: If an argument has another form; the message says what is right.
        """
        if loss is not None and not callable(loss):
            raise OptionError(
                f"loss={loss!r}; give a function of (outputs, targets) that returns the mean loss of a batch"
            )
        if isinstance(loss, type):
            raise OptionError(
                f"loss is the class {loss.__name__}; give a loss that was made with it: {loss.__name__}()"
            )
        if metrics is None:
            return cls(loss, ACCURACY if loss is None else {})
        return cls(loss, as_metrics(metrics))

    @property
    def decisive(self) -> str:
        """Name of the number that decides which checkpoint is the best: the first metric, or ``loss``."""
        return next(iter(self.metrics), "loss")

    @property
    def better(self) -> str:
        """``"higher"`` or ``"lower"``: the values of the deciding number that are better."""
        return self.metrics[self.decisive].better if self.metrics else "lower"

    def is_better(self, value: float, than: float | None) -> bool:
        """Return True if ``value`` is better than another value of the decisive number; None is worse than any value.

        Examples:
            >>> Task.of().is_better(90.0, than=80.0), Task.of(nn.L1Loss()).is_better(0.2, than=0.1)
            (True, False)
        """
        return than is None or (value > than if self.better == "higher" else value < than)

    @property
    def loss_name(self) -> str:
        """Name of the loss in messages and records."""
        return "cross entropy" if self.own_loss is None else f"loss={name_of(self.own_loss)}"

    def loss_on(self, device: torch.device | str, label_smoothing: float = 0.0) -> Loss:
        """Return the loss as a function of outputs and targets.

        Args:
            device: Device of the outputs. A loss that is a module is moved to it.
            label_smoothing: Label smoothing of cross entropy.
        """
        loss = self.own_loss or classification_loss(label_smoothing)
        if isinstance(loss, nn.Module):
            loss.to(device)
        return partial(call_named, self.loss_name, loss) if self.own_loss else partial(_cross_entropy, loss)

    def to_dict(self) -> dict[str, Any]:
        """Return what a checkpoint stores of the task: names of loss and metrics, and which values of a metric are better."""
        directions = [[name, metric.better] for name, metric in self.metrics.items()]
        return {"loss": self.loss_name, "own_loss": self.own_loss is not None, "metrics": directions}

    def check_saved(self, saved: object) -> None:
        """Raise an error if a saved training had another kind of loss or other metrics.

        Args:
            saved: What :meth:`to_dict` returned; None in checkpoints of older versions, which knew classification only.

        Raises:
            CheckpointError: If loss or metrics differ; the message names both.
        """
        here, there = self.to_dict(), saved if isinstance(saved, dict) else CLASSIFICATION.to_dict()
        if here["own_loss"] != there.get("own_loss"):
            raise CheckpointError(
                f"the checkpoint is of a training with {there.get('loss')}, not {here['loss']}; give the same loss= again"
            )
        if here["own_loss"] and _last_part(here["loss"]) != _last_part(str(there.get("loss"))):
            raise CheckpointError(
                f"the checkpoint is of a training with {there.get('loss')}, not {here['loss']}; give the same loss= again"
            )
        if here["metrics"] != there.get("metrics"):
            raise CheckpointError(
                f"the checkpoint is of a training with metrics={_named(there.get('metrics'))}, not {_named(here['metrics'])}; "
                "give the same metrics= again"
            )


CLASSIFICATION = Task()
"""Cross entropy, top-1 and top-5 accuracy."""


def name_of(function: object) -> str:
    """Return the name of a function, or of the class of another callable, for messages and records.

    Examples:
        >>> name_of(nn.MSELoss()), name_of(max)
        ('MSELoss', 'max')
    """
    return str(getattr(function, "__qualname__", type(function).__name__))


def _last_part(name: str) -> str:
    """Return the name of a function without the names of what it is defined in."""
    return name.rpartition("=")[2].rpartition(".")[2]


def _named(metrics: object) -> str:
    if not isinstance(metrics, list):
        return "(none known)"
    return ", ".join(f"{name} ({better} is better)" for name, better in metrics) or "(none)"


def _cross_entropy(loss: Loss, outputs: Any, targets: Tensor) -> Tensor:
    """Return the cross entropy of outputs and targets. If they do not suit it, raise an error that says what is needed."""
    if not isinstance(outputs, Tensor):
        raise OptionError(
            f"the network returns a {type(outputs).__name__}; give loss=, a function of (outputs, targets)"
        )
    try:
        return loss(outputs, targets)
    except (IndexError, ValueError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError) or "CUDA" in str(error):
            raise
        if isinstance(error, IndexError) and outputs.ndim > 1:
            wrong = f"the targets reach from {int(targets.min())} to {int(targets.max())}"
            raise OptionError(f"{wrong}, but the network has {outputs.shape[1]} outputs") from error
        shapes = f"outputs of shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)}, {targets.dtype}"
        raise OptionError(
            f"the default loss, cross entropy, does not take {shapes}: {str(error).splitlines()[0]}; it takes scores "
            "(N, classes, ...) and class numbers (N, ...); for anything else give loss="
        ) from error
