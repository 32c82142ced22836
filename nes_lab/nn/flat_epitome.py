"""Give values to flat epitomes and to the factors (``alpha``) of their windows: random ones, or fitted to dense weights.

Tests: tests/nn/test_flat_epitome.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nes_lab.execution.base import Taps
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.geometry.flat_geometry import FlatGeometry
from nes_lab.nn.flat_fit import fit_flat
from nes_lab.records.options import EpitomeInit

if TYPE_CHECKING:
    from nes_lab.nn.dense import DenseExchange

__all__ = ["alpha_for", "dense_variance", "load_flat_", "new_alpha", "reset_flat_", "with_alpha"]


def new_alpha(geometry: EpitomeGeometry, **where: object) -> torch.nn.Parameter | None:
    """Make the parameter that holds the factor of each window, without values; None if the epitome is not flat.

    Args:
        geometry: Shapes of the layer.
        **where: Device and dtype.
    """
    flat = isinstance(geometry, FlatGeometry)
    return torch.nn.Parameter(torch.empty(geometry.starts_shape(0), **where)) if flat else None  # type: ignore[call-overload]


def dense_variance(weight_shape: tuple[int, ...]) -> float:
    """Return the variance of a dense weight as torch initializes it: ``1 / (3 fan_in)``."""
    return 1 / (3 * math.prod(weight_shape[1:]))


def alpha_for(alpha: Tensor, variance: float, generator: torch.Generator | None = None) -> Tensor:
    """Return factors of random sign with which a weight has a given variance, if the cells have mean 0 and variance 1.

    The variance of a sum of ``K`` windows is ``K alpha^2``, so ``alpha`` is ``+-sqrt(variance / K)``.

    Args:
        alpha: Tensor of the shape, dtype and device of the result, ``(R_out, R_in, K)``.
        variance: Variance that the sampled weight gets.
        generator: Source of random numbers; None: torch's global one.

    Examples:
        >>> alpha_for(torch.empty(1, 1, 2), 0.5).abs()
        tensor([[[0.5000, 0.5000]]])
    """
    signs = torch.randint(0, 2, alpha.shape, generator=generator, device=alpha.device, dtype=torch.int8) * 2 - 1
    return signs.to(alpha.dtype) * math.sqrt(variance / alpha.shape[-1])


def reset_flat_(
    epitome: Tensor,
    alpha: Tensor,
    bias: Tensor | None,
    weight_shape: tuple[int, ...],
    generator: torch.Generator | None,
) -> None:
    """Fill a flat epitome with normal random numbers of variance 1, and set the factors so that the weight has its dense variance.

    Args:
        epitome: Flat epitome; it is changed.
        alpha: Factors of the windows; they are changed.
        bias: Bias of the layer, which is changed as torch resets it; None if there is none.
        weight_shape: Shape of the layer's weight.
        generator: Source of random numbers; None: torch's global one.
    """
    with torch.no_grad():
        epitome.normal_(generator=generator)
        alpha.copy_(alpha_for(alpha, dense_variance(weight_shape), generator))
        if bias is not None:
            bound = 1 / math.sqrt(math.prod(weight_shape[1:]))
            bias.uniform_(-bound, bound, generator=generator)


def load_flat_(
    layers: Sequence[DenseExchange], weights: Sequence[Tensor], initial_weights: EpitomeInit
) -> tuple[float, ...]:
    """Set a flat epitome, and the factors of the layers that share it, from the dense weights of the layers.

    Args:
        layers: Layers whose parameter ``epitome`` is one and the same; it is changed, and so is the ``alpha`` of each layer.
        weights: Dense weight of each layer.
        initial_weights: ``"fit"``: the sampled weights become as close to the dense ones as possible; ``"reset"``: random cells,
            and factors with which each weight has the variance of the dense one; ``"none"``: nothing changes.

    Returns:
        The relative error of each sampled weight, for ``"fit"``; empty for the others.
    """
    if initial_weights == "none" or any(weight.is_meta for weight in weights) or layers[0].epitome.is_meta:
        return ()
    with torch.inference_mode(False), torch.no_grad():
        layers[0].epitome.normal_()
        for layer, weight in zip(layers, weights, strict=True):
            assert layer.alpha is not None
            layer.alpha.copy_(alpha_for(layer.alpha, float(weight.detach().double().square().mean())))
        if initial_weights == "reset":
            return ()
        fitted = fit_flat([layer.routing_map() for layer in layers], weights, layers[0].epitome)
        layers[0].epitome.copy_(fitted.epitome)
        for layer, alpha in zip(layers, fitted.alphas, strict=True):
            layer.alpha.copy_(alpha)  # type: ignore[union-attr]
        return fitted.residuals


def with_alpha(taps: Taps, alpha: Tensor | None) -> Taps:
    """Add the factors of the windows to the taps of a flat epitome. Other taps are returned unchanged."""
    if alpha is None:
        return taps
    return [None if t is None else replace(t, alpha=alpha) for t in taps]
