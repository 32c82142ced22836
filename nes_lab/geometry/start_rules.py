"""Set the starts of patches by rules, and decide which axes of a weight have starts. This file does not import torch.

A start is the position in the epitome where a patch begins. To add a rule, write a function that takes a :class:`RuleAxis` and
returns the start of each patch. Register it with :func:`start_rule`::

    @start_rule("reverse", separable=True, help="the tiling in mirrored order")
    def _reverse(axis):
        return axis.inside(axis.patches[::-1] * axis.patch % axis.cells)

If training moves the starts, the routing is called learned. It is registered with :func:`learned_routing`. The class that holds
its starts is in :mod:`nes_lab.nn.starts`.

Source: Zhou et al., ICLR 2020, arXiv:1907.05642; the rule ``stride`` is similar to the sampling of WSNet (Jin et al., ICML 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nes_lab.errors import OptionError, check_choice
from nes_lab.geometry.epitome_geometry import EpitomeGeometry

__all__ = [
    "ROUTING_MODES",
    "RoutingMode",
    "RuleAxis",
    "check_flat_routing",
    "is_identity",
    "learned_routing",
    "routing_mode",
    "rule_starts",
    "sampled_axes",
    "start_rule",
]


@dataclass(frozen=True)
class RuleAxis:
    """Describes one weight axis to a start rule (a function that sets the starts of the patches along the axis).

    Args:
        geometry: Shapes, scope and boundary of the layer.
        index: Index of the weight axis: 0 for output channels, 1 for input channels, then the kernel axes.
        random: Source of random numbers, seeded by the layer's ``seed``.
    """

    geometry: EpitomeGeometry
    index: int
    random: np.random.Generator

    @property
    def cells(self) -> int:
        """Length of the epitome along the axis, in cells."""
        return self.geometry.axes[self.index].cells

    @property
    def patch(self) -> int:
        """Length of a patch along the axis."""
        return self.geometry.axes[self.index].patch

    @property
    def patches(self) -> np.ndarray:
        """Indices ``0, 1, 2, ...`` of the patches that get a start (position in the epitome) along the axis.

        Along a kernel axis, each patch of output channels gets one start.
        """
        return np.arange(self.geometry.patches_of(self.index))

    @property
    def circular(self) -> bool:
        """True if patches that reach the end of the epitome axis continue at its beginning."""
        return self.geometry.boundary == "circular"

    @property
    def limits(self) -> np.ndarray:
        """Largest start of each patch: the last position in the epitome at which the patch can begin and still fits."""
        axis = self.geometry.axes[self.index]
        return axis.cells - (axis.lengths if self.index < 2 else np.full(len(self.patches), axis.size))

    def inside(self, starts: np.ndarray) -> np.ndarray:
        """Lower the starts (positions where patches begin) that are too large, so that every patch ends inside the epitome.

        With the circular boundary, the starts are returned unchanged, because patches may run past the end.
        """
        return starts if self.circular else np.minimum(starts, self.limits)


@dataclass(frozen=True)
class RoutingMode:
    """Describes one way to set starts (positions where patches begin): by a fixed rule, or by training.

    Args:
        name: Value of the layer option ``routing`` that stands for this way of setting starts.
        help: Phrase that says how the starts are set, for help texts.
        starts: Function that takes a :class:`RuleAxis` and returns integer starts: one per patch, or an array of the shape that
            :meth:`EpitomeGeometry.starts_shape` returns.
        separable: True if a start depends only on the index of its patch along its own axis. With such a rule, the values
            ``separable`` and ``joint`` of the layer option ``scope`` give the same starts.
        keeps_equal_axes: True if an axis gets no starts when epitome and weight are equally long along the axis. Its cells are
            then read in order.
        learned: True if training moves the starts. They are then stored with the model.
        not_searched: Reason why :func:`nes_lab.fit` cannot search for better starts; empty if it can.
        options: Names of the layer options that are used only with this ``routing``.
    """

    name: str
    help: str
    starts: Callable[[RuleAxis], np.ndarray]
    separable: bool = False
    keeps_equal_axes: bool = False
    learned: bool = False
    not_searched: str = ""
    options: tuple[str, ...] = ()


ROUTING_MODES: dict[str, RoutingMode] = {}
"""Every registered way to set starting indices, by name."""


def start_rule(
    name: str, *, separable: bool, help: str, keeps_equal_axes: bool = False
) -> Callable[[Callable[[RuleAxis], np.ndarray]], Callable[[RuleAxis], np.ndarray]]:
    """Return a decorator that registers a function as a fixed rule for starts (positions where patches begin).

    The function takes a :class:`RuleAxis`, which describes one weight axis. It returns integer starts: one per patch along the
    axis, or an array of the shape that :meth:`EpitomeGeometry.starts_shape` returns.

    Args:
        name: Value of the layer option ``routing`` that selects the rule.
        separable: True if a start depends only on the index of its patch along its own axis. With such a rule, the values
            ``separable`` and ``joint`` of the layer option ``scope`` give the same starts.
        help: Phrase that says what the rule does, for help texts.
        keeps_equal_axes: True if an axis gets no starts when epitome and weight are equally long along the axis. Its cells are
            then read in order.

    Raises:
        OptionError: If the name is already registered.
    """

    def register(starts: Callable[[RuleAxis], np.ndarray]) -> Callable[[RuleAxis], np.ndarray]:
        reason = f"routing {name!r} follows a rule and stores no starts"
        _register(RoutingMode(name, help, starts, separable, keeps_equal_axes, not_searched=reason))
        return starts

    return register


def learned_routing(name: str, *, help: str, not_searched: str = "", options: tuple[str, ...] = ()) -> None:
    """Register a way to learn starts (positions where patches begin).

    Before training, the patches lie side by side in the epitome. Training moves them.

    Args:
        name: Value of the layer option ``routing`` that stands for this way of learning starts.
        help: Phrase that says how the starts are learned, for help texts.
        not_searched: Reason why :func:`nes_lab.fit` cannot search for better starts; empty if it can.
        options: Names of the layer options that only this routing uses.

    Raises:
        OptionError: If the name is already registered.
    """
    _register(RoutingMode(name, help, _tiled, learned=True, not_searched=not_searched, options=options))


def _register(mode: RoutingMode) -> None:
    if mode.name in ROUTING_MODES:
        raise OptionError(f"routing {mode.name!r} is registered already; choose another name")
    ROUTING_MODES[mode.name] = mode


def routing_mode(name: str) -> RoutingMode:
    """Return the :class:`RoutingMode` of a given name: a way to set starts (positions where patches begin).

    Raises:
        OptionError: If the name is not known; the message lists all names.

    Examples:
        >>> routing_mode("free").learned, routing_mode("tiled").separable
        (True, True)
    """
    return ROUTING_MODES[check_choice("routing", name, ROUTING_MODES)]


@start_rule(
    "tiled", separable=True, keeps_equal_axes=True, help="0, b, 2b, ... for patches of length b, wrapping around"
)
def _tiled(axis: RuleAxis) -> np.ndarray:
    return axis.inside(axis.patches * axis.patch % axis.cells)


@start_rule("stride", separable=True, help="evenly spaced from the first to the last cell")
def _stride(axis: RuleAxis) -> np.ndarray:
    count = len(axis.patches)
    if axis.circular:
        return axis.patches * axis.cells // count
    return np.rint(axis.patches * axis.limits / max(count - 1, 1)).astype(np.int64)


@start_rule("random", separable=False, help="drawn uniformly from the layer's seed")
def _random(axis: RuleAxis) -> np.ndarray:
    shape = axis.geometry.starts_shape(axis.index)
    largest = np.full(shape, axis.cells - 1) if axis.circular else axis.geometry.limits(axis.index)
    return axis.random.integers(0, largest, endpoint=True, dtype=np.int64)


learned_routing("free", help="parameters learned by gradient descent, beginning at the tiling")
learned_routing(
    "learner",
    help="predicted from the layer's input by a small network, and averaged over training steps",
    not_searched="the index learner predicts the starts; the epitome is fitted to the starts from which it begins",
    options=("reach", "squash", "momentum", "learner"),
)


def check_flat_routing(scope: str, routing: str) -> None:
    """Refuse a routing that cannot set the starts of a flat epitome.

    Raises:
        OptionError: If the scope is ``flat`` and an index learner would predict the starts.
    """
    if scope == "flat" and routing == "learner":
        raise OptionError(
            "routing='learner' does not go with a flat epitome (scope='flat', share, windows): an index learner predicts starts per "
            "axis; give random, tiled, stride or free"
        )


def is_identity(geometry: EpitomeGeometry, axis: int, mode: str) -> bool:
    """Return True if a weight axis has no starts (positions of patches in the epitome).

    The cells of the epitome are then read in order along the axis.

    An axis has no starts if both of these conditions are met. Most kernel axes meet them. A flat epitome always has starts.

    - Epitome and weight are equally long along the axis.
    - The routing mode gives no starts to equally long axes, or no patch can move along the axis.

    Examples:
        >>> g = EpitomeGeometry((8, 4, 3, 3), (4, 4, 3, 3))
        >>> [is_identity(g, axis, "free") for axis in range(4)]
        [False, True, True, True]
    """
    a = geometry.axes[axis]
    return (
        geometry.scope != "flat"
        and a.size == a.cells
        and (routing_mode(mode).keeps_equal_axes or not geometry.can_move(axis))
    )


def sampled_axes(geometry: EpitomeGeometry, mode: str) -> tuple[int, ...]:
    """Return the indices of the weight axes that have starts (positions where patches begin), in increasing order."""
    return tuple(i for i in range(len(geometry.axes)) if not is_identity(geometry, i, mode))


def rule_starts(geometry: EpitomeGeometry, mode: str, seed: int = 0) -> tuple[np.ndarray | None, ...]:
    """Compute the starts (positions where patches begin) that a rule sets.

    For a learned routing, the starts of ``tiled`` are returned, because training begins with them.

    The formulas below give the start of patch ``r`` along one axis. They use these letters:

    - ``r``: number of the patch, counted from 0
    - ``R``: how many patches have a start along the axis
    - ``n``: length of the epitome along the axis
    - ``b``: length of a patch along the axis
    - ``b_r``: length of patch ``r``; only the last patch can be shorter than ``b``

    Along a kernel axis, each patch of output channels has a start. There ``R`` counts these patches.

    The first formula of each rule is for the clamp boundary, where patches stay inside the epitome. The second one is for the
    circular boundary, where patches that reach the end of an axis continue at its beginning:

    - ``tiled``, patches side by side: ``min(r*b mod n, n-b_r)``; circular ``r*b mod n``
    - ``stride``, patches evenly spaced: ``round(r*(n-b_r)/max(R-1, 1))``; circular ``floor(r*n/R)``
    - ``random``: uniformly drawn from ``0..n-b_r``; circular from ``0..n-1``

    Args:
        geometry: Shapes, scope and boundary of the layer.
        mode: Value of the layer option ``routing``, such as ``tiled``.
        seed: Seed of ``random``; the other rules ignore it.

    Returns:
        One array of integers per weight axis, in cells, of the shape that :meth:`EpitomeGeometry.starts_shape` returns. None
        for an axis without starts, whose cells are read in order.

    Raises:
        OptionError: If ``mode`` is not a known routing.

    Examples:
        >>> g = EpitomeGeometry((10, 4), (6, 4), patch_channels=(3, 4))
        >>> rule_starts(g, "tiled")[0].tolist(), rule_starts(g, "stride")[0].tolist()
        ([0, 3, 0, 3], [0, 1, 2, 5])
    """
    rule, random = routing_mode(mode), np.random.default_rng(seed)
    tables: list[np.ndarray | None] = [None] * len(geometry.axes)
    for axis in sampled_axes(geometry, mode):  # in order: `random` draws one axis after the other
        starts = rule.starts(RuleAxis(geometry, axis, random))
        tables[axis] = starts if starts.shape == geometry.starts_shape(axis) else geometry.spread(starts, axis)
    return tuple(tables)
