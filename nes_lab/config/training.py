"""Define the training section of an experiment's configuration: every setting by which a network is trained.

Tests: tests/config/test_config.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from nes_lab.config.base import Section, from_json
from nes_lab.records.options import AmpMode, Schedule

__all__ = ["TrainingConfig"]


class TrainingConfig(Section):
    """The training section of an experiment.

    It has the fields for optimizer, learning rate, distillation, precision, starting indices, checkpoints and device.
    """

    epochs: int = Field(default=20, ge=1, le=100_000, description="Number of passes over the training images.")
    optimizer: Annotated[str, Field(min_length=1, max_length=50)] = Field(
        default="sgd", description="Optimizer: sgd, adamw, rmsproptf, lamb, or any other of timm."
    )
    lr: float = Field(default=0.05, gt=0, le=100, description="Peak learning rate, reached after the warm-up.")
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Momentum of SGD and RMSprop; beta1 of Adam and similar optimizers."
    )
    optimizer_options: dict[str, Any] = Field(
        default={}, description='Further options of the optimizer, such as {"alpha": 0.9, "eps": 0.001}.'
    )
    weight_decay: float = Field(
        default=1e-4,
        ge=0,
        le=10,
        description="Weight decay of weights and epitomes; biases, norms and starts have none.",
    )
    schedule: Schedule = Field(
        default="cosine", description="Schedule by which the learning rate falls after the warm-up."
    )
    decay_epochs: float = Field(
        default=30.0,
        gt=0,
        le=100_000,
        description="Epochs between two falls of the learning rate, for the schedule step.",
    )
    decay_rate: float = Field(
        default=0.1, gt=0, le=1, description="Factor of each fall of the learning rate, for the schedule step."
    )
    min_lr: float = Field(
        default=0.0, ge=0, le=100, description="Learning rate at the end of the schedules cosine, poly and tanh."
    )
    warmup_epochs: float = Field(
        default=1.0, ge=0, le=100_000, description="Epochs in which the learning rate rises linearly to lr."
    )
    warmup_lr: float = Field(default=1e-6, ge=0, le=100, description="Learning rate at the first step of the warm-up.")
    label_smoothing: float = Field(
        default=0.1, ge=0, lt=1, description="Label smoothing of cross entropy; a loss of your own does not use it."
    )
    mixup: float = Field(default=0.0, ge=0, le=10, description="Alpha of Mixup; 0 turns it off.")
    cutmix: float = Field(default=0.0, ge=0, le=10, description="Alpha of CutMix; 0 turns it off.")
    ema_decay: float | None = Field(
        default=None, gt=0, lt=1, description="Decay of the moving average of the weights; empty keeps no average."
    )
    ema_warmup: bool = Field(default=True, description="Let the decay of the moving average rise from zero.")
    kd_weight: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the loss that comes from the dense teacher; 0 turns distillation off.",
    )
    kd_temperature: float = Field(
        default=1.0, gt=0, le=100, description="Temperature that softens the outputs of teacher and student."
    )
    kd_checkpoint: Path | None = Field(
        default=None,
        description="File with the weights of the dense teacher; empty uses those the backbone starts from.",
    )
    amp: AmpMode = Field(
        default="auto",
        description="Mixed precision: auto (if the device supports it), off, or a type that the device must support.",
    )
    accumulate: int = Field(
        default=1, ge=1, le=4096, description="Number of batches whose gradients are added for one step."
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Number of processes on this machine that train together, at most one per GPU.",
    )
    sync_batchnorm: bool = Field(
        default=False, description="Compute the statistics of batch norms over all processes (CUDA only)."
    )
    compile: bool = Field(default=False, description="Compile the network with torch.compile.")
    channels_last: bool = Field(
        default=False, description="Use the memory format channels_last for images and convolutions."
    )
    starts_lr_scale: float = Field(
        default=1.0, ge=0, le=1e4, description="Learning rate of the starts, as a multiple of lr."
    )
    starts_warmup_epochs: float = Field(
        default=0.0, ge=0, le=100_000, description="Epochs in which the learning rate of the starts rises from zero."
    )
    starts_momentum_end: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Momentum of the routing map at the end of training, approached linearly; empty keeps it constant.",
    )
    learner_every: int = Field(
        default=1,
        ge=1,
        le=100_000,
        description="Index learners predict new starts, and learn, in every step with a number divisible by this.",
    )
    starts_freeze_epoch: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Number of epochs after which the starts are fixed; empty never fixes them.",
    )
    starts_snap_epoch: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Number of epochs after which the starts are rounded and fixed; empty never rounds them.",
    )
    clip_grad: float | None = Field(default=None, gt=0, le=1e6, description="Largest gradient norm; empty never clips.")
    checkpoint_every_epochs: int = Field(
        default=1, ge=1, le=100_000, description="Epochs between two checkpoints; the best epoch so far is saved, too."
    )
    checkpoint_every_steps: int | None = Field(
        default=None,
        ge=1,
        le=10**9,
        description="Steps between additional checkpoints, for long epochs; empty saves none.",
    )
    keep_checkpoints: int = Field(
        default=2, ge=1, le=1000, description="Number of checkpoints that are kept, in addition to the best one."
    )
    keep_gradients: bool = Field(
        default=False,
        description="Keep the gradients of the epitomes with the pictures of the training, for the page Epitomes.",
    )
    log_every_steps: int = Field(default=10, ge=1, le=10**6, description="Steps between two rows of training metrics.")
    trackers: tuple[str, ...] = Field(
        default=(), description="Trackers that also get the metrics: tensorboard, mlflow, wandb, trackio."
    )
    threads: int | None = Field(
        default=None, ge=1, le=1024, description="Number of CPU threads for training; empty lets torch choose."
    )
    device: str = Field(
        default="auto", description="Device to train on: auto, cpu, mps, cuda, or one GPU such as cuda:1."
    )

    @field_validator("device", mode="after")
    @classmethod
    def _is_device(cls, value: str) -> str:
        if re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", value) is None:
            raise ValueError("it should be auto, cpu, mps, cuda or cuda:1")
        return value

    @field_validator("optimizer_options", mode="before")
    @classmethod
    def _options_are_json(cls, value: Any) -> Any:
        return from_json(value, '{"eps": 0.001}')

    @model_validator(mode="after")
    def _warm_up_fits(self) -> TrainingConfig:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs={self.warmup_epochs:g} is longer than epochs={self.epochs}")
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr={self.min_lr:g} is above lr={self.lr:g}")
        if self.learner_every > 1 and self.processes > 1:
            raise ValueError(
                f"learner_every={self.learner_every} works in one process only, and processes={self.processes}"
            )
        for name in ("starts_freeze_epoch", "starts_snap_epoch"):
            if (epoch := getattr(self, name)) is not None and epoch > self.epochs:
                raise ValueError(f"{name}={epoch} never comes: it should be at most epochs={self.epochs}, or empty")
        return self
