"""Choosing starts for a weight: least squares for the epitome and the best start of every patch, in turn.

Each half-step solves its part exactly, so the residual never rises. With one-channel patches and integer starts this is co-clustering
of output rows and input columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.epitome.sampling import expand
from nes_lab.fitting.joint_start_search import joint_starts
from nes_lab.fitting.row_clusters import merge_rows
from nes_lab.fitting.start_search import best_between, best_whole
from nes_lab.geometry.start_rules import routing_mode, rule_starts
from nes_lab.nn.init import copy_epitome, fit_epitome, fit_method, relative_residual

__all__ = ["Fitted", "SearchOptions", "fit_rows", "search_starts", "unsearchable"]

_STEPS = 20
"""Conjugate gradients between two moves, where the fit is not in closed form: each set out from the epitome before."""

_POLISH = 25
"""At most so many rounds of factors and epitome after the starts are settled."""


@dataclass(frozen=True)
class SearchOptions:
    """How long and where to search.

    Args:
        fractional: Whether starts may end between cells.
        restarts: Random beginnings tried beside the plan's own starts (and, for one-channel patches, the merged clusters).
        rounds: At most so many alternations from each beginning.
        gain: An alternation that lowers the squared residual by less than this share is the last.
        seed: Of the random beginnings.
    """

    fractional: bool = True
    restarts: int = 1
    rounds: int = 25
    gain: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class Fitted:
    """An epitome, its starts and, where rows are scaled, their factors.

    Args:
        routing_map: The starts.
        epitome: Float64.
        row_scale: ``(C_out,)``, or None.
        residuals: Relative residual after each alternation of the beginning that won; it never rises.
    """

    routing_map: RoutingMap
    epitome: Tensor
    row_scale: Tensor | None = None
    residuals: tuple[float, ...] = field(default=())


def unsearchable(routing_map: RoutingMap, mode: str) -> str:
    """Return why a layer's starts cannot be searched for, or an empty string."""
    if routing_mode(mode).not_searched:
        return routing_mode(mode).not_searched
    if all(s is None for s in routing_map.starts):
        return "no patch has room to move"
    if any(s is not None for s in routing_map.starts[2:]):
        return "its kernel axes are sampled; the search moves starts along channel axes only"
    return ""


def fit_rows(routing_map: RoutingMap, weight: Tensor, scaled: bool, moment: Tensor | None = None) -> Fitted:
    """Fit the epitome for given starts; with ``scaled`` every output row has a factor of its own, fitted in turn with it.

    Args:
        routing_map: Starts.
        weight: ``geometry.weight_shape``.
        scaled: Whether rows have factors.
        moment: As :func:`~nes_lab.nn.init.fit_epitome`.

    Examples:
        >>> from nes_lab.geometry.epitome_geometry import EpitomeGeometry
        >>> tiled = RoutingMap(EpitomeGeometry((2, 1), (1, 1)), (torch.tensor([0, 0]), None), "tiled")
        >>> [round(fit_rows(tiled, torch.tensor([[1.0], [-3.0]]), scaled).residuals[-1], 3) for scaled in (False, True)]
        [0.894, 0.0]
    """
    weight = weight.detach().double()
    return _polished(_begin(routing_map, weight, scaled, moment), weight, moment)


def search_starts(
    routing_map: RoutingMap,
    weight: Tensor,
    scaled: bool = False,
    moment: Tensor | None = None,
    options: SearchOptions | None = None,
) -> Fitted:
    """Search starts along the channel axes, and fit the epitome to them.

    Args:
        routing_map: The plan's starts: one of the beginnings, so that the result is never worse than theirs.
        weight: ``geometry.weight_shape``.
        scaled: Whether every output row has a factor of its own.
        moment: As :func:`~nes_lab.nn.init.fit_epitome`. The search first measures by the weight; output starts, factors and epitome
            are then improved by the moment. Input starts stay, as the moment couples all input channels.
        options: How long and where.

    Examples:
        >>> from nes_lab.geometry.epitome_geometry import EpitomeGeometry
        >>> geometry = EpitomeGeometry((4, 1), (2, 1), patch_channels=(1, 1))
        >>> tiled = RoutingMap(geometry, (torch.tensor([0, 1, 0, 1]), None), "free")
        >>> found = search_starts(tiled, torch.tensor([[1.0], [1.0], [5.0], [5.0]]))
        >>> found.routing_map.starts[0].tolist(), found.residuals[-1]
        ([0, 0, 1, 1], 0.0)
    """
    options, weight = options or SearchOptions(), weight.detach().double()
    best: Fitted | None = None
    for begin in _beginnings(routing_map, weight, scaled, options):
        found = _alternate(begin, weight, None, options, fractional=False)
        best = found if best is None or found.residuals[-1] < best.residuals[-1] else best
    assert best is not None  # the plan's own starts are always a beginning
    if options.fractional and best.residuals[-1] > 0 and routing_map.geometry.scope == "separable":
        best = _alternate(best, weight, None, options, fractional=True)
    if moment is not None:
        fresh = _refitted(replace(best, residuals=()), weight, moment)
        best = _alternate(fresh, weight, moment, options, options.fractional)
    return _polished(best, weight, moment)


