"""Define ``Recipe``: the settings of one training (epochs, learning rate and so on), with a check of their ranges.

This file does not import torch. ``experiment/build.py`` makes a ``Recipe`` from the configuration of an experiment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, get_args

from nes_lab.errors import OptionError, check_choice
from nes_lab.records.options import AmpMode, Schedule

__all__ = ["AMP_MODES", "SCHEDULES", "Recipe"]

SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
AMP_MODES: tuple[AmpMode, ...] = get_args(AmpMode)


@dataclass(frozen=True)
class Recipe:
    """The settings of a training. By default everything optional is off.

    A step is one update of the weights. In each process it uses ``batch_size * accumulate`` images. "Starts" are the starting
    indices at which epitome layers read their epitomes. An "index learner" is a small network that predicts starts.

    Args:
        epochs: Number of passes over the training images.
        batch_size: Number of images per forward pass in one process.
        lr: Peak learning rate, reached after the warm-up.
        optimizer: ``"sgd"`` (Nesterov if ``momentum`` is above 0), ``"adamw"`` or any other that timm knows.
        momentum: Momentum of sgd and rmsprop; first beta of Adam and similar optimizers.
        optimizer_options: Other arguments of the optimizer, such as ``{"eps": 1e-3}``.
        weight_decay: Weight decay of matrices and convolution weights; biases, norms, starts and index learners have none.
        schedule: Curve of the learning rate after the warm-up: ``"cosine"``, ``"step"``, ``"poly"``, ``"tanh"`` or
            ``"constant"``.
        decay_epochs: Number of epochs between two drops of the learning rate, for the schedule ``"step"``.
        decay_rate: Factor of each drop of the learning rate, for the schedule ``"step"``.
        min_lr: Final learning rate of ``"cosine"``, ``"poly"`` and ``"tanh"``.
        warmup_epochs: Number of epochs in which the learning rate rises linearly to ``lr``; may be a fraction.
        warmup_lr: Learning rate at the first step of the warm-up.
        label_smoothing: Fraction of each label's probability that is spread evenly over all classes, in [0, 1). A
            loss of your own does not use it.
        mixup: Alpha of Mixup; 0: off.
        cutmix: Alpha of CutMix; 0: off. If both are on, one of them is chosen at random for each batch.
        ema_decay: Largest decay of the moving average of the weights; None: no average is kept.
        ema_warmup: Let the decay of the moving average rise from zero to ``ema_decay``.
        kd_weight: Fraction of the loss that comes from imitating a dense teacher network (distillation), in [0, 1].
        kd_temperature: Temperature of the distillation. The logits of teacher and student are divided by the
            temperature, and the distillation loss is multiplied by the square of the temperature.
        amp: Mixed precision. ``"auto"``: on GPUs; ``"off"``: never; ``"bf16"`` or ``"fp16"``: with this dtype, or an error if
            the device does not have it.
        accumulate: Number of batches whose gradients are added up for one step.
        sync_batchnorm: Compute batch norm statistics over all processes (CUDA only).
        compile: Compile the network with ``torch.compile``.
        channels_last: Store images and convolution weights in torch's channels-last memory format.
        starts_lr_scale: Learning rate of starts and index learners, as a multiple of ``lr``.
        starts_warmup_epochs: Number of epochs in which the learning rate of starts and index learners rises from zero.
        starts_momentum_end: Index learners keep a moving average of their starts. The momentum of this average changes
            linearly to this value until the training ends. None: each layer keeps its own momentum.
        learner_every: Index learners predict new starts, and learn, in every ``learner_every``-th step. In the steps between, their
            layers use the moving average of the starts as it is.
        starts_freeze_epoch: Stop learning the starts after this many epochs; None: never.
        starts_snap_epoch: Round the starts to integers after this many epochs, and stop learning them; None: never.
        clip_grad: Largest allowed norm of the gradient. A larger gradient is scaled down to this norm. None: no clipping.
        checkpoint_every_epochs: Number of epochs between two checkpoints. An epoch with the best validation so far is saved, too.
        checkpoint_every_steps: Number of steps between two additional checkpoints within an epoch; None: no additional ones.
        log_every_steps: Number of steps between two rows of training metrics.

    Raises:
        OptionError: If a value is out of range; the message names the setting.

    Examples:
        >>> import nes_lab
        >>> nes_lab.Recipe(epochs=0, batch_size=8, lr=0.1)
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
    schedule: Schedule = "cosine"
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
    amp: AmpMode = "off"
    accumulate: int = 1
    sync_batchnorm: bool = False
    compile: bool = False
    channels_last: bool = False
    starts_lr_scale: float = 1.0
    starts_warmup_epochs: float = 0.0
    starts_momentum_end: float | None = None
    learner_every: int = 1
    starts_freeze_epoch: int | None = None
    starts_snap_epoch: int | None = None
    clip_grad: float | None = None
    checkpoint_every_epochs: int = 1
    checkpoint_every_steps: int | None = None
    log_every_steps: int = 10

    def __post_init__(self) -> None:
        for item in fields(self):
            _check_type(item.name, getattr(self, item.name), str(item.type))
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("amp", self.amp, AMP_MODES)
        for name in (
            "epochs",
            "batch_size",
            "accumulate",
            "learner_every",
            "checkpoint_every_epochs",
            "log_every_steps",
        ):
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


_KINDS: Mapping[str, tuple[type, str]] = {
    "int": (Integral, "an integer"),
    "float": (Real, "a number"),
    "str": (str, "text"),
}


def _check_type(name: str, value: object, annotation: str) -> None:
    kind, _, optional = annotation.partition(" | ")
    if kind == "bool":
        _require(name, value, isinstance(value, bool), "True or False")
    elif kind in _KINDS and not (optional and value is None):
        number, words = _KINDS[kind]
        is_number = isinstance(value, number) and not isinstance(value, bool)
        _require(name, value, is_number, f"{words} or None" if optional else words)


def _require(name: str, value: object, holds: bool, requirement: str) -> None:
    if not holds:
        raise OptionError(f"{name}={value!r} should be {requirement}")
