"""Compute initial epitomes: random, copied from a dense weight, or fitted to it.

For given starts (positions of patches in the epitome) the sampled weight is a linear function of the epitome. So the
epitome whose sampled weight is nearest to a dense weight is a least-squares solution. There are three ways to compute
it. With integer starts, each cell is the average of the weights that read it. With separable scope and starts on the
channel axes only, the axes are solved one after the other. In all other cases conjugate gradients are used.
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
    """Fill epitome and bias, in place, with uniform random numbers in ``[-bound, bound]``, as torch initializes a dense layer.

    ``bound`` is ``1 / sqrt(fan_in)``. ``fan_in`` is the number of weights per output channel in the dense weight. The
    epitome's shape does not matter.
    """
    bound = 1 / math.sqrt(math.prod(weight_shape[1:]))
    with torch.no_grad():
        epitome.uniform_(-bound, bound, generator=generator)
        if bias is not None:
            bias.uniform_(-bound, bound, generator=generator)


def copy_epitome(routing_map: RoutingMap, weight: Tensor) -> Tensor:
    """Make an epitome from a dense weight: each cell becomes a copy of one entry of the weight.

    This is the first entry that is sampled from the cell. If no entry is sampled from the cell, any entry is copied.
    Fractional starts are rounded first. This is meant for training from scratch. The epitome keeps the variance of the
    dense layer's initialization. Averages of several entries would have a smaller variance.

    Args:
        routing_map: The layer's shapes and starts.
        weight: Dense weight, of shape ``geometry.weight_shape``.

    Returns:
        The epitome, of shape ``geometry.epitome_shape``, with dtype and device of ``weight``.
    """
    _check(routing_map, weight)
    cells = math.prod(routing_map.geometry.epitome_shape)
    rounded = tuple(None if s is None else s.detach().round().long() for s in routing_map.starts)
    numbers = torch.arange(cells, dtype=torch.float64, device=weight.device).view(routing_map.geometry.epitome_shape)
    reads = RoutingMap(routing_map.geometry, rounded, routing_map.mode).materialize(numbers).long().flatten()
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
    """Compute the epitome ``E`` whose sampled weight ``T(E)`` is nearest to a given weight: ``E`` minimizes ``||weight - T(E)||^2``.

    If several epitomes are equally near, the one with the least norm is returned. So cells that no weight reads are 0. The
    method depends on the starts and on ``moment``:

    - integer starts, no ``moment``: each cell is the average of the weights that read it; exact
    - separable scope and starts on the channel axes only: one channel axis after the other; exact
    - otherwise: conjugate gradients that begin at zero

    Args:
        routing_map: The layer's shapes and starts.
        weight: Dense weight, of shape ``geometry.weight_shape``.
        row_scale: One factor per output channel, ``(C_out,)``, by which ``T(E)`` is multiplied before it is compared with the
            weight. None: all factors are 1.
        moment: Matrix of shape ``(n, n)``, positive definite, where ``n = prod(weight_shape[1:])`` is the number of inputs of
            one output. Entry ``(i, j)`` is the mean product of inputs ``i`` and ``j``. With it, the fit minimizes the mean
            squared error of the layer's output. None: the fit minimizes the error of the weight.
        steps: Largest number of iterations of the conjugate gradients.
        tolerance: The conjugate gradients stop when the squared residual of the normal equations has fallen to this fraction of
            its first value.

    Returns:
        The epitome, of shape ``geometry.epitome_shape``, with dtype and device of ``weight``.

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
    """Return the name of the method by which :func:`fit_epitome` fits an epitome.

    The method is ``averages``, ``axis by axis`` or ``conjugate gradients``. It depends on the starts (positions of patches),
    and on whether ``moment`` is given.

    Args:
        routing_map: The layer's shapes and starts.
        moment: Matrix of the mean products of pairs of inputs, as in :func:`fit_epitome`. It is given if the error of the
            layer's output is minimized. None: the error of the weight is minimized.
    """
    all_integers = all(s is None or not _exact_starts(s).is_floating_point() for s in routing_map.starts)
    if all_integers and moment is None:
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
    """Compute the relative error ``||W - T(E)|| / ||W||`` of the weight ``T(E)`` that is sampled from an epitome ``E``.

    ``W`` is the dense weight. The error is 0 if the epitome gives ``W`` exactly, and 1 if an epitome of zeros would be equally
    good.

    Args:
        routing_map: The layer's shapes and starts.
        weight: Dense weight, of shape ``geometry.weight_shape``; the error of a weight of zeros is 0.
        epitome: Epitome of shape ``geometry.epitome_shape``; None: the epitome from :func:`fit_epitome`, whose sampled weight
            is nearest to ``weight``.
        row_scale: One factor per output channel that multiplies the sampled weight; None: all factors are 1.
        moment: Matrix of the mean products of pairs of inputs, as in :func:`fit_epitome`. With it, the error is that of the
            layer's output. None: the error is that of the weight.

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
    energy = _energy(target, moment)
    return (_energy(target - sampled, moment) / energy).sqrt().item() if energy > 0 else 0.0


def _energy(weight: Tensor, moment: Tensor | None) -> Tensor:
    flat = weight.flatten(1)
    return (flat * (flat if moment is None else flat @ moment.double())).sum().clamp_min(0)


def _exact_starts(starts: Tensor) -> Tensor:
    """Detach starts (positions of patches in the epitome) from autograd, and convert their dtype.

    The dtype is int64 if all starts are integers, otherwise float64.
    """
    starts = starts.detach()
    if not starts.is_floating_point():
        return starts
    rounded = starts.round()
    return rounded.long() if bool((starts == rounded).all()) else starts.double()


def _exact(routing_map: RoutingMap) -> RoutingMap:
    starts = tuple(None if s is None else _exact_starts(s) for s in routing_map.starts)
    alpha = None if routing_map.alpha is None else routing_map.alpha.double()
    return RoutingMap(routing_map.geometry, starts, routing_map.mode, alpha)


def _rows(scale: Tensor, like: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (like.ndim - 1))


def _averages(routing_map: RoutingMap, target: Tensor, scale: Tensor | None) -> Tensor:
    """Fit an epitome to a weight by averaging: each cell becomes the average of the weights that read it.

    Every weight must read exactly one cell. If output channels have factors, the average is weighted.
    """
    ones = torch.ones_like(target)
    count = _adjoint(routing_map, ones if scale is None else ones * _rows(scale.square(), target))
    total = _adjoint(routing_map, target if scale is None else target * _rows(scale, target))
    return torch.where(count > 0, total / torch.where(count > 0, count, 1), 0)


def _axis_by_axis(routing_map: RoutingMap, target: Tensor, scale: Tensor | None, moment: Tensor | None) -> Tensor:
    """Fit an epitome to a weight, first along the input channels, then along the output channels.

    This gives the exact minimum: no other epitome's sampled weight is nearer to the weight.
    """
    # Exact: sampling is the Kronecker product of one matrix per channel axis, and the pseudoinverse of a Kronecker product is
    # the Kronecker product of the pseudoinverses.
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
    """Compute the pseudoinverse of a matrix.

    A Cholesky decomposition is used if it is accurate enough in float64, otherwise ``torch.linalg.pinv``.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix.T @ matrix)
    pivots = factor.diagonal()
    if int(failed) == 0 and float(pivots.min()) > 1e-2 * float(pivots.max()):
        return torch.cholesky_solve(matrix.T, factor)
    return torch.linalg.pinv(matrix)


def _solve(gram: Tensor, right: Tensor) -> Tensor:
    """Compute ``right @ pinv(gram)`` for a positive semidefinite matrix ``gram``.

    A Cholesky decomposition is used if it is accurate enough in float64, otherwise ``torch.linalg.pinv``.
    """
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
    """Return two linear functions: sampling a weight from an epitome, and its adjoint (transpose)."""
    # if every weight reads one cell, both functions index with one table, which is faster
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
    """Apply the adjoint (transpose) of sampling to a tensor of the weight's shape.

    Sampling multiplies epitome cells by factors and adds them up to weights. The adjoint multiplies the tensor's entries by
    the same factors and adds them up to cells.
    """
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
