"""Name experiments to begin with, which fill the form of the app with one click.

Tests: tests/recipes/test_chips.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nes_lab.recipes.registry import experiment_tree

__all__ = ["CHIPS", "Chip"]


@dataclass(frozen=True)
class Chip:
    """An experiment to begin with.

    Attributes:
        name: Short name.
        about: One sentence about the experiment.
        make: Function that returns the experiment as a mapping of sections.
    """

    name: str
    about: str
    make: Callable[[], Mapping[str, Any]]


def _small() -> Mapping[str, Any]:
    return {"label": "digits", "compression": {"madds": "60%", "routing": "learner"}, "training": {"epochs": 10}}


def _paper(recipe: str, madds: str) -> Mapping[str, Any]:
    tree = dict(experiment_tree(recipe))
    return tree | {"compression": {**tree["compression"], "madds": madds, "params": None}}


def _small_file() -> Mapping[str, Any]:
    tree = dict(experiment_tree("cifar10"))
    return tree | {"label": "small file", "compression": {"preset": "small_file"}}


def _half_resnet50() -> Mapping[str, Any]:
    tree = dict(experiment_tree("imagenet_finetune"))
    network = {"name": "resnet50", "pretrained": True}
    compression = {"madds": "50%", "routing": "learner", "initial_weights": "fit"}
    return tree | {"label": "resnet50, half", "backbone": network, "compression": compression}


CHIPS = (
    Chip("Digits", "Handwritten digits, 10 epochs: the smallest experiment; needs no download.", _small),
    Chip("CIFAR-10", "ResNet-56 at half its params, 200 epochs.", lambda: experiment_tree("cifar10")),
    Chip(
        "Small file", "ResNet-56 on CIFAR-10 in about a tenth of its bytes: all layers share one epitome.", _small_file
    ),
    Chip(
        "Paper: MobileNetV2, 225 M",
        "The paper's budget for MobileNetV2 on ImageNet, about 225 M multiply-adds; training is this library's.",
        lambda: _paper("imagenet_mobilenetv2", "225M"),
    ),
    Chip(
        "Paper: EfficientNet-B0, 350 M",
        "The paper's budget for EfficientNet on ImageNet, below 350 M multiply-adds; training is this library's.",
        lambda: _paper("imagenet_efficientnet_b0", "350M"),
    ),
    Chip("ResNet-50, half", "Pretrained ResNet-50 fitted to half its multiply-adds, 10 epochs.", _half_resnet50),
    Chip("Audio", "M5 on sound at a quarter of its params.", lambda: experiment_tree("audio")),
)
"""The experiments to begin with. Only budgets that the paper states are called its own."""