def _beginnings(routing_map: RoutingMap, weight: Tensor, scaled: bool, options: SearchOptions) -> Iterator[Fitted]:
    """The plan's starts; clusters where patches are one channel; and beginnings whose epitome is made of whole blocks of the weight.

    Averages of blocks that have nothing in common are alike everywhere, and no block gains by moving. Where each cell has one of the
    weights instead, some blocks are met exactly and the others find their place among them.
    """
    geometry = routing_map.geometry
    plan = tuple(None if s is None else s.detach().round().long() for s in routing_map.starts)
    merged = _merged(routing_map, weight, scaled)
    yield _begin(RoutingMap(geometry, plan, "free"), weight, scaled, None)
    if merged is not None:
        yield _begin(merged, weight, scaled, None)
        return  # no other beginning was ever seen to come near
    for k in range(options.restarts + 1):
        drawn = rule_starts(geometry, "random", options.seed + k - 1) if k else plan
        starts = tuple(None if s is None else torch.as_tensor(drawn[a]).to(s.device) for a, s in enumerate(plan))
        seed = _begin(RoutingMap(geometry, starts, "free"), weight, scaled, None)
        target = weight if seed.row_scale is None else weight / seed.row_scale.view(-1, *[1] * (weight.ndim - 1))
        seed = replace(seed, epitome=copy_epitome(seed.routing_map, target), residuals=())
        yield _refitted(_moved(seed, weight, None, fractional=False), weight, None)


def _merged(routing_map: RoutingMap, weight: Tensor, scaled: bool) -> RoutingMap | None:
    """Clusters of rows and of columns as starts, along the axes of one-channel patches."""
    geometry = routing_map.geometry
    ones = [a for a in (0, 1) if routing_map.starts[a] is not None and geometry.axes[a].patch == 1]
    if geometry.scope != "separable" or not ones:
        return None
    starts = [None if s is None else s.detach().round().long() for s in routing_map.starts]
    for axis in ones:
        rows = weight.transpose(0, axis).flatten(1)
        starts[axis] = merge_rows(rows, geometry.axes[axis].cells, lines=scaled and axis == 0)
    return RoutingMap(geometry, tuple(starts), "free")


# ---- the alternation ----------------------------------------------------------------------------------------------------


def _begin(routing_map: RoutingMap, weight: Tensor, scaled: bool, moment: Tensor | None) -> Fitted:
    """The first fit; rows that are scaled are brought to one length and sign, so that none outweighs or cancels another."""
    if not scaled:
        return _refitted(Fitted(routing_map, weight), weight, moment)
    scale = _energies(weight, weight, moment).sqrt()
    scale = torch.where(scale > 0, scale, 1) * _signs(routing_map, weight)
    return _refitted(Fitted(routing_map, weight, scale), weight, moment)


def _signs(routing_map: RoutingMap, weight: Tensor) -> Tensor:
    """1, or -1 where a row points away from the first of those that read the same cell of the output axis."""
    taps = routing_map.taps(0) if routing_map.geometry.scope == "separable" else None
    if taps is None:
        return weight.new_ones(weight.shape[0])
    number = torch.arange(weight.shape[0], device=weight.device)
    first = torch.full((taps.cells,), weight.shape[0], device=weight.device).scatter_reduce(
        0, taps.lower, number, "amin"
    )
    towards = _energies(weight, weight[first[taps.lower]], None)
    return torch.where(towards < 0, -1.0, 1.0).double()


