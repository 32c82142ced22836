"""SensitivityReport: how much the loss or the fitting error grows when a single layer's epitome shrinks.

Tests: tests/planning/sensitivity/test_measure.py.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from math import inf, log
from typing import Any, get_args

from nes_lab.errors import OptionError, PlanError, check_choice, closest
from nes_lab.records.columns import columns
from nes_lab.records.options import SensitivityCost
from nes_lab.records.record import Part, Record
from nes_lab.records.table import Table

__all__ = ["COSTS", "LayerSensitivity", "SensitivityPoint", "SensitivityReport"]

COSTS: tuple[SensitivityCost, ...] = get_args(SensitivityCost)
_LEAST_KEPT = 1e-9  # smallest kept share of a weight's energy, so that its logarithm stays finite


@dataclass(frozen=True)
class SensitivityPoint(Part):
    """Quality loss of a model when one layer's weight is replaced by an epitome of one size.

    Args:
        epitome_shape: Shape of the epitome in PyTorch's axis order.
        ratio: Cells of the epitome (numbers that it stores) / numbers in the weight.
        residual: Relative residual ``||W - T(E)|| / ||W||`` of the dense weight ``W`` and the weight ``T(E)`` sampled from the
            best epitome.
        loss_increase: Loss with only this layer compressed, minus the dense model's loss; None if no calibration data was given.
    """

    epitome_shape: tuple[int, ...]
    ratio: float
    residual: float
    loss_increase: float | None = None

    def cost(self, by: SensitivityCost) -> float:
        """Return how much quality is lost with this epitome: the increase of the loss, or a value computed from the residual.

        This value is ``-log(1 - residual^2)``. It is 0 if the epitome gives the dense weight exactly, and grows with the
        residual. The values of several layers can be added up.

        Args:
            by: ``"loss"``: return the increase of the loss. ``"residual"``: return the value computed from the residual.
        """
        if by == "loss":
            return 0.0 if self.loss_increase is None else self.loss_increase
        # the share of the squared norm that is kept multiplies over successive layers, so its logarithms add up
        return -log(max(1 - self.residual**2, _LEAST_KEPT))


@dataclass(frozen=True)
class LayerSensitivity(Part):
    """Quality loss of a model when one layer's weight is replaced by epitomes of several sizes.

    :meth:`cost` estimates the loss for any size. The estimate never falls when the epitome shrinks, even where a measured loss
    falls, as in the example.

    Args:
        name: Name of the layer in the model.
        weight_shape: Shape of the weight in PyTorch's axis order.
        points: The results for each measured size of the epitome, largest size first.
        importance: Factor by which all losses of quality of this layer are multiplied.

    Examples:
        >>> points = (SensitivityPoint((32, 64), 0.5, 0.6, 0.2), SensitivityPoint((16, 64), 0.25, 0.8, 0.1))
        >>> layer = LayerSensitivity("fc", (64, 64), points)
        >>> [layer.cost(ratio, "loss") for ratio in (1.0, 0.75, 0.5, 0.25)]
        [0.0, 0.1, 0.2, 0.2]
    """

    name: str
    weight_shape: tuple[int, ...]
    points: tuple[SensitivityPoint, ...]
    importance: float = 1.0

    @cached_property
    def _curves(self) -> dict[SensitivityCost, tuple[list[float], list[float]]]:
        """The points between which :meth:`cost` interpolates, for each measure of quality: ``loss`` and ``residual``.

        The points are two lists, from the largest epitome to the smallest: the saved share of the weight, and the lost
        quality. In both lists, no value is smaller than the one before it.
        """
        points = sorted(self.points, key=lambda p: -p.ratio)
        given = [0.0, *(1 - p.ratio for p in points)]
        weighed = {by: [0.0, *(self.importance * p.cost(by) for p in points)] for by in COSTS}
        return {by: (given, list(accumulate(weighed[by], max))) for by in COSTS}

    def cost(self, ratio: float, by: SensitivityCost = "residual") -> float:
        """Estimate how much quality is lost with an epitome of any size, by linear interpolation between the measured sizes.

        A smaller epitome never has a smaller estimate. Below the smallest measured size, the estimate follows the line through
        the two smallest measured sizes.

        Args:
            ratio: Cells of the epitome / numbers in the weight, above 0. At a ratio of 1, nothing is lost.
            by: ``"loss"``: return the increase of the loss. ``"residual"``: return ``-log(1 - r^2)``. Here ``r`` is the
                relative residual: the norm of the difference between the dense and the sampled weight, divided by the norm of
                the dense weight.
        """
        check_choice("by", by, COSTS)
        given, costs = self._curves[by]
        place = 1 - ratio
        right = min(max(bisect_left(given, place), 1), len(given) - 1)
        if right < 1 or place <= 0:
            return 0.0
        left = right - 1
        slope = (costs[right] - costs[left]) / max(given[right] - given[left], 1e-12)
        return costs[left] + slope * (place - given[left])


@dataclass(frozen=True, repr=False)
class SensitivityReport(Record):
    """Report on how much quality a model loses when a single layer gets an epitome and the other layers stay dense.

    Args:
        key: Hash of the model's weights, the options and the calibration data.
        options: Options of the epitomes: ``routing``, ``scope``, ``boundary``, ``patch_channels``, ``wiring`` (which channel
            axes shrink), ``seed``.
        layers: Results of the layers, in module order.
        dense_loss: Loss of the dense model on the calibration data; None if no calibration data was given.
        samples: Number of samples in the calibration data.
        seconds: Duration of the measurement in seconds. If the measurement was interrupted, the durations of its parts are
            added.
        complete: Whether every layer has been measured; False only in the file of an interrupted measurement.

    Examples:
        >>> import torch, nes_lab
        >>> model, x = torch.nn.Sequential(torch.nn.Linear(64, 64)), torch.zeros(1, 64)
        >>> report = nes_lab.measure_sensitivity(model, x)
        >>> report.measured_by, report.layers[0].cost(0.25) > report.layers[0].cost(0.5) > 0
        ('residual', True)
        >>> nes_lab.SensitivityReport.from_json(report.to_json()) == report
        True
    """

    NAME = "sensitivity report"

    key: str
    options: Mapping[str, Any]
    layers: tuple[LayerSensitivity, ...]
    dense_loss: float | None = None
    samples: int = 0
    seconds: float = 0.0
    complete: bool = field(default=True)

    @property
    def measured_by(self) -> SensitivityCost:
        """Name of the measured quantity: ``"loss"`` if calibration data was given, else ``"residual"``.

        A residual is the relative error of a weight that is sampled from an epitome.
        """
        return "residual" if self.dense_loss is None else "loss"

    @cached_property
    def by_name(self) -> dict[str, LayerSensitivity]:
        """Name of each layer -> its measurements."""
        return {layer.name: layer for layer in self.layers}

    def weighed(self, importance: Mapping[str, float]) -> SensitivityReport:
        """Return a copy of the report in which the loss of quality of each layer is multiplied by the layer's importance.

        Args:
            importance: Name of each layer -> its importance, at least 0, such as ``nes_lab.attribution.layer_importance`` returns. Names
                of layers that the report does not have are left out.

        Raises:
            OptionError: If a layer of the report is missing in ``importance``, or its value is negative or not finite.

        Examples:
            >>> import torch, nes_lab
            >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64))
            >>> report = nes_lab.measure_sensitivity(model, torch.zeros(1, 64))
            >>> report.weighed({"0": 2.0}).layers[0].cost(0.5) == 2 * report.layers[0].cost(0.5)
            True
        """
        for layer in self.layers:
            value = importance.get(layer.name)
            if value is None:
                raise OptionError(f"importance lacks layer {layer.name!r}.{closest(layer.name, importance)}")
            if not 0 <= value < inf:
                raise OptionError(f"importance[{layer.name!r}]={value}; give a finite number of at least 0")
        layers = tuple(replace(layer, importance=layer.importance * importance[layer.name]) for layer in self.layers)
        return replace(self, layers=layers)

    def check(self, shapes: Mapping[str, tuple[int, ...]], options: Mapping[str, Any]) -> None:
        """Check that the report was measured on a given model and with given options of the epitomes.

        Args:
            shapes: Name of each layer that may be replaced -> shape of its weight.
            options: Options of the epitomes, by name; they must equal :attr:`options`.

        Raises:
            PlanError: If a layer is missing in the report or has another shape there; the message names the layer.
            OptionError: If the report was measured with other options of the epitomes; the message names the option.
        """
        for name, shape in shapes.items():
            layer = self.by_name.get(name)
            if layer is None:
                raise PlanError(f"the sensitivities do not include layer {name!r}.{closest(name, self.by_name)}")
            if layer.weight_shape != shape:
                raise PlanError(
                    f"the sensitivities were measured on layer {name!r} with a weight of {layer.weight_shape}; here it is {shape}"
                )
        for name, value in options.items():
            if (measured := self.options.get(name)) != value:
                raise OptionError(f"{name}={value!r}; the sensitivities were measured with {name}={measured!r}")

    def rows(self) -> list[dict[str, Any]]:
        """Return the measurements as one dict for each layer and each size of its epitome, for tables and figures."""
        return [
            {
                "name": layer.name,
                "weight_shape": layer.weight_shape,
                **asdict(point),
                "cost": layer.cost(point.ratio, self.measured_by),
            }
            for layer in self.layers
            for point in layer.points
        ]

    def to_json(self, indent: int | None = 1) -> str:
        """Return the sensitivity report as JSON text."""
        return super().to_json(indent)

    def table(self) -> Table:
        """Return the sensitivity report as a table: one row per layer and epitome size."""
        loss = ("loss_increase",) if self.measured_by == "loss" else ()
        return Table(columns("name", "weight_shape", "epitome_shape", "ratio", "residual", *loss, "cost"), self.rows())

    def __repr__(self) -> str:
        points = sum(len(layer.points) for layer in self.layers)
        how = "by the residual of the fit" if self.dense_loss is None else f"by the loss on {self.samples} samples"
        state = "" if self.complete else ", not complete"
        return f"SensitivityReport: {len(self.layers)} layers, {points} epitomes, measured {how} in {self.seconds:.1f} s{state}"

    def __str__(self) -> str:
        return "\n".join([repr(self), *self._hardest()])

    def _hardest(self) -> list[str]:
        """Return one line of text for each of the five layers that lose most quality with an epitome of half their weight's size.

        :attr:`measured_by` names the measure of quality.
        """
        costs = sorted(((layer.cost(0.5, self.measured_by), layer.name) for layer in self.layers), reverse=True)
        return [f"  {name or '(model)'}: {cost:.4g} at half of its cells" for cost, name in costs[:5]]
