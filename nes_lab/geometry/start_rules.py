"""Rules that set starting indices, and which axes of a weight have any. Torch-free.

To add a rule, write one function from a :class:`RuleAxis` to the start of each patch and register it with :func:`start_rule`::

    @start_rule("reverse", separable=True, help="the tiling in mirrored order")
    def _reverse(axis):
        return axis.inside(axis.patches[::-1] * axis.patch % axis.cells)

A learned routing is registered with :func:`learned_routing`; its class is in :mod:`nes_lab.nn.starts`.

Source: Zhou et al., ICLR 2020, arXiv:1907.05642; the rule ``stride`` is in the spirit of WSNet (Jin et al., ICML 2018).
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
    "is_identity",
    "learned_routing",
    "routing_mode",
    "rule_starts",
    "sampled_axes",
    "start_rule",
]


@dataclass(frozen=True)
class RuleAxis:
    """One sampled weight axis, as a start rule sees it.

    Args:
        geometry: Shapes, scope and boundary of the layer.
        index: Index of the weight axis.
        random: Source of random numbers, seeded by the layer's ``seed``.
    """

    geometry: EpitomeGeometry
    index: int
    random: np.random.Generator

    @property
    def cells(self) -> int:
        """Length of the epitome axis."""
        return self.geometry.axes[self.index].cells

    @property
    def patch(self) -> int:
        """Length of a patch."""
        return self.geometry.axes[self.index].patch

    @property
    def patches(self) -> np.ndarray:
        """``0, 1, 2, ...``: the patch indices, shape ``(R,)``. A kernel axis has one start per output patch."""
        return np.arange(self.geometry.patch_grid[self.geometry.owner(self.index)])

    @property
    def circular(self) -> bool:
        """Whether patches wrap around the end of the epitome axis."""
        return self.geometry.boundary == "circular"

    @property
    def limits(self) -> np.ndarray:
        """Largest start of each patch that keeps it inside the epitome, shape ``(R,)``."""
        axis = self.geometry.axes[self.index]
        return axis.cells - (axis.lengths if self.index < 2 else np.full(len(self.patches), axis.size))

    def inside(self, starts: np.ndarray) -> np.ndarray:
        """Move starts back to their limits; with the circular boundary return them unchanged."""
        return starts if self.circular else np.minimum(starts, self.limits)


@dataclass(frozen=True)
class RoutingMode:
    """One way to set starting indices: a fixed rule, or a learned routing and the rule from which it begins.

    Args:
        name: Value of ``routing=`` that selects it.
        help: Half a sentence that says what it does.
        starts: From an axis to its integer starts, ``(R,)``, or a table of shape ``geometry.starts_shape(axis)``.
        separable: Whether starts along an axis depend on the patch's index along that axis alone, whatever the scope.
        keeps_equal_axes: Whether an axis whose epitome is as long as the weight is read in order, so that it needs no starts.
        learned: Whether training moves the starts; they are then stored with the model.
        not_searched: Why :func:`nes_lab.fit` cannot search for better starts; empty if it can.
        options: Names of further layer arguments that this mode reads.
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
    """Register a function as a fixed start rule; the arguments are those of :class:`RoutingMode`.

    Raises:
        OptionError: If the name is taken.
    """

    def register(starts: Callable[[RuleAxis], np.ndarray]) -> Callable[[RuleAxis], np.ndarray]:
        reason = f"routing {name!r} follows a rule and stores no starts"
        _register(RoutingMode(name, help, starts, separable, keeps_equal_axes, not_searched=reason))
        return starts

    return register


def learned_routing(name: str, *, help: str, not_searched: str = "", options: tuple[str, ...] = ()) -> None:
    """Register a routing that training moves away from the integer tiling; arguments as :class:`RoutingMode`.

    Raises:
        OptionError: If the name is taken.
    """
    _register(RoutingMode(name, help, _tiled, learned=True, not_searched=not_searched, options=options))


def _register(mode: RoutingMode) -> None:
    if mode.name in ROUTING_MODES:
        raise OptionError(f"routing {mode.name!r} is registered already; choose another name")
    ROUTING_MODES[mode.name] = mode


def routing_mode(name: str) -> RoutingMode:
    """Return the routing mode of that name.

    Raises:
        OptionError: If no mode has the name; lists all names.

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
    not_searched="the index learner moves its starts from their anchors; the epitome is fitted to those",
    options=("reach", "squash", "momentum", "learner"),
)


def is_identity(geometry: EpitomeGeometry, axis: int, mode: str) -> bool:
    """Return True if an axis is read cell by cell, without starts.

    Epitome and weight must be equally long, and either the mode keeps such axes as they are or no patch has room to move
    (the kernel axes of a usual layer).

    Examples:
        >>> g = EpitomeGeometry((8, 4, 3, 3), (4, 4, 3, 3))
        >>> [is_identity(g, axis, "free") for axis in range(4)]
        [False, True, True, True]
    """
    a = geometry.axes[axis]
    return a.size == a.cells and (routing_mode(mode).keeps_equal_axes or not geometry.can_move(axis))


def sampled_axes(geometry: EpitomeGeometry, mode: str) -> tuple[int, ...]:
    """Return the weight axes that have starts, in order."""
    return tuple(i for i in range(len(geometry.axes)) if not is_identity(geometry, i, mode))


def rule_starts(geometry: EpitomeGeometry, mode: str, seed: int = 0) -> tuple[np.ndarray | None, ...]:
    """Compute the starts of a fixed rule, or the integer tiling from which a learned routing begins.

    Under clamp, for patch ``r`` of ``R``, with ``n`` cells and patch length ``b`` (``b_r`` of a cropped last patch): ``tiled`` is
    ``min(r*b mod n, n-b_r)``, ``stride`` is ``round(r*(n-b_r)/max(R-1, 1))``, ``random`` is uniform in ``0..n-b_r``.
    Circular: ``r*b mod n``, ``floor(r*n/R)``, uniform in ``0..n-1``. Along kernel axes ``r`` is the output patch.

    Args:
        geometry: Shapes, scope and boundary.
        mode: Name of a routing mode.
        seed: Seed of ``random``; other modes ignore it.

    Returns:
        Per weight axis None (read cell by cell) or integers of shape ``geometry.starts_shape(axis)``, in cells.

    Raises:
        OptionError: If no mode has the name.

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
