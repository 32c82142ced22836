"""Keep a copy of a layer's epitome and starts (positions of patches) as numpy arrays, taken during or after training.

Figures draw these copies, and training runs store them. This file does not import torch.

Tests: tests/runs/test_snapshots.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from nes_lab.geometry.coverage import read_counts
from nes_lab.geometry.epitome_geometry import Boundary, EpitomeGeometry, Scope
from nes_lab.geometry.flat_geometry import make_geometry

__all__ = ["LayerSnapshot", "with_epitome"]


@dataclass(frozen=True)
class LayerSnapshot:
    """A copy of the epitome and the starts of one layer, taken at one training step or after training, as numpy arrays.

    Args:
        name: Name of the layer in its model.
        epitome: The epitome, float32, of shape ``epitome_shape``; None if only the starts were kept.
        starts: One array per weight axis with the starts (positions where patches begin), in cells; None for an axis without
            starts, whose cells are read in order.
        weight_shape: Shape of the sampled weight: output channels, input channels per group, then the axes of the kernel
            window.
        epitome_shape: Shape of the epitome, with the same axes as the weight.
        patch_shape: Shape of a patch (block of the weight), with the same axes as the weight.
        scope, boundary, routing: Options of the layer.
        gradient: Gradient of the loss with respect to the epitome in the last training step, of the same shape, rounded to 8 bits
            where it was stored; None if it was not kept.
        windows: Number of windows whose weighted sum is a patch, for a flat epitome.
        alpha: Factor of each window, ``(R_out, R_in, windows)``, for a flat epitome; None for others, or if it was not kept.
        reads: Name of the first layer that reads the same epitome; empty if no other layer reads it.
        is_rounded: True if the epitome was stored with 8 bits per number, as at some steps between the first and the latest one.
    """

    name: str
    epitome: np.ndarray | None
    starts: tuple[np.ndarray | None, ...]
    weight_shape: tuple[int, ...]
    epitome_shape: tuple[int, ...]
    patch_shape: tuple[int, ...]
    scope: Scope = "separable"
    boundary: Boundary = "clamp"
    routing: str = "tiled"
    is_rounded: bool = False
    gradient: np.ndarray | None = None
    windows: int = 1
    alpha: np.ndarray | None = None
    reads: str = ""

    @property
    def geometry(self) -> EpitomeGeometry:
        """Shapes of the layer's weight, epitome and patches, with the options ``scope`` and ``boundary``."""
        patch = (self.patch_shape[0], self.patch_shape[1])
        return make_geometry(
            self.weight_shape, self.epitome_shape, patch, self.scope, self.boundary, windows=self.windows
        )

    def coverage(self) -> np.ndarray:
        """Count how often each epitome cell is read when the weight is sampled; see :func:`read_counts`.

        Returns:
            Integers of shape ``(E_out, E_in)``: the epitome's lengths along output and input channels.
        """
        return read_counts(self.geometry, self.starts)


def with_epitome(history: Mapping[int, LayerSnapshot], step: int) -> tuple[LayerSnapshot, int | None]:
    """Return a layer at one training step. If only its starts were kept there, add the epitome of the latest step before.

    Args:
        history: Training step -> copy of the layer.
        step: One of the training steps.

    Returns:
        The layer, and the step of its epitome; None if no step up to this one has an epitome.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(16, 16, epitome_shape=(8, 8)).snapshot("fc")
        >>> with_epitome({0: layer, 10: replace(layer, epitome=None)}, 10)[1]
        0
    """
    kept = [each for each, layer in history.items() if layer.epitome is not None and each <= step]
    if not kept:
        return history[step], None
    return replace(history[step], epitome=history[max(kept)].epitome), max(kept)
