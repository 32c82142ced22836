"""Search the starts of windows in a flat epitome, and fit the epitome and the factors of the windows.

A window is a piece of neighboring cells, and a patch is a sum of windows, each with a factor. The search begins with cells that are
copies of patches of the weights. Then three steps alternate:

1. Every window moves to the start where its patch is approximated best, with the factor that fits best there.
2. The factors of each patch are fitted by least squares.
3. The cells are fitted by conjugate gradients.

The start of a window is one stored number, but it chooses among as many windows as there are cells. For short patches this is worth
much more than a cell: it is vector quantization with overlapping code words and a factor per patch. From a large epitome, each round
compares other randomly drawn windows.

Tests: tests/fitting/test_flat_start_search.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nes_lab.epitome.flat_windows import cut_patches
from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.nn.flat_fit import FlatFit, fit_flat

__all__ = ["best_flat_starts", "search_flat_starts"]

ROUNDS = 8
"""Largest number of times that the windows move."""

LEAST_GAIN = 0.03
"""The search stops when a round lowers the squared error of the weights by a smaller share than this."""

CANDIDATES = 8192
"""Number of starts that one round compares. Of a larger epitome they are drawn at random."""

MOVES_IF_BETTER = 1e-6
"""A window moves only if another start is better by more than this share, so rounding errors move nothing."""

NUMBERS_AT_ONCE = 2**18
"""How many products of patches and windows a CPU computes at once, few enough for its cache. Other devices take 128 times as many."""


def search_flat_starts(
    routing_maps: Sequence[RoutingMap],
    weights: Sequence[Tensor],
    epitome: Tensor,
    movable: Sequence[bool],
    seed: int = 0,
) -> tuple[list[RoutingMap], FlatFit]:
    """Search better starts in one flat epitome for all layers that read it, and fit its cells and the factors of the windows.

    Args:
        routing_maps: Shapes, starts and factors of each layer.
        weights: Dense weight of each layer.
        epitome: Flat epitome; its cells are used where the weights have too few patches to fill it.
        movable: For each layer, whether its windows may move.
        seed: Seed of the patches and starts that are drawn.

    Returns:
        The routing map of each layer with integer starts, and the fit for these starts.

    Examples:
        >>> import nes_lab
        >>> layer = nes_lab.EpitomeLinear(8, 8, epitome_shape=(16,), patch_channels=(1, 4), scope="flat", routing="free")
        >>> weight = torch.randn(2, 4).repeat(4, 2)  # two patches, repeated
        >>> search_flat_starts([layer.routing_map()], [weight], layer.epitome, [True])[1].residuals[0] < 1e-5
        True
    """
    draw = torch.Generator().manual_seed(seed)
    cells = _copies_of_patches(routing_maps, weights, epitome.detach().double(), draw)
    maps, fitted = list(routing_maps), fit_flat(routing_maps, weights, cells, rounds=0)
    for _ in range(ROUNDS):
        before = fitted.errors[-1]
        starts = _candidates(len(cells), draw)
        for number, (routing_map, weight) in enumerate(zip(maps, weights, strict=True)):
            if movable[number]:
                with_factors = replace(routing_map, alpha=fitted.alphas[number])
                maps[number] = best_flat_starts(with_factors, weight, fitted.epitome, starts)
        fitted = fit_flat(maps, weights, fitted.epitome, rounds=1)
        if before - fitted.errors[-1] <= LEAST_GAIN * before:
            break
    return maps, fit_flat(maps, weights, fitted.epitome)


def best_flat_starts(routing_map: RoutingMap, weight: Tensor, epitome: Tensor, candidates: Tensor) -> RoutingMap:
    """Move every window of a weight to the start, among some, where the error of the patch is smallest. The cells do not change.

    The windows of a patch move one after the other. A window stays if no other start is better, so no error rises.

    Args:
        routing_map: Present starts and factors, with the scope ``flat``.
        weight: The weight to approximate, in ``geometry.weight_shape``.
        epitome: Flat epitome, ``(n,)``.
        candidates: The starts to compare, ``(S,)``, integers.

    Returns:
        The routing map with integer starts and the factors that fit best.

    Examples:
        >>> from nes_lab.geometry.flat_geometry import FlatGeometry
        >>> g, zeros = FlatGeometry((1, 4), (4,), patch_channels=(1, 2)), torch.zeros(1, 2, 1)
        >>> old = RoutingMap(g, (zeros.long(),), "free", zeros + 1)
        >>> new = best_flat_starts(old, torch.tensor([[6., 8., 2., 6.]]), torch.tensor([1., 3., 4., 0.]), torch.arange(4))
        >>> new.starts[0].flatten().tolist(), new.alpha.flatten().tolist()
        ([1, 0], [2.0, 2.0])
    """
    geometry, starts, alpha = routing_map.geometry, routing_map.starts[0], routing_map.alpha
    assert starts is not None and alpha is not None  # a flat epitome always has both
    patches, inside = (
        cut_patches(values.detach().float(), geometry).flatten(0, 1) for values in (weight, torch.ones_like(weight))
    )
    cells, places = epitome.detach().float(), candidates.to(weight.device)
    first = (starts.detach().round().long() % len(cells)).flatten(0, 1).clone()
    factors = alpha.detach().float().flatten(0, 1).clone()
    for window in range(first.shape[1]):
        own = _read(cells, first, patches.shape[1]) * inside.unsqueeze(1)
        others = (own * factors.unsqueeze(-1)).sum(1) - own[:, window] * factors[:, window, None]
        first[:, window] = _nearest(patches - others, inside, own[:, window], first[:, window], cells, places)
        moved = _read(cells, first[:, window], patches.shape[1]) * inside
        energy = moved.square().sum(1)
        factors[:, window] = ((patches - others) * moved).sum(1) / torch.where(energy > 0, energy, 1)
    return replace(routing_map, starts=(first.view(starts.shape),), alpha=factors.view(alpha.shape).to(alpha.dtype))


def _nearest(
    targets: Tensor, inside: Tensor, windows: Tensor, first: Tensor, cells: Tensor, candidates: Tensor
) -> Tensor:
    """Return for each target the start whose window, times the best factor, is nearest to it.

    Args:
        targets: What the window should be, one row per patch, 0 where the patch is cropped.
        inside: 1 where a patch is inside the weight, 0 where it is cropped, in the shape of ``targets``.
        windows: The present window of each patch, in the shape of ``targets``.
        first: Start of the present window of each patch.
        cells: The epitome.
        candidates: Starts to compare with the present one.
    """
    read = _read(cells, candidates, targets.shape[1])
    directions = _directions(read)
    present = (targets * _directions(windows)).sum(1).abs()  # the larger, the less error is left with the best factor
    nearest = first.clone()
    cropped = ~inside.bool().all(1)
    at_once = NUMBERS_AT_ONCE * (1 if cells.device.type == "cpu" else 128) // len(candidates)
    for rows in torch.arange(len(targets), device=cells.device).split(max(1, at_once)):
        products = (targets[rows] @ directions.T).abs_()
        if bool(cropped[rows].any()):
            lengths = (inside[rows] @ read.square().T).sqrt()
            products = (targets[rows] @ read.T).abs_() / torch.where(lengths > 0, lengths, 1)
        most, where = products.max(1)
        better = most > present[rows] * (1 + MOVES_IF_BETTER)
        nearest[rows] = torch.where(better, candidates[where], first[rows])
    return nearest


def _directions(rows: Tensor) -> Tensor:
    """Divide rows by their lengths; rows of zeros stay zero."""
    lengths = rows.norm(dim=1, keepdim=True)
    return rows / torch.where(lengths > 0, lengths, 1)


def _read(cells: Tensor, first: Tensor, length: int) -> Tensor:
    """Read the window that begins at each of some cells; a window that reaches the last cell continues at the first."""
    return cells[(first.unsqueeze(-1) + torch.arange(length, device=cells.device)) % len(cells)]


def _candidates(cells: int, draw: torch.Generator) -> Tensor:
    return torch.arange(cells) if cells <= CANDIDATES else torch.randperm(cells, generator=draw)[:CANDIDATES]


def _copies_of_patches(
    routing_maps: Sequence[RoutingMap], weights: Sequence[Tensor], cells: Tensor, draw: torch.Generator
) -> Tensor:
    """Fill an epitome with patches of the weights, drawn at random and divided by their size. Each layer gets its share of the cells."""
    filled, every = 0, sum(weight.numel() for weight in weights)
    cells = cells.clone()
    for routing_map, weight in zip(routing_maps, weights, strict=True):
        patches = _directions(cut_patches(weight.detach().double(), routing_map.geometry).flatten(0, 1))
        order = torch.randperm(len(patches), generator=draw).to(weight.device)
        numbers = (patches[order] * patches.shape[1] ** 0.5).flatten()
        room = min(len(numbers), round(len(cells) * weight.numel() / every), len(cells) - filled)
        cells[filled : filled + room] = numbers[:room]
        filled += room
    return cells
