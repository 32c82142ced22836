"""Choose the starts of one weight and fit the epitome, alternately.

Starts are the positions where the patches of the weight begin in the epitome. The residual is the error of the sampled
weight relative to the given weight: ``||given - sampled|| / ||given||``. An output channel may have a factor, which
multiplies its sampled weight. The search makes several first guesses of the starts (``_first_guesses``). From each guess it
does this:

1. ``refit_epitome``: fit the epitome to the weight by least squares. The starts and the factors do not change.
2. ``move_starts``: move every patch to the start with the smallest residual. The epitome does not change.
3. ``rescale_rows``: choose the factor of every output channel with the smallest residual.
4. ``alternate``: go back to step 1 until the squared residual hardly falls (``SearchOptions.min_gain``).

Then ``search_starts`` takes the result with the smallest residual. It first allows starts between two cells. If the layer's
inputs are known, it then minimizes the error of the layer's output instead of the error of the weight.

Each of the steps 1 to 3 minimizes the residual over what the step changes, so the residual never rises. With one-channel patches
and integer starts, the search groups similar channels along both axes (co-clustering).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from nes_lab.epitome.routing_map import RoutingMap
from nes_lab.epitome.sampling import expand
from nes_lab.fitting.joint_start_search import best_joint_starts
from nes_lab.fitting.row_clusters import cluster_rows
from nes_lab.fitting.search_state import SearchOptions, SearchState, products
from nes_lab.fitting.search_state import scaled as times_factors
from nes_lab.fitting.start_search import best_fractional_starts, best_integer_starts
from nes_lab.geometry.epitome_geometry import EpitomeGeometry
from nes_lab.geometry.start_rules import routing_mode, rule_starts
from nes_lab.nn.init import copy_epitome, fit_epitome, fit_method, relative_residual

__all__ = [
    "alternate",
    "fit_to_starts",
    "move_starts",
    "refit_epitome",
    "rescale_rows",
    "search_starts",
    "why_not_searchable",
]

FIT_STEPS = 200
"""Number of conjugate gradient steps that fit the first epitome of a search, if the fit has no closed form."""

REFIT_STEPS = 20
"""Number of conjugate gradient steps that fit each later epitome of a search, beginning from the previous epitome."""

MAX_POLISH_ROUNDS = 25
"""Largest number of rounds of ``rescale_rows`` and ``refit_epitome`` after the starts are final."""

MIN_POLISH_GAIN = 1e-4
"""A round of ``rescale_rows`` and ``refit_epitome`` is the last if it lowers the squared residual by no more than this share."""

SMALLEST_FACTOR = 1e-6
"""Each output channel's factor is at least this share of the largest factor, because the factors are divided by later."""


def why_not_searchable(routing_map: RoutingMap, mode: str) -> str:
    """Return the reason why better starts (positions of patches) cannot be searched for a layer.

    The text is empty if they can be searched.

    Args:
        routing_map: Present starts of the layer.
        mode: The layer's routing, such as ``"free"``.
    """
    if routing_mode(mode).not_searched:
        return routing_mode(mode).not_searched
    if all(s is None for s in routing_map.starts):
        return "no patch has room to move"
    if any(s is not None for s in routing_map.starts[2:]):
        return "the layer's kernel axes are sampled; the search moves starts along channel axes only"
    return ""


def fit_to_starts(
    routing_map: RoutingMap, weight: Tensor, scaled: bool = False, moment: Tensor | None = None
) -> SearchState:
    """Fit an epitome and the factors of the output channels to a weight. The starts (positions of patches) do not change.

    Args:
        routing_map: The given starts.
        weight: The weight to approximate, in ``geometry.weight_shape``.
        scaled: Allow a factor for each output channel.
        moment: Covariance of the layer's inputs, or the mean of ``x x^T`` over inputs ``x``. With it, the error of the
            layer's output is minimized. None: the error of the weight is minimized.

    In the example, both output channels read the same cell. They can differ only if they have factors.

    Examples:
        >>> from nes_lab.geometry.epitome_geometry import EpitomeGeometry
        >>> tiled = RoutingMap(EpitomeGeometry((2, 1), (1, 1)), (torch.tensor([0, 0]), None), "tiled")
        >>> [round(fit_to_starts(tiled, torch.tensor([[1.0], [-3.0]]), scaled).residuals[-1], 3) for scaled in (False, True)]
        [0.894, 0.0]
    """
    return _polish(_first_state(routing_map, weight.detach().double(), scaled, moment, SearchOptions()))


