"""Initial values of epitomes: fresh, copied from a weight, or fitted to it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.errors import GeometryError

__all__ = ["copy_epitome", "fit_epitome", "reset_epitome_"]


def reset_epitome_(
    epitome: Tensor, bias: Tensor | None, weight_shape: tuple[int, ...], generator: torch.Generator | None = None
) -> None:
    """Fill in place as torch fills a dense layer: uniform within ``1/sqrt(fan)``, of the *target's* fan.

    The epitome's own, smaller shape must not set the variance: the sampled weight is what the layer multiplies with.
    """
    bound = 1 / math.sqrt(math.prod(weight_shape[1:]))
    with torch.no_grad():
        epitome.uniform_(-bound, bound, generator=generator)
        if bias is not None:
            bias.uniform_(-bound, bound, generator=generator)


def copy_epitome(routing_map: RoutingMap, weight: Tensor) -> Tensor:
    """Give each cell one of the weights that read it, the first in memory; the weight's distribution is kept.

    For training from scratch: whatever initialization the dense layer had, its variance survives, which averaging would
    shrink. Fractional starts are rounded for the assignment; cells never read get values drawn from the weight in order.

    Args:
        routing_map: Starts.
        weight: ``geometry.weight_shape``.

    Returns:
        ``geometry.epitome_shape``, dtype and device of ``weight``.
    """
    _check(routing_map, weight)
    cells = math.prod(routing_map.geometry.epitome_shape)
    whole = tuple(None if s is None else s.detach().round().long() for s in routing_map.starts)
    numbers = torch.arange(cells, dtype=torch.float64, device=weight.device).view(routing_map.geometry.epitome_shape)
    reads = RoutingMap(routing_map.geometry, whole, routing_map.mode).materialize(numbers).long().flatten()
    first = torch.full((cells,), reads.numel(), dtype=torch.long, device=weight.device)
    first = first.scatter_reduce(0, reads, torch.arange(reads.numel(), device=weight.device), "amin")
    fallback = torch.arange(cells, device=weight.device) % reads.numel()
    return weight.detach().flatten()[torch.where(first < reads.numel(), first, fallback)].view(numbers.shape).clone()


def fit_epitome(routing_map: RoutingMap, weight: Tensor, steps: int = 500, tolerance: float = 1e-12) -> Tensor:
    """The epitome whose sampled weight is nearest: ``argmin ||weight - T(E)||^2``, of least norm.

    Conjugate gradients on the normal equations, scaled by how much each cell is read, from zero. For integer starts the
    scaled system is the identity and one step gives the cell averages exactly. Cells never read are 0.

    Args:
        routing_map: Starts.
        weight: ``geometry.weight_shape``.
        steps: At most this many iterations.
        tolerance: Squared residual of the normal equations, relative to its beginning, at which to stop.

    Returns:
        ``geometry.epitome_shape``, dtype and device of ``weight``.

    Examples:
        >>> from nes_lab.epitome.geometry import EpitomeGeometry
        >>> tiled = RoutingMap(EpitomeGeometry((2, 1), (1, 1)), (torch.tensor([0, 0]), None), "tiled")
        >>> fit_epitome(tiled, torch.tensor([[1.0], [3.0]]))
        tensor([[2.]])
    """
    _check(routing_map, weight)
    routing_map = RoutingMap(
        routing_map.geometry, tuple(None if s is None else s.detach() for s in routing_map.starts), routing_map.mode
    )
    target = weight.detach().double()
    solution = torch.zeros(routing_map.geometry.epitome_shape, dtype=torch.float64, device=weight.device)
    scale = _adjoint(routing_map, torch.ones_like(target))
    inverse = torch.where(scale > 0, 1 / scale.clamp_min(1e-300), torch.zeros_like(scale))
    residual = _adjoint(routing_map, target)
    preconditioned = inverse * residual
    direction, strength = preconditioned, (residual * preconditioned).sum()
    begin = strength.clone()
    for _ in range(steps):
        if strength <= tolerance * begin or begin == 0:
            break
        image = _adjoint(routing_map, routing_map.materialize(direction))
        step = strength / (direction * image).sum()
        solution = solution + step * direction
        residual = residual - step * image
        preconditioned = inverse * residual
        fresh = (residual * preconditioned).sum()
        direction, strength = preconditioned + fresh / strength * direction, fresh
    return solution.to(weight.dtype)


def _adjoint(routing_map: RoutingMap, weight: Tensor) -> Tensor:
    """``T^T`` of a tensor of the weight's shape; the gradient of ``<T(E), weight>``."""
    with torch.enable_grad():
        epitome = torch.zeros(
            routing_map.geometry.epitome_shape, dtype=weight.dtype, device=weight.device, requires_grad=True
        )
        return torch.autograd.grad(routing_map.materialize(epitome), epitome, weight)[0]


def _check(routing_map: RoutingMap, weight: Tensor) -> None:
    if tuple(weight.shape) != routing_map.geometry.weight_shape:
        raise GeometryError(
            f"weight has shape {tuple(weight.shape)}; the epitome layer samples {routing_map.geometry.weight_shape}"
        )
