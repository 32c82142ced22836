"""The training section: every knob of a recipe."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from nes_lab.config.base import Section, from_json

__all__ = ["TrainingConfig"]


class TrainingConfig(Section):
    """The training recipe."""

    epochs: int = Field(default=20, ge=1, le=100_000, description="Passes over the training images.")
    optimizer: Annotated[str, Field(min_length=1, max_length=50)] = Field(
        default="sgd", description="Optimizer: sgd, adamw, rmsproptf, lamb or any other that timm knows."
    )
    lr: float = Field(default=0.05, gt=0, le=100, description="Peak learning rate, reached after the warm-up.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd and rmsprop; beta1 of Adam's kin.")
    optimizer_options: dict[str, Any] = Field(
        default={}, description='Further options of the optimizer, such as {"alpha": 0.9, "eps": 0.001}.'
    )
    weight_decay: float = Field(default=1e-4, ge=0, le=10, description="Weight decay on matrices; never on starts.")
    schedule: Literal["cosine", "step", "poly", "tanh", "constant"] = Field(
        default="cosine", description="How the learning rate falls after the warm-up."
    )
    decay_epochs: float = Field(default=30.0, gt=0, le=100_000, description="Schedule step: epochs between two falls.")
    decay_rate: float = Field(default=0.1, gt=0, le=1, description="Schedule step: factor of each fall.")
    min_lr: float = Field(default=0.0, ge=0, le=100, description="Learning rate at the end of cosine, poly and tanh.")
    warmup_epochs: float = Field(default=1.0, ge=0, le=100_000, description="Epochs of linear warm-up.")
    warmup_lr: float = Field(default=1e-6, ge=0, le=100, description="Learning rate at the first step of the warm-up.")
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="Label smoothing of the training loss.")
    mixup: float = Field(default=0.0, ge=0, le=10, description="Alpha of Mixup; 0 is off.")
    cutmix: float = Field(default=0.0, ge=0, le=10, description="Alpha of CutMix; 0 is off.")
    ema_decay: float | None = Field(
        default=None, gt=0, lt=1, description="Decay of the averaged weights; empty keeps none."
    )
    ema_warmup: bool = Field(default=True, description="Let the decay of the averaged weights rise from zero.")
    kd_weight: float = Field(
        default=0.0, ge=0, le=1, description="Share of the loss that comes from the dense teacher; 0 is off."
    )
    kd_temperature: float = Field(default=1.0, gt=0, le=100, description="Softens teacher and student alike.")
    kd_checkpoint: Path | None = Field(
        default=None, description="Weights of the dense teacher; empty takes those the backbone begins with."
    )
    amp: Literal["auto", "off", "bf16", "fp16"] = Field(
        default="auto", description="Mixed precision where the device has it, never, or one that it must have."
    )
    accumulate: int = Field(default=1, ge=1, le=4096, description="Batches whose gradients make one step.")
    processes: int = Field(
        default=1, ge=1, le=64, description="Processes of this machine that train together, one a GPU."
    )
    sync_batchnorm: bool = Field(
        default=False, description="Batch norms take their statistics over all processes (CUDA)."
    )
    compile: bool = Field(default=False, description="Compile the network with torch.compile.")
    channels_last: bool = Field(default=False, description="Keep images and convolutions with channels last.")
    starts_lr_scale: float = Field(default=1.0, ge=0, le=1e4, description="Learning rate of the starts relative to lr.")
    starts_warmup_epochs: float = Field(
        default=0.0, ge=0, le=100_000, description="Epochs over which the starts' learning rate rises from zero."
    )
    starts_momentum_end: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Momentum of the routing map at the end, reached linearly; empty keeps it.",
    )
    starts_freeze_epoch: int | None = Field(
        default=None, ge=1, le=100_000, description="Epochs after which the starts stay as they are; empty never."
    )
    starts_snap_epoch: int | None = Field(
        default=None, ge=1, le=100_000, description="Epochs after which the starts are rounded for good; empty never."
    )
    clip_grad: float | None = Field(default=None, gt=0, le=1e6, description="Largest gradient norm; empty never clips.")
    checkpoint_every_epochs: int = Field(default=1, ge=1, le=100_000, description="Epochs between two checkpoints.")
    checkpoint_every_steps: int | None = Field(
        default=None, ge=1, le=10**9, description="Steps between two more checkpoints, for long epochs; empty: none."
    )
    keep_checkpoints: int = Field(
        default=2, ge=1, le=1000, description="How many checkpoints stay on disk, beside the best."
    )
    log_every_steps: int = Field(default=10, ge=1, le=10**6, description="Steps between two rows of training metrics.")
    trackers: tuple[str, ...] = Field(
        default=(), description="Also send the metrics to these: tensorboard, mlflow, wandb, trackio."
    )
    threads: int | None = Field(
        default=None, ge=1, le=1024, description="CPU threads for training; empty lets torch choose."
    )
    device: str = Field(default="auto", description="auto, cpu, mps, cuda or cuda:1.")

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
        for name in ("starts_freeze_epoch", "starts_snap_epoch"):
            if (epoch := getattr(self, name)) is not None and epoch > self.epochs:
                raise ValueError(f"{name}={epoch} never comes: it should be at most epochs={self.epochs}, or empty")
        return self
