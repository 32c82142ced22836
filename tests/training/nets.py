"""Tiny networks and data that the training tests share."""

from __future__ import annotations

import math

import torch
from torch import nn

from nes_lab.datasets.digits import load_digits
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from nes_lab.training.recipe import Recipe


def tiny_data(limit: int = 96) -> DatasetSpec:
    return load_digits(limit=limit)


def tiny_net(seed: int = 0, dropout: float = 0.3) -> nn.Module:
    """A convolution, batch norm, and dropout: weights, running statistics, and use of the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(256, 10),
        )


def tiny_recipe(**changes) -> Recipe:
    values = {"epochs": 2, "batch_size": 24, "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3, "warmup_epochs": 0.5}
    return Recipe(**(values | {"label_smoothing": 0.1, "log_every_steps": 3} | changes))


def trainer(
    net: nn.Module | None = None,
    data: DatasetSpec | None = None,
    hooks: Hooks | None = None,
    teacher: nn.Module | None = None,
    **changes,
) -> Trainer:
    """A trainer of tiny things; with distillation, from a network of other weights unless told otherwise."""
    if changes.get("kd_weight"):
        teacher = teacher or tiny_net(seed=9)
    return Trainer(net or tiny_net(), data or tiny_data(), tiny_recipe(**changes), seed=3, hooks=hooks, teacher=teacher)


class Poison(nn.Module):
    """Turns the loss to NaN at one forward pass in training."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.calls = at, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        return x * math.nan if self.training and self.calls == self.at else x
