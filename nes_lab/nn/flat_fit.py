"""Fit one flat epitome, and the factors (``alpha``) of its windows, to the dense weights of all layers that read it.

The sampled weight is linear in the epitome for given factors, and linear in the factors for a given epitome. So two steps alternate:

1. The factors of each patch are the least-squares solution of a small system: one unknown per window.
2. The epitome takes steps of conjugate gradients on the squared error of all weights together.

Neither step can raise the error. The pair that is found is a local minimum; it depends on the random cells at the beginning.

Tests: tests/nn/test_flat_epitome.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nes_lab.epitome.flat_windows import cut_patches, read_windows
from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.epitome.taps import AxisTaps

__all__ = ["FlatFit", "fit_flat"]

ROUNDS = 40
"""Largest number of alternations."""
STEPS = 4
"""Steps of conjugate gradients for the epitome in each alternation."""
LEAST_GAIN = 1e-3
"""The alternation stops when a round lowers the squared error by a smaller share than this."""


@dataclass(frozen=True)
class FlatFit:
    """Says which epitome and which factors were fitted to the dense weights of some layers.

    Args:
        epitome: The flat epitome, with variance 1.
        alphas: Factors of the windows of each layer, ``(R_out, R_in, windows)``.
        residuals: Relative error ``||W - T(E)|| / ||W||`` of each layer's weight; 0 for a weight of zeros.
        errors: Squared error of all weights together, before the first round and after each.
    """

    epitome: Tensor
    alphas: tuple[Tensor, ...]
    residuals: tuple[float, ...]
    errors: tuple[float, ...]


def fit_flat(
    routing_maps: Sequence[RoutingMap], weights: Sequence[Tensor], epitome: Tensor, rounds: int = ROUNDS
) -> FlatFit:
    """Fit one flat epitome and the factors of its windows to the dense weights of all layers that read it.

    Args:
        routing_maps: Shapes and starts of each layer; their factors are where the fit begins.
        weights: Dense weight of each layer.
        epitome: Cells where the fit begins, such as random ones. Cells that are all 0 cannot be fitted.
        rounds: Largest number of alternations between factors and epitome.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(8, 8, epitome_shape=(64,), patch_channels=8, scope="flat", routing="tiled")
        >>> weight = torch.randn(8, 8, dtype=torch.float64)
        >>> fit_flat([layer.routing_map()], [weight], layer.epitome).residuals[0] < 1e-6
        True
    """
    layers = [_Layer.of(*pair) for pair in zip(routing_maps, weights, strict=True)]
    cells = epitome.detach().double()
    alphas = [_solve_alpha(layer, cells) for layer in layers]
    errors = [_error(layers, cells, alphas)]
    for _ in range(rounds):
        cells = _improve_epitome(layers, cells, alphas)
        alphas = [_solve_alpha(layer, cells) for layer in layers]
        errors.append(_error(layers, cells, alphas))
        if errors[-2] - errors[-1] <= LEAST_GAIN * errors[-2]:
            break
    size = cells.square().mean().sqrt()
    size = torch.where(size > 0, size, 1)
    residuals = tuple(_residual(layer, cells, alpha) for layer, alpha in zip(layers, alphas, strict=True))
    return FlatFit(cells / size, tuple(alpha * size for alpha in alphas), residuals, tuple(errors))


@dataclass(frozen=True)
class _Layer:
    """One layer: the cells of its windows, and its dense weight cut into patches; ``inside`` is 0 where a patch is cropped."""

    taps: AxisTaps
    target: Tensor
    inside: Tensor

    @classmethod
    def of(cls, routing_map: RoutingMap, weight: Tensor) -> _Layer:
        taps, geometry = routing_map.taps(0), routing_map.geometry
        assert taps is not None  # a flat epitome always has starts
        taps = replace(taps, frac=None if taps.frac is None else taps.frac.detach().double())
        target = weight.detach().double()
        return cls(taps, cut_patches(target, geometry), cut_patches(torch.ones_like(target), geometry))

    def windows(self, cells: Tensor) -> Tensor:
        return read_windows(cells, self.taps.lower, self.taps.upper, self.taps.frac) * self.inside.unsqueeze(2)

    def sample(self, cells: Tensor, alpha: Tensor) -> Tensor:
        return (self.windows(cells) * alpha.unsqueeze(-1)).sum(2)

    def add_adjoint_(self, total: Tensor, blocks: Tensor, alpha: Tensor) -> None:
        """Apply the transpose of :meth:`sample` (for given factors) to patches, and add the result to ``total``."""
        parts = (blocks * self.inside).unsqueeze(2) * alpha.unsqueeze(-1)
        for where, share in self.taps.levels():
            total.index_add_(0, where.reshape(-1), (parts if share is None else parts * share).reshape(-1))


def _solve_alpha(layer: _Layer, cells: Tensor) -> Tensor:
    """Return the factors of each patch with which its windows are nearest to the dense weight (the smallest, if several are)."""
    windows = layer.windows(cells)
    if windows.shape[2] == 1:  # the same, and much faster
        energy = windows.square().sum(-1)
        return (windows * layer.target.unsqueeze(2)).sum(-1) / torch.where(energy > 0, energy, 1)
    gram, right = windows @ windows.transpose(-1, -2), windows @ layer.target.unsqueeze(-1)
    return (torch.linalg.pinv(gram, hermitian=True, rtol=1e-10) @ right).squeeze(-1)


def _improve_epitome(layers: Sequence[_Layer], cells: Tensor, alphas: Sequence[Tensor]) -> Tensor:
    """Take steps of conjugate gradients on the squared error of all weights, beginning at the given cells."""

    def normal(direction: Tensor) -> Tensor:
        total = torch.zeros_like(direction)
        for layer, alpha in zip(layers, alphas, strict=True):
            layer.add_adjoint_(total, layer.sample(direction, alpha), alpha)
        return total

    residual = torch.zeros_like(cells)
    for layer, alpha in zip(layers, alphas, strict=True):
        layer.add_adjoint_(residual, layer.target - layer.sample(cells, alpha), alpha)
    direction, strength = residual, residual.square().sum()
    begin = strength
    for _ in range(STEPS):
        if strength <= 1e-20 * begin or strength == 0:
            break
        image = normal(direction)
        step = strength / (direction * image).sum()
        cells, residual = cells + step * direction, residual - step * image
        fresh = residual.square().sum()
        direction, strength = residual + fresh / strength * direction, fresh
    return cells


def _error(layers: Sequence[_Layer], cells: Tensor, alphas: Sequence[Tensor]) -> float:
    pairs = zip(layers, alphas, strict=True)
    return float(sum((layer.target - layer.sample(cells, alpha)).square().sum() for layer, alpha in pairs))


def _residual(layer: _Layer, cells: Tensor, alpha: Tensor) -> float:
    energy = layer.target.square().sum()
    missed = (layer.target - layer.sample(cells, alpha)).square().sum()
    return float((missed / energy).sqrt()) if energy > 0 else 0.0
