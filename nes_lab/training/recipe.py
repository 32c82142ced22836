"""How to train: the numbers of a recipe, checked once. Torch-free; configs are turned into this at the builder."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nes_lab.errors import OptionError, one_of

__all__ = ["AMP_MODES", "OPTIMIZERS", "Recipe"]

OPTIMIZERS = ("sgd", "adamw")
AMP_MODES = ("auto", "off")


@dataclass(frozen=True)
class Recipe:
    """A training recipe. What is not given is off.

    Args:
        epochs: Passes over the training images.
        batch_size: Images per step.
        lr: Peak learning rate, reached after the warm-up; a cosine brings it to zero.
        optimizer: ``"sgd"`` (Nesterov when there is momentum) or ``"adamw"``.
        momentum: Of sgd; first beta of adamw.
        weight_decay: On matrices only: never on biases, norms, starts and index learners.
        warmup_epochs: Epochs of linear warm-up; may be a fraction.
        label_smoothing: Of the training loss, in [0, 1).
        ema_decay: Largest decay of the averaged weights (it warms up to it); None keeps none.
        amp: ``"auto"`` uses mixed precision where the device has it, ``"off"`` never.
        starts_lr_scale: Learning rate of starts and index learners, relative to ``lr``.
        clip_grad: Largest gradient norm; None never clips.
        checkpoint_every_epochs: Epochs between two checkpoints.
        log_every_steps: Steps between two rows of training metrics.

    Raises:
        OptionError: Naming the value that is out of range.

    Examples:
        >>> Recipe(epochs=0, batch_size=8, lr=0.1)
        Traceback (most recent call last):
        nes_lab.errors.OptionError: epochs=0 should be at least 1
    """

    epochs: int
    batch_size: int
    lr: float
    optimizer: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    amp: str = "off"
    starts_lr_scale: float = 1.0
    clip_grad: float | None = None
    checkpoint_every_epochs: int = 1
    log_every_steps: int = 10

    def __post_init__(self) -> None:
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("amp", self.amp, AMP_MODES)
        for name in ("epochs", "batch_size", "checkpoint_every_epochs", "log_every_steps"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("momentum", "label_smoothing"):
            _require(name, getattr(self, name), 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("weight_decay", "warmup_epochs", "starts_lr_scale"):
            _require(name, getattr(self, name), 0 <= getattr(self, name) < math.inf, "a finite number of at least 0")
        for name in ("lr", "clip_grad"):
            value = getattr(self, name)
            _require(name, value, value is None or 0 < value < math.inf, "a finite number above 0")
        _require("ema_decay", self.ema_decay, self.ema_decay is None or 0 < self.ema_decay < 1, "between 0 and 1")


def _require(name: str, value: object, holds: bool, want: str) -> None:
    if not holds:
        raise OptionError(f"{name}={value!r} should be {want}")
