"""List the epitome layers of a model, and copy their epitomes and starts into numpy arrays.

Tests: tests/nn/test_layer.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from torch import nn

from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.nn.layer import EpitomeLayer

__all__ = ["epitome_layers", "snapshot_layers"]


def epitome_layers(model: nn.Module) -> Iterator[tuple[str, EpitomeLayer]]:
    """Iterate over a model's epitome layers as pairs of name and module, in the order of ``named_modules()``."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, EpitomeLayer))


def snapshot_layers(model: nn.Module, gradients: bool = False) -> dict[str, LayerSnapshot]:
    """Copy the epitome and the starts (positions of patches) of each epitome layer of a model into numpy arrays.

    Args:
        model: The network.
        gradients: Copy the gradients of the epitomes too, as the last backward pass left them. A layer without one gets None.

    Returns:
        The copies by layer name.

    Examples:
        >>> from nes_lab.nn.linear import EpitomeLinear
        >>> list(snapshot_layers(nn.Sequential(EpitomeLinear(4, 8, epitome_shape=(4, 4)))))
        ['0']
    """
    layers = dict(epitome_layers(model))
    readers: dict[int, list[str]] = {}
    for name, layer in layers.items():
        readers.setdefault(id(layer.epitome), []).append(name)
    copies: dict[str, LayerSnapshot] = {}
    for name, layer in layers.items():
        copy = replace(layer.snapshot(name), gradient=_gradient(layer) if gradients else None)
        first, *others = readers[id(layer.epitome)]
        if others:  # the arrays of a shared epitome are kept once
            kept = copies.get(first, copy)
            copy = replace(copy, epitome=kept.epitome, gradient=kept.gradient, reads=first)
        copies[name] = copy
    return copies


def _gradient(layer: EpitomeLayer) -> np.ndarray | None:
    gradient = layer.epitome.grad
    return None if gradient is None else gradient.detach().float().cpu().numpy().copy()
