"""Make a network whose weights are rounded to 8 bits in training, with one scale per output channel, as epitomes of int8 are.

Every convolution and linear layer rounds its weight before it is used, and the gradient passes the rounding unchanged. A file would
hold one byte per weight and two per scale; biases and norms stay floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

import nes_lab
from nes_lab.geometry.stored_types import int8_bytes
from nes_lab.nn.int8_cells import rounded_cells

__all__ = ["Rounded", "network", "saved_bytes"]


class Rounded(nn.Module):
    """Rounds a weight to integers of 8 bits times one scale per output channel."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the rounded weight; the gradient is that of the weight itself."""
        return rounded_cells(weight)


def network(
    backbone: str, num_classes: int = 10, in_channels: int = 3, widths: Sequence[int] | None = None
) -> nn.Module:
    """Return a backbone whose convolutions and linear layers have rounded weights.

    Args:
        backbone: Name of the backbone.
        num_classes: Number of outputs.
        in_channels: Channels of the input.
        widths: Channels of its stages; None: the usual ones.

    Examples:
        >>> layer = network("cifar_resnet14").linear
        >>> layer.weight.unique().numel() <= 255 * 10, layer.parametrizations.weight.original.shape
        (True, torch.Size([10, 64]))
    """
    options: dict[str, Any] = {} if widths is None else {"widths": tuple(widths)}
    made = nes_lab.create_backbone(backbone, num_classes=num_classes, in_channels=in_channels, **options)
    for module in list(made.modules()):
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            parametrize.register_parametrization(module, "weight", Rounded())
    return made


def saved_bytes(made: nn.Module) -> int:
    """Return how many bytes fewer a file with the integers and scales has than one with the floats; 0 without rounded weights.

    Args:
        made: A network.
    """
    lists: list[Any] = [m for m in made.modules() if isinstance(m, parametrize.ParametrizationList)]
    weights: list[Tensor] = [entry.original for entry in lists if isinstance(entry[0], Rounded)]
    return sum(weight.numel() * weight.element_size() - int8_bytes(tuple(weight.shape)) for weight in weights)
