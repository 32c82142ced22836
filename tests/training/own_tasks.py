"""Three tiny tasks that are not classification of images, each with a network that is compressed with epitomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import nes_lab
from nes_lab.datasets.digits import load_digits

WORDS, PADDING = 12, -100


@dataclass(frozen=True)
class OwnTask:
    """A compressed network, training and validation data, loss and metrics."""

    network: nn.Module
    train: tuple[Tensor, Tensor]
    val: tuple[Tensor, Tensor]
    loss: Callable | None
    metrics: Mapping[str, Any]

    @property
    def data(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        return self.train, self.val

    @property
    def measures(self) -> dict[str, Any]:
        return {"loss": self.loss, "metrics": self.metrics}


def compressed(network: nn.Module, example: Tensor) -> nn.Module:
    plan = nes_lab.plan_for_budget(network, nes_lab.Budget(params=0.7), example, round_to=1)
    return nes_lab.compress(network, plan, generator=torch.Generator().manual_seed(0))


def of(network: Callable[[], nn.Module], inputs: Tensor, targets: Tensor, loss, metrics) -> OwnTask:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dense = network()
    pairs = [(inputs[part], targets[part]) for part in (slice(30, None), slice(30))]
    return OwnTask(compressed(dense, inputs[:1]), *pairs, loss, metrics)


def images(count: int = 126) -> Tensor:
    return load_digits(limit=count).train.images.float() / 16


def intersections_and_unions(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    chosen = outputs.argmax(1)
    both = [((chosen == label) & (targets == label)).sum() for label in (0, 1)]
    either = [((chosen == label) | (targets == label)).sum() for label in (0, 1)]
    return torch.stack(both), torch.stack(either)


def segmentation() -> OwnTask:
    """Find the bright pixels; the default loss fits, the metric is the mean intersection over union."""

    def network() -> nn.Module:
        first, second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Conv2d(8, 2, 1))

    inputs = images()
    return of(network, inputs, (inputs > 0.5)[:, 0].long(), None, {"iou": intersections_and_unions})


def regression() -> OwnTask:
    """Find the center of the bright pixels; lower is better."""

    def network() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))

    inputs = images()
    place = torch.arange(8.0) - 3.5
    weights = inputs[:, 0] / inputs.sum((1, 2, 3))[:, None, None]
    targets = torch.stack(((weights * place[:, None]).sum((1, 2)), (weights * place).sum((1, 2))), 1)
    error = (lambda outputs, targets: (outputs - targets).abs(), "lower")
    return of(network, inputs, targets, nn.MSELoss(), {"error": error})


def text_loss(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    total = F.cross_entropy(outputs.transpose(1, 2), targets, ignore_index=PADDING, reduction="sum")
    return total, (targets != PADDING).sum()


def words_right(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return (outputs.argmax(2) == targets).sum(), (targets != PADDING).sum()


def language() -> OwnTask:
    """Say the next word of texts of different lengths; padding does not count."""

    def network() -> nn.Module:
        return nn.Sequential(nn.Embedding(WORDS, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, WORDS))

    generator = torch.Generator().manual_seed(1)
    inputs = torch.randint(0, WORDS, (126, 9), generator=generator)
    lengths = torch.randint(1, 10, (126, 1), generator=generator)
    targets = torch.where(torch.arange(9) < lengths, (5 * inputs + 1) % WORDS, PADDING)
    perplexity = nes_lab.Metric(text_loss, "lower", finish=math.exp)
    return of(network, inputs, targets, text_loss, {"accuracy": words_right, "perplexity": perplexity})


TASKS: dict[str, Callable[[], OwnTask]] = {"segmentation": segmentation, "regression": regression, "language": language}