def search_starts(
    routing_map: RoutingMap,
    weight: Tensor,
    scaled: bool = False,
    moment: Tensor | None = None,
    options: SearchOptions | None = None,
) -> SearchState:
    """Search better starts for the patches of a weight. Also fit the epitome and the factors of the output channels.

    Starts are the positions where the patches begin in the epitome. The search moves starts along the channel axes.

    Args:
        routing_map: Starts to begin from. The error after the search is never larger than with these starts.
        weight: The weight to approximate, in ``geometry.weight_shape``.
        scaled: Allow a factor for each output channel.
        moment: Covariance of the layer's inputs, or the mean of ``x x^T`` over inputs ``x``. With it, the error of the
            layer's output is minimized at the end. The starts along the input axis do not change then. None: only the
            error of the weight is minimized.
        options: Options of the search; None: :class:`SearchOptions` with its defaults.

    Examples:
        >>> from nes_lab.geometry.epitome_geometry import EpitomeGeometry
        >>> geometry = EpitomeGeometry((4, 1), (2, 1), patch_channels=(1, 1))
        >>> tiled = RoutingMap(geometry, (torch.tensor([0, 1, 0, 1]), None), "free")
        >>> best = search_starts(tiled, torch.tensor([[1.0], [1.0], [5.0], [5.0]]))
        >>> best.routing_map.starts[0].tolist(), best.residuals[-1]
        ([0, 0, 1, 1], 0.0)
    """
    options, weight = options or SearchOptions(), weight.detach().double()
    integer = replace(options, fractional=False)
    guesses = _first_guesses(routing_map, weight, scaled, integer)
    best = replace(min(map(alternate, guesses), key=lambda state: state.residuals[-1]), options=options)
    if options.fractional and best.residuals[-1] > 0 and routing_map.geometry.scope == "separable":
        best = alternate(best)
    if moment is not None:
        best = alternate(refit_epitome(replace(best, moment=moment, residuals=())))
    return _polish(best)


# ---- first guesses ------------------------------------------------------------------------------------------------------


def _first_guesses(
    routing_map: RoutingMap, weight: Tensor, scaled: bool, options: SearchOptions
) -> Iterator[SearchState]:
    """Yield several states from which the search for starts begins. Each state has starts, and an epitome fitted for them.

    The first state has the present starts of the layer. If patches are one channel long and the scope is ``separable``, there
    is a second state, in which similar channels share a cell. Otherwise there are several more. For each of them, parts of the
    weight are copied into the epitome. Then the best starts for this epitome are found.
    """
    geometry = routing_map.geometry
    given = tuple(None if s is None else s.detach().round().long() for s in routing_map.starts)
    clustered = _clustered_starts(given, weight, geometry, scaled)
    yield _first_state(RoutingMap(geometry, given, "free"), weight, scaled, None, options)
    if clustered is not None:
        yield _first_state(RoutingMap(geometry, clustered, "free"), weight, scaled, None, options)
        return  # in our measurements no other guess came close to this one
    for k in range(options.restarts + 1):
        drawn = rule_starts(geometry, "random", options.seed + k - 1) if k else given
        starts = tuple(None if s is None else torch.as_tensor(drawn[a]).to(s.device) for a, s in enumerate(given))
        state = _first_state(RoutingMap(geometry, starts, "free"), weight, scaled, None, options)
        # Copies, not averages over patches: an average of unlike patches looks the same everywhere, so no patch would move.
        target = weight / times_factors(torch.ones_like(weight), state.row_scale)
        state = replace(state, epitome=copy_epitome(state.routing_map, target), residuals=())
        yield refit_epitome(move_starts(state))


