"""Measure top-1 on the test images, and fine-tune by one recipe."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import nes_lab
from benchmarks.fit_parts.data import Data, augmented, normalize
from nes_lab.training.losses import kd_loss

__all__ = ["DISTILLATION", "RECIPE", "top1", "train"]

RECIPE = {"optimizer": "SGD, momentum 0.9, Nesterov", "batch": 128, "weight_decay": 1e-4, "schedule": "cosine to 0"}
DISTILLATION = {"temperature": 4.0, "weight": 0.5}
"""Temperature of the softmax, and share of the loss that is distillation, where a teacher is used."""


def top1(model: nn.Module, data: Data) -> float:
    """Return the percentage of test images that are classified correctly."""
    plain = nes_lab.materialize(model).eval()
    with torch.no_grad():
        guesses = torch.cat([plain(normalize(part)).argmax(1) for part in data.test.split(250)])
    return 100 * (guesses == data.test_labels).float().mean().item()


def train(
    model: nn.Module,
    data: Data,
    lr: float,
    epochs: int,
    seed: int,
    say: Callable[[str], None],
    teacher: nn.Module | None = None,
) -> nn.Module:
    """Train in place. Order and augmentation depend on the seed only, so that all contenders see the same batches.

    Args:
        model: The network.
        data: Images and labels.
        lr: Learning rate of the first step.
        epochs: Number of epochs.
        seed: Seed of order and augmentation.
        say: Called with the progress, as text.
        teacher: A network in eval mode whose outputs are half of the goal, by distillation. None: labels are all of it.
    """
    batch = int(RECIPE["batch"])
    total = epochs * (len(data.train) // batch)
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    generator, step, recent = torch.Generator().manual_seed(seed), 0, 0.0
    model.train()
    for _ in range(epochs):
        for x, y in augmented(data, batch, generator):
            for group in optimizer.param_groups:
                group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / total))
            loss = _loss(model(x), y, x, teacher)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            recent = loss.item() if step == 0 else 0.95 * recent + 0.05 * loss.item()
            step += 1
            if step % 20 == 0 or step == total:
                say(f"step {step} of {total}, loss {recent:.3f}")
    return model.eval()


def _loss(logits: Tensor, labels: Tensor, x: Tensor, teacher: nn.Module | None) -> Tensor:
    loss = F.cross_entropy(logits, labels)
    if teacher is None:
        return loss
    with torch.no_grad():
        goal = teacher(x)
    weight = DISTILLATION["weight"]
    return (1 - weight) * loss + weight * kd_loss(logits, goal, DISTILLATION["temperature"])