def _polished(now: Fitted, weight: Tensor, moment: Tensor | None) -> Fitted:
    """Factors and epitome in turn, until neither gains; the starts stay."""
    for _ in range(_POLISH if now.row_scale is not None else 0):
        before = now.residuals[-1]
        now = _refitted(_rescaled(now, weight, moment), weight, moment)
        if before**2 - now.residuals[-1] ** 2 <= 1e-4 * before**2:
            break
    return now


def _alternate(now: Fitted, weight: Tensor, moment: Tensor | None, options: SearchOptions, fractional: bool) -> Fitted:
    for _ in range(options.rounds):
        before = now.residuals[-1]
        now = _refitted(_moved(now, weight, moment, fractional), weight, moment)
        if before**2 - now.residuals[-1] ** 2 <= options.gain * before**2:
            break
    return now


def _refitted(now: Fitted, weight: Tensor, moment: Tensor | None) -> Fitted:
    """The nearest epitome for the starts and factors; where it takes iterations, some more of them from the one before."""
    scale, known = now.row_scale, now.epitome
    if fit_method(now.routing_map, moment) == "conjugate gradients" and now.residuals:
        sampled = now.routing_map.materialize(known)
        rest = weight - (sampled if scale is None else sampled * scale.view(-1, *[1] * (weight.ndim - 1)))
        epitome = known + fit_epitome(now.routing_map, rest, row_scale=scale, moment=moment, steps=_STEPS)
    else:
        epitome = fit_epitome(now.routing_map, weight, row_scale=scale, moment=moment, steps=10 * _STEPS)
    left = relative_residual(now.routing_map, weight, epitome, row_scale=scale, moment=moment)
    return replace(now, epitome=epitome, residuals=(*now.residuals, left))


def _rescaled(now: Fitted, weight: Tensor, moment: Tensor | None) -> Fitted:
    """The best factors for epitome and starts; tiny ones are kept from vanishing, as they will be divided by."""
    if now.row_scale is None:
        return now
    sampled = now.routing_map.materialize(now.epitome)
    energy = _energies(sampled, sampled, moment)
    scale = _energies(weight, sampled, moment) / torch.where(energy > 0, energy, 1)
    least = 1e-6 * scale.abs().max().clamp_min(1e-30)
    scale = torch.where(scale.abs() < least, torch.where(scale < 0, -least, least), scale)
    return replace(now, row_scale=torch.where(energy > 0, scale, now.row_scale))


def _energies(a: Tensor, b: Tensor, moment: Tensor | None) -> Tensor:
    """Inner product of each output row of ``a`` with that of ``b``."""
    a, b = a.flatten(1), b.flatten(1)
    return (a * (b if moment is None else b @ moment.double())).sum(1)


def _moved(now: Fitted, weight: Tensor, moment: Tensor | None, fractional: bool) -> Fitted:
    """The best starts along one axis after the other, each for the epitome and the other axis as they are."""
    if now.routing_map.geometry.scope == "joint":
        moved = (
            now
            if moment is not None
            else replace(now, routing_map=joint_starts(now.routing_map, weight, now.epitome, now.row_scale))
        )
        return _rescaled(moved, weight, moment)
    root = None if moment is None else torch.linalg.cholesky(moment.double())
    for axis in (0, 1) if moment is None else (0,):
        old = now.routing_map.starts[axis]
        if old is None:
            continue
        rows, candidates = _sides(now, weight, axis, root)
        scale = now.row_scale if axis == 0 else None
        if fractional:
            fresh = best_between(rows, candidates, scale, old, now.routing_map.geometry, axis)
        else:
            fresh = best_whole(rows, candidates, scale is not None, old, now.routing_map.geometry, axis)
        starts = tuple(fresh if a == axis else s for a, s in enumerate(now.routing_map.starts))
        now = _rescaled(replace(now, routing_map=replace(now.routing_map, starts=starts)), weight, moment)
    return now


def _sides(now: Fitted, weight: Tensor, axis: int, root: Tensor | None) -> tuple[Tensor, Tensor]:
    """What is read along an axis, a row a channel, and what may be read, a row a cell."""
    taps = now.routing_map.taps(1 - axis)
    cells = now.epitome if taps is None else expand(now.epitome, taps, 1 - axis)
    if axis == 1:
        cells = cells if now.row_scale is None else cells * now.row_scale.view(-1, *[1] * (cells.ndim - 1))
        weight, cells = weight.transpose(0, 1), cells.transpose(0, 1)
    rows, cells = weight.flatten(1), cells.flatten(1)
    return (rows, cells) if root is None else (rows @ root, cells @ root)