def _clustered_starts(
    starts: tuple[Tensor | None, ...], weight: Tensor, geometry: EpitomeGeometry, scaled: bool
) -> tuple[Tensor | None, ...] | None:
    """Return starts (positions of patches in the epitome) at which each group of similar channels has its own cell.

    The result is None with the scope ``joint``, or if patches are longer than one channel along both axes.
    """
    axes = [a for a in (0, 1) if starts[a] is not None and geometry.axes[a].patch == 1]
    if geometry.scope != "separable" or not axes:
        return None
    clusters = {
        axis: cluster_rows(weight.transpose(0, axis).flatten(1), geometry.axes[axis].cells, scaled and axis == 0)
        for axis in axes
    }
    return tuple(clusters.get(axis, s) for axis, s in enumerate(starts))


def _first_state(
    routing_map: RoutingMap,
    weight: Tensor,
    scaled: bool,
    moment: Tensor | None,
    options: SearchOptions,
) -> SearchState:
    """Return the first state of a search: the given starts, and the epitome fitted for them.

    If ``scaled`` is True, each output channel gets a factor. Its absolute value is the norm of the channel's weights. Its
    sign is estimated from the weight.
    """
    scale = None
    if scaled:
        # The epitome then approximates channels of equal length and sign, so no channel dominates or cancels another.
        length = products(weight, weight, moment).sqrt()
        scale = torch.where(length > 0, length, 1) * _signs(routing_map, weight)
    # `weight` in place of the epitome is a placeholder: the first fit replaces it without reading it
    return refit_epitome(SearchState(weight, routing_map, weight, scale, moment, options))


def _signs(routing_map: RoutingMap, weight: Tensor) -> Tensor:
    """Return a first guess of the signs of the factors that multiply the output channels, ``(output channels,)``.

    Each channel is compared with the first channel that reads the same epitome cell. The sign is -1 if the inner product of
    these two channels is negative, otherwise 1.
    """
    taps = routing_map.taps(0) if routing_map.geometry.scope == "separable" else None
    if taps is None:
        return weight.new_ones(weight.shape[0])
    channel = torch.arange(weight.shape[0], device=weight.device)
    first = torch.full((taps.cells,), weight.shape[0], device=weight.device)
    first = first.scatter_reduce(0, taps.lower, channel, "amin")
    return torch.where(products(weight, weight[first[taps.lower]], None) < 0, -1.0, 1.0).double()


# ---- the steps ----------------------------------------------------------------------------------------------------------


def alternate(state: SearchState) -> SearchState:
    """Move the patches of the weight and fit the epitome again, in turn, until the error of the sampled weight hardly falls."""
    return _repeat(state, move_starts, state.options.rounds, state.options.min_gain)


def _polish(state: SearchState) -> SearchState:
    """Fit the factors of the output channels and the epitome in turn, until the error of the sampled weight hardly falls.

    The patches do not move. Nothing changes if the output channels have no factors.
    """
    return state if state.row_scale is None else _repeat(state, rescale_rows, MAX_POLISH_ROUNDS, MIN_POLISH_GAIN)


def _repeat(
    state: SearchState, step: Callable[[SearchState], SearchState], rounds: int, min_gain: float
) -> SearchState:
    for _ in range(rounds):
        before = state.residuals[-1]
        state = refit_epitome(step(state))
        if before**2 - state.residuals[-1] ** 2 <= min_gain * before**2:
            break
    return state


