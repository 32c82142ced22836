"""The state of a search for starts: the weight, the starts, the epitome and the factors of the output channels.

Tests: tests/fitting/test_search.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from nes_lab.epitome.routing_map import RoutingMap

__all__ = ["SearchOptions", "SearchState", "products", "scaled"]


@dataclass(frozen=True)
class SearchOptions:
    """Options of the search for the starts of a weight: the positions of its patches in the epitome.

    Args:
        fractional: Allow starts between two cells.
        restarts: Number of random first guesses. For one-channel patches with the scope ``separable`` they are not
            used; groups of similar channels are used instead.
        rounds: Largest number of rounds from each first guess. A round moves the starts and then fits the epitome.
        min_gain: The search stops if a round lowers the squared error by no more than this share of its value before.
        seed: Seed of the random first guesses.
    """

    fractional: bool = True
    restarts: int = 1
    rounds: int = 25
    min_gain: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class SearchState:
    """State of the search: the weight, and the values that approximate it now.

    These are the starts (positions of patches), the epitome, and a factor for each output channel.

    Args:
        weight: The weight to approximate, in ``geometry.weight_shape``, float64.
        routing_map: The present starts.
        epitome: The present epitome, in ``geometry.epitome_shape``, float64.
        row_scale: Factor of each output channel, ``(output channels,)``; None: channels have no factors.
        moment: Covariance of the layer's inputs, or the mean of ``x x^T`` over inputs ``x``. It is a square matrix of
            size ``prod(weight_shape[1:])``. With it, the error of the layer's output is measured. None: the error of
            the weight is measured.
        options: Options of the search.
        residuals: Error ``||weight - sampled|| / ||weight||`` after each fit of the epitome; it never rises. With ``moment``
            it is the error of the layer's output, relative to the output with ``weight``.
    """

    weight: Tensor
    routing_map: RoutingMap
    epitome: Tensor
    row_scale: Tensor | None = None
    moment: Tensor | None = None
    options: SearchOptions = SearchOptions()
    residuals: tuple[float, ...] = ()

    def sampled(self) -> Tensor:
        """Return the weight sampled from the epitome. Each output channel is multiplied by its factor."""
        return scaled(self.routing_map.materialize(self.epitome), self.row_scale)


def scaled(weight: Tensor, row_scale: Tensor | None) -> Tensor:
    """Return a weight whose output channels are multiplied by their factors; None: they have no factors."""
    return weight if row_scale is None else weight * row_scale.view(-1, *[1] * (weight.ndim - 1))


def products(a: Tensor, b: Tensor, moment: Tensor | None) -> Tensor:
    """Return the inner product of each output channel of ``a`` with the same channel of ``b``, ``(output channels,)``.

    Args:
        a: Tensor of the weight's shape.
        b: Tensor of the weight's shape.
        moment: Matrix ``M`` of the inner product ``a^T M b``; None: the ordinary inner product ``a^T b``.
    """
    a, b = a.flatten(1), b.flatten(1)
    return (a * (b if moment is None else b @ moment.double())).sum(1)
