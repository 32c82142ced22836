"""Describe the dense network that planning, compressing or fitting starts from.

Tests: tests/cli/test_models.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nes_lab.cost.probe import in_mode
from nes_lab.models.create import dense_backbone

__all__ = ["DenseSource"]


@dataclass(frozen=True)
class DenseSource:
    """A description of the dense network that planning, compressing or fitting starts from: its name, shapes and weights.

    Args:
        name: Name of the backbone, for :func:`nes_lab.create_backbone`.
        input_shape: ``(channels, height, width)`` of one image, or ``(channels, samples)`` of one audio clip.
        num_classes: Number of outputs; None: the backbone's default.
        width: Factor for the number of channels, only for our own backbones.
        pretrained: Use timm's pretrained weights, downloaded on first use.
        checkpoint: Path of a ``.safetensors`` file of weights; None: no file is read.
        seed: Seed of fresh weights.
    """

    name: str
    input_shape: tuple[int, ...] = (3, 224, 224)
    num_classes: int | None = None
    width: float = 1.0
    pretrained: bool = False
    checkpoint: Path | None = None
    seed: int = 0

    @property
    def has_trained_weights(self) -> bool:
        """Return True if the network's weights come from training. Epitomes should be fitted only to such weights."""
        return self.pretrained or self.checkpoint is not None

    def example(self, batch: int = 1) -> Tensor:
        """Return an example input for the network, filled with zeros."""
        return torch.zeros(batch, *self.input_shape)

    def make(self) -> nn.Module:
        """Create the dense network, in evaluation mode."""
        network = dense_backbone(
            self.name,
            pretrained=self.pretrained,
            checkpoint=self.checkpoint,
            seed=self.seed,
            num_classes=self.num_classes,
            in_channels=self.input_shape[0],
            width=self.width,
        )
        return in_mode(network)