def refit_epitome(state: SearchState) -> SearchState:
    """Fit the epitome to the weight. The positions of the patches and the factors of the output channels do not change.

    The epitome whose sampled weight is nearest to the weight is computed in closed form if possible. Otherwise conjugate
    gradients approximate it.
    """
    routing_map, scale, moment = state.routing_map, state.row_scale, state.moment
    if state.residuals and fit_method(routing_map, moment) == "conjugate gradients":
        error = state.weight - state.sampled()
        epitome = state.epitome + fit_epitome(routing_map, error, row_scale=scale, moment=moment, steps=REFIT_STEPS)
    else:
        epitome = fit_epitome(routing_map, state.weight, row_scale=scale, moment=moment, steps=FIT_STEPS)
    residual = relative_residual(routing_map, state.weight, epitome, row_scale=scale, moment=moment)
    return replace(state, epitome=epitome, residuals=(*state.residuals, residual))


def rescale_rows(state: SearchState) -> SearchState:
    """Set the factor of each output channel to the value at which the sampled weight is nearest to the weight.

    A factor multiplies the sampled weight of its channel. The epitome and the positions of the patches do not change.
    """
    if state.row_scale is None:
        return state
    sampled = state.routing_map.materialize(state.epitome)
    energy = products(sampled, sampled, state.moment)
    scale = products(state.weight, sampled, state.moment) / torch.where(energy > 0, energy, 1)
    least = SMALLEST_FACTOR * scale.abs().max().clamp_min(1e-30)
    scale = torch.where(scale.abs() < least, torch.where(scale < 0, -least, least), scale)
    return replace(state, row_scale=torch.where(energy > 0, scale, state.row_scale))


def move_starts(state: SearchState) -> SearchState:
    """Move every patch to the start (position in the epitome) with the smallest error of the sampled weight.

    The factors that multiply the output channels are set again too. The epitome does not change.

    With the scope ``separable``, patches move along the output axis, then along the input axis. With the scope ``joint``,
    they move along both axes at once.

    ``state.moment`` holds statistics of the layer's inputs. If it is given, the error of the layer's output is minimized
    instead of the error of the weight. Patches then move only along the output axis. With the scope ``joint``, they do not
    move at all.
    """
    if state.routing_map.geometry.scope == "joint":
        if state.moment is None:
            moved = best_joint_starts(state.routing_map, state.weight, state.epitome, state.row_scale)
            state = replace(state, routing_map=moved)
        return rescale_rows(state)
    for axis in (0, 1) if state.moment is None else (0,):
        if state.routing_map.starts[axis] is not None:
            state = rescale_rows(_move_along(state, axis))
    return state


def _move_along(state: SearchState, axis: int) -> SearchState:
    routing_map, old = state.routing_map, state.routing_map.starts[axis]
    assert old is not None  # the caller asks for sampled axes only
    channels, cells = _channels_and_cells(state, axis)
    scale = state.row_scale if axis == 0 else None
    if state.options.fractional:
        best = best_fractional_starts(channels, cells, scale, old, routing_map.geometry, axis)
    else:
        best = best_integer_starts(channels, cells, scale is not None, old, routing_map.geometry, axis)
    starts = tuple(best if a == axis else s for a, s in enumerate(routing_map.starts))
    return replace(state, routing_map=replace(routing_map, starts=starts))


def _channels_and_cells(state: SearchState, axis: int) -> tuple[Tensor, Tensor]:
    """Cut a weight and its epitome into slices along one axis, and return both as matrices with one slice per row.

    Returns:
        The channels of the weight and the cells of the epitome, one per row. The squared distance between a row of the
        first matrix and a row of the second is the squared error of sampling this channel from this cell.
    """
    weight, taps = state.weight, state.routing_map.taps(1 - axis)
    cells = state.epitome if taps is None else expand(state.epitome, taps, 1 - axis)
    if axis == 1:
        weight, cells = weight.transpose(0, 1), times_factors(cells, state.row_scale).transpose(0, 1)
    channels, cells = weight.flatten(1), cells.flatten(1)
    if state.moment is None:
        return channels, cells
    root = torch.linalg.cholesky(state.moment.double())
    return channels @ root, cells @ root
