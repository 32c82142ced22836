"""The dense network that a job starts from, as names and files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nes_lab.models.create import dense_backbone

__all__ = ["DenseSource"]


@dataclass(frozen=True)
class DenseSource:
    """The dense network a job starts from.

    Args:
        name: Name of the backbone, as :func:`nes_lab.create_backbone` takes it.
        input_shape: ``(channels, height, width)`` of one image, or ``(channels, samples)`` of one audio clip.
        num_classes: Number of outputs; None: the backbone's default.
        width: Width multiplier of our own backbones.
        pretrained: Use timm's pretrained weights, downloaded on first use.
        checkpoint: Path of a ``.safetensors`` file of weights; None: none is read.
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
        """Whether its weights come from a training, so that fitting to them makes sense."""
        return self.pretrained or self.checkpoint is not None

    def example(self, batch: int = 1) -> Tensor:
        """Return an input of zeros."""
        return torch.zeros(batch, *self.input_shape)

    def make(self) -> nn.Module:
        """Make the dense network, in evaluation mode."""
        return dense_backbone(
            self.name,
            pretrained=self.pretrained,
            checkpoint=self.checkpoint,
            seed=self.seed,
            num_classes=self.num_classes,
            in_channels=self.input_shape[0],
            width=self.width,
        ).eval()
