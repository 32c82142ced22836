"""Initial values of epitomes: fresh, copied from a weight, or fitted to it.

For given starts the sampled weight is linear in the epitome, so the nearest epitome is a least-squares solution. Integer starts
give averages; a separable layer gives two small problems, one per channel axis; all else is solved by conjugate gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.errors import GeometryError

__all__ = ["copy_epitome", "fit_epitome", "fit_method", "relative_residual", "reset_epitome_"]


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


def fit_epitome(
    routing_map: RoutingMap,
    weight: Tensor,
    *,
    row_scale: Tensor | None = None,
    moment: Tensor | None = None,
    steps: int = 2000,
    tolerance: float = 1e-24,
) -> Tensor:
    """The epitome whose sampled weight is nearest: ``argmin ||weight - T(E)||^2``, of least norm.

    Exact in closed form where the starts are integers (averages) or separable (two small problems ``E = pinv(A_out) W
    pinv(A_in)^T``); otherwise conjugate gradients from zero, which is where their answer has the least norm. Cells never read are 0.

    Args:
        routing_map: Starts.
        weight: ``geometry.weight_shape``.
        row_scale: A factor per output channel, ``(C_out,)``: then ``row_scale * T(E)`` is to be near; None for ones.
        moment: Second moment ``S`` of what the weight is multiplied with, ``(n, n)`` with ``n = prod(weight_shape[1:])``, positive
            definite: then ``tr (W - T(E)) S (W - T(E))^T``, the mean squared error of the output, is least; None: the weight's.
        steps: At most this many iterations of the conjugate gradients.
        tolerance: Squared residual of their normal equations, relative to its beginning, at which they stop.

    Returns:
        ``geometry.epitome_shape``, dtype and device of ``weight``.

    Examples:
        >>> from nes_lab.geometry.epitome_geometry import EpitomeGeometry
        >>> tiled = RoutingMap(EpitomeGeometry((2, 1), (1, 1)), (torch.tensor([0, 0]), None), "tiled")
        >>> fit_epitome(tiled, torch.tensor([[1.0], [3.0]]))
        tensor([[2.]])
    """
    _check(routing_map, weight)
    routing_map, target = _exact(routing_map), weight.detach().double()
    scale = None if row_scale is None else row_scale.detach().double()
    moment = None if moment is None else moment.detach().double()
    method = fit_method(routing_map, moment)
    if method == "averages":
        solution = _averages(routing_map, target, scale)
    elif method == "axis by axis":
        solution = _axis_by_axis(routing_map, target, scale, moment)
    else:
        solution = _conjugate_gradients(routing_map, target, scale, moment, steps, tolerance)
    return solution.to(weight.dtype)


def fit_method(routing_map: RoutingMap, moment: Tensor | None = None) -> str:
    """How :func:`fit_epitome` solves: ``averages``, ``axis by axis`` or ``conjugate gradients``."""
    whole = all(s is None or not _exact_starts(s).is_floating_point() for s in routing_map.starts)
    if whole and moment is None:
        return "averages"
    channels_only = routing_map.geometry.scope == "separable" and all(s is None for s in routing_map.starts[2:])
    return "axis by axis" if channels_only else "conjugate gradients"


def relative_residual(
    routing_map: RoutingMap,
    weight: Tensor,
    epitome: Tensor | None = None,
    *,
    row_scale: Tensor | None = None,
    moment: Tensor | None = None,
) -> float:
    """``||W - T(E)|| / ||W||``: 0 where the weight is met, 1 where an epitome of zeros would do as well.

    Args:
        routing_map: Starts.
        weight: ``geometry.weight_shape``; the residual of a weight of zeros is 0.
        epitome: ``geometry.epitome_shape``; None: the nearest one.
        row_scale: As :func:`fit_epitome`.
        moment: As :func:`fit_epitome`; with one both norms are those of the output.

    Examples:
        >>> from nes_lab.geometry.epitome_geometry import EpitomeGeometry
        >>> tiled = RoutingMap(EpitomeGeometry((2, 1), (1, 1)), (torch.tensor([0, 0]), None), "tiled")
        >>> relative_residual(tiled, torch.tensor([[3.0], [5.0]])) == (2 / 34) ** 0.5
        True
    """
    _check(routing_map, weight)
    target = weight.detach().double()
    if epitome is None:
        epitome = fit_epitome(routing_map, target, row_scale=row_scale, moment=moment)
    sampled = _exact(routing_map).materialize(epitome.detach().double())
    sampled = sampled if row_scale is None else _rows(row_scale.detach().double(), sampled) * sampled
    whole = _energy(target, moment)
    return (_energy(target - sampled, moment) / whole).sqrt().item() if whole > 0 else 0.0


def _energy(weight: Tensor, moment: Tensor | None) -> Tensor:
    flat = weight.flatten(1)
    return (flat * (flat if moment is None else flat @ moment.double())).sum().clamp_min(0)


def _exact_starts(starts: Tensor) -> Tensor:
    """Detached, in float64; as integers where all are whole, so that one cell is read a weight."""
    starts = starts.detach()
    if not starts.is_floating_point():
        return starts
    whole = starts.round()
    return whole.long() if bool((starts == whole).all()) else starts.double()


def _exact(routing_map: RoutingMap) -> RoutingMap:
    starts = tuple(None if s is None else _exact_starts(s) for s in routing_map.starts)
    return RoutingMap(routing_map.geometry, starts, routing_map.mode)


def _rows(scale: Tensor, like: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (like.ndim - 1))


def _averages(routing_map: RoutingMap, target: Tensor, scale: Tensor | None) -> Tensor:
    """Every weight reads one cell: the normal equations are diagonal."""
    ones = torch.ones_like(target)
    count = _adjoint(routing_map, ones if scale is None else ones * _rows(scale.square(), target))
    total = _adjoint(routing_map, target if scale is None else target * _rows(scale, target))
    return torch.where(count > 0, total / torch.where(count > 0, count, 1), 0)


def _axis_by_axis(routing_map: RoutingMap, target: Tensor, scale: Tensor | None, moment: Tensor | None) -> Tensor:
    """``T`` is a Kronecker product, and so is its pseudoinverse; the moment lives on the input side alone."""
    c_out, c_in = target.shape[:2]
    solved = target.reshape(c_out, c_in, -1)
    a_out, a_in = (
        None if s is None else routing_map.matrix(axis).double() for axis, s in enumerate(routing_map.starts[:2])
    )
    if a_in is not None and moment is None:
        solved = torch.einsum("oik,ei->oek", solved, _pinv(a_in))
    elif a_in is not None and moment is not None:
        taps = solved.shape[2]
        right = torch.einsum("oik,ie->oek", (solved.flatten(1) @ moment).view(c_out, c_in, taps), a_in).flatten(1)
        gram = torch.einsum("ie,ikjl,jf->ekfl", a_in, moment.view(c_in, taps, c_in, taps), a_in)
        solved = _solve(gram.reshape(right.shape[1], -1), right).view(c_out, -1, taps)
    if a_out is not None or scale is not None:
        left = torch.eye(c_out, dtype=target.dtype, device=target.device) if a_out is None else a_out
        left = left if scale is None else scale.unsqueeze(1) * left
        solved = torch.einsum("eo,oik->eik", _pinv(left), solved)
    return solved.reshape(routing_map.geometry.epitome_shape)


def _pinv(matrix: Tensor) -> Tensor:
    """The pseudoinverse; from the normal equations where these are so sound that nothing of float64 is lost that matters."""
    factor, failed = torch.linalg.cholesky_ex(matrix.T @ matrix)
    pivots = factor.diagonal()
    if int(failed) == 0 and float(pivots.min()) > 1e-2 * float(pivots.max()):
        return torch.cholesky_solve(matrix.T, factor)
    return torch.linalg.pinv(matrix)


def _solve(gram: Tensor, right: Tensor) -> Tensor:
    """``right @ pinv(gram)`` of a positive semidefinite matrix: by Cholesky on the cells that are read, where that is sound."""
    read = gram.diagonal() > 0
    factor, failed = torch.linalg.cholesky_ex(gram[read][:, read])
    pivots = factor.diagonal()
    if int(failed) == 0 and pivots.numel() and float(pivots.min()) > 1e-5 * float(pivots.max()):
        solved = torch.zeros_like(right)
        solved[:, read] = torch.cholesky_solve(right[:, read].T, factor).T
        return solved
    return right @ torch.linalg.pinv(gram, hermitian=True)


def _conjugate_gradients(
    routing_map: RoutingMap, target: Tensor, scale: Tensor | None, moment: Tensor | None, steps: int, tolerance: float
) -> Tensor:
    sample, adjoint = _operators(routing_map, target)

    def back(weight: Tensor) -> Tensor:
        weight = weight if moment is None else (weight.flatten(1) @ moment).view_as(weight)
        return adjoint(weight if scale is None else weight * _rows(scale, weight))

    solution = target.new_zeros(routing_map.geometry.epitome_shape)
    residual = direction = back(target)
    strength = begin = residual.square().sum()
    for _ in range(steps):
        if strength <= tolerance * begin:
            break
        sampled = sample(direction)
        image = back(sampled if scale is None else sampled * _rows(scale, sampled))
        step = strength / (direction * image).sum()
        solution, residual = solution + step * direction, residual - step * image
        fresh = residual.square().sum()
        direction, strength = residual + fresh / strength * direction, fresh
    return solution


def _operators(routing_map: RoutingMap, like: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """``T`` and ``T^T``; where every weight reads one cell, its number is looked up once and both are plain indexing."""
    if any(s is not None and s.is_floating_point() for s in routing_map.starts):
        return routing_map.materialize, lambda weight: _adjoint(routing_map, weight)
    shape = routing_map.geometry.epitome_shape
    numbers = torch.arange(math.prod(shape), dtype=torch.float64, device=like.device).view(shape)
    reads = routing_map.materialize(numbers).long()
    return (
        lambda epitome: epitome.flatten()[reads],
        lambda weight: like.new_zeros(math.prod(shape)).index_add(0, reads.flatten(), weight.flatten()).view(shape),
    )


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
