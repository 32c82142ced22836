"""How to train: the numbers of a recipe, checked once. Torch-free; configs are turned into this at the builder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nes_lab.errors import OptionError, check_choice

__all__ = ["AMP_MODES", "SCHEDULES", "Recipe"]

SCHEDULES = ("cosine", "step", "poly", "tanh", "constant")
AMP_MODES = ("auto", "off", "bf16", "fp16")


@dataclass(frozen=True)
class Recipe:
    """A training recipe. What is not given is off.

    A step is one update of the weights. With ``accumulate`` it takes that many batches; with several processes each brings
    its own: a step sees ``batch_size * accumulate * processes`` images.

    Args:
        epochs: Passes over the training images.
        batch_size: Images a process takes at a time.
        lr: Peak learning rate, reached after the warm-up.
        optimizer: ``"sgd"`` (Nesterov when there is momentum), ``"adamw"`` or any other that timm knows.
        momentum: Of sgd and rmsprop; first beta of Adam's kin.
        optimizer_options: Further arguments of the optimizer, such as ``{"eps": 1e-3}``.
        weight_decay: On matrices only: never on biases, norms, starts and index learners.
        schedule: How the learning rate falls after the warm-up.
        decay_epochs: Of ``"step"``: epochs between two falls.
        decay_rate: Of ``"step"``: factor of each fall.
        min_lr: Learning rate at the end of ``"cosine"``, ``"poly"`` and ``"tanh"``.
        warmup_epochs: Epochs of linear warm-up; may be a fraction.
        warmup_lr: Learning rate at the first step of the warm-up.
        label_smoothing: Of the training loss, in [0, 1).
        mixup: Alpha of Mixup; 0 is off.
        cutmix: Alpha of CutMix; 0 is off. With both, each batch takes one of them by chance.
        ema_decay: Largest decay of the averaged weights; None keeps none.
        ema_warmup: Whether the decay rises to it from zero.
        kd_weight: Share of the loss that comes from the dense teacher, in [0, 1].
        kd_temperature: Softens the logits of teacher and student; the loss is multiplied by its square.
        amp: ``"auto"`` uses mixed precision where the device has it, ``"off"`` never; ``"bf16"`` and ``"fp16"`` insist.
        accumulate: Batches whose gradients make one step.
        sync_batchnorm: Take batch norms' statistics over all processes (CUDA).
        compile: Compile the network with ``torch.compile``.
        channels_last: Keep images and convolutions with channels last.
        starts_lr_scale: Learning rate of starts and index learners, relative to ``lr``.
        starts_warmup_epochs: Epochs over which that learning rate rises from zero.
        starts_momentum_end: Momentum of the routing map at the end, reached linearly; None keeps it.
        starts_freeze_epoch: Epochs after which starts stay as they are; None never.
        starts_snap_epoch: Epochs after which starts are rounded to integers for good; None never.
        clip_grad: Largest gradient norm; None never clips.
        checkpoint_every_epochs: Epochs between two checkpoints.
        checkpoint_every_steps: Steps between two more checkpoints; None adds none.
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
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    weight_decay: float = 0.0
    schedule: str = "cosine"
    decay_epochs: float = 30.0
    decay_rate: float = 0.1
    min_lr: float = 0.0
    warmup_epochs: float = 0.0
    warmup_lr: float = 1e-6
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    ema_decay: float | None = None
    ema_warmup: bool = True
    kd_weight: float = 0.0
    kd_temperature: float = 1.0
    amp: str = "off"
    accumulate: int = 1
    sync_batchnorm: bool = False
    compile: bool = False
    channels_last: bool = False
    starts_lr_scale: float = 1.0
    starts_warmup_epochs: float = 0.0
    starts_momentum_end: float | None = None
    starts_freeze_epoch: int | None = None
    starts_snap_epoch: int | None = None
    clip_grad: float | None = None
    checkpoint_every_epochs: int = 1
    checkpoint_every_steps: int | None = None
    log_every_steps: int = 10

    def __post_init__(self) -> None:
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("amp", self.amp, AMP_MODES)
        for name in ("epochs", "batch_size", "accumulate", "checkpoint_every_epochs", "log_every_steps"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("starts_freeze_epoch", "starts_snap_epoch", "checkpoint_every_steps"):
            _require(name, getattr(self, name), getattr(self, name) is None or getattr(self, name) >= 1, "at least 1")
        for name in ("momentum", "label_smoothing"):
            _require(name, getattr(self, name), 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("weight_decay", "warmup_epochs", "warmup_lr", "min_lr", "mixup", "cutmix", "starts_lr_scale",
                     "starts_warmup_epochs"):  # fmt: skip
            _require(name, getattr(self, name), 0 <= getattr(self, name) < math.inf, "a finite number of at least 0")
        for name in ("lr", "decay_epochs", "kd_temperature", "clip_grad"):
            value = getattr(self, name)
            _require(name, value, value is None or 0 < value < math.inf, "a finite number above 0")
        _require("decay_rate", self.decay_rate, 0 < self.decay_rate <= 1, "above 0 and at most 1")
        _require("kd_weight", self.kd_weight, 0 <= self.kd_weight <= 1, "in [0, 1]")
        _require("ema_decay", self.ema_decay, self.ema_decay is None or 0 < self.ema_decay < 1, "between 0 and 1")
        end = self.starts_momentum_end
        _require("starts_momentum_end", end, end is None or 0 <= end < 1, "in [0, 1)")


def _require(name: str, value: object, holds: bool, want: str) -> None:
    if not holds:
        raise OptionError(f"{name}={value!r} should be {want}")
