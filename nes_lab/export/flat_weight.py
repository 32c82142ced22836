"""Sample a weight from a flat epitome in an exported graph. The graph holds one start per window, not one cell per weight.

Tests: tests/export/test_flat_weight.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nes_lab.epitome.flat_windows import read_windows, sum_windows
from nes_lab.nn.layer import EpitomeLayer

__all__ = ["FlatWeight"]


class FlatWeight(nn.Module):
    """Samples a layer's weight from its flat epitome, which other layers of the graph may read too.

    Args:
        layer: A layer with a flat epitome, whose starts are no longer learned; its factors are used, not copied.

    Shape:
        - input ``(n,)``: the epitome; output: the shape of the weight
    """

    first: Tensor
    share: Tensor | None

    def __init__(self, layer: EpitomeLayer) -> None:
        super().__init__()
        self.geometry, self.alpha = layer.geometry, layer.alpha
        (starts,) = layer.routing_map().starts
        assert starts is not None  # a flat epitome always has starts
        first = starts.floor() if starts.is_floating_point() else starts
        cells = layer.geometry.epitome_shape[0]
        self.register_buffer("first", first.long() % cells, persistent=False)
        share = (starts - first).unsqueeze(-1) if starts.is_floating_point() else None
        self.register_buffer("share", share, persistent=False)

    def forward(self, epitome: Tensor) -> Tensor:
        """Return the layer's weight, sampled from the epitome."""
        assert self.alpha is not None  # the epitome is flat
        cells, length = self.geometry.epitome_shape[0], self.geometry.axes[0].patch
        lower = (self.first.unsqueeze(-1) + torch.arange(length, device=epitome.device)) % cells
        upper = None if self.share is None else (lower + 1) % cells
        frac = None if self.share is None else self.share.expand(lower.shape)
        return sum_windows(read_windows(epitome, lower, upper, frac), self.alpha, self.geometry)
