"""FitReport: how closely each epitome of a fitted network reproduces the weight that it replaces.

Tests: tests/fitting/test_fit.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nes_lab.records.columns import columns
from nes_lab.records.record import Part, Record
from nes_lab.records.table import Table

__all__ = ["FitReport", "LayerFit"]


@dataclass(frozen=True)
class LayerFit(Part):
    """Result of fitting the epitome of one layer to its weight.

    Args:
        name: Name of the layer in the model.
        routing, scope: Options of the layer.
        method: How the epitome was computed: ``averages``, ``axis by axis`` or ``conjugate gradients``.
        starts: ``plan`` for the starts of the plan, ``searched``, or the reason why they could not be searched.
        norm: Name of the batch norm that took the scales of the weight's rows; empty if rows were not scaled.
        weight_energy: ``||W||^2`` of the dense weight.
        residual_before: Relative residual ``||W - T(E)|| / ||W||`` of weight ``W`` and sampled weight ``T(E)``, with the plan's
            starts and without row scales or calibration.
        residual_after: Relative residual of the fitted layer, with its row scales.
        error_before, error_after: Relative error of the layer's output on the calibration batches; None if there are none.
        iterations: Number of iterations of the search for starts, from the initial guess that won.
        seconds: Duration of the fit of this layer.
    """

    name: str
    routing: str
    scope: str
    method: str
    starts: str
    norm: str
    weight_energy: float
    residual_before: float
    residual_after: float
    error_before: float | None
    error_after: float | None
    iterations: int
    seconds: float


@dataclass(frozen=True)
class FitReport(Record):
    """Result of fitting epitomes to the weights of a network: the residual of every layer before and after.

    Args:
        layers: Results of the layers, in module order.
        starts: Option of the fit: ``plan`` keeps the starts of the plan, ``search`` searches better ones.
        snapped: Whether stored starts were rounded to integers permanently.
        calibration_batches: Number of batches on which output errors were minimized; 0 minimizes the residuals of weights only.
        norm_batches: Number of batches on which the statistics of batch norms were measured again; 0 means they were kept.
        seed: Seed of everything drawn at random.
        seconds: Duration of the complete fit.

    Examples:
        >>> how = {"routing": "free", "scope": "separable", "method": "averages", "starts": "searched", "norm": ""}
        >>> numbers = {"weight_energy": 4.0, "residual_before": 0.7, "residual_after": 0.4, "iterations": 6, "seconds": 0.1}
        >>> layer = LayerFit("fc", **how, **numbers, error_before=None, error_after=None)
        >>> report = FitReport((layer,), "search", False, 0, 0, 0, 0.2)
        >>> FitReport.from_json(report.to_json()) == report, report.residual
        (True, 0.4)
    """

    NAME = "fit report"

    layers: tuple[LayerFit, ...]
    starts: str
    snapped: bool
    calibration_batches: int
    norm_batches: int
    seed: int
    seconds: float

    @property
    def residual(self) -> float:
        """Relative residual of all fitted weights together, as one vector."""
        return self._whole("residual_after")

    @property
    def residual_before(self) -> float:
        """Relative residual of all weights together with the plan's starts, without row scales or calibration."""
        return self._whole("residual_before")

    def _whole(self, field: str) -> float:
        energy = sum(layer.weight_energy for layer in self.layers)
        left = sum(layer.weight_energy * getattr(layer, field) ** 2 for layer in self.layers)
        return (left / energy) ** 0.5 if energy > 0 else 0.0

    def rows(self) -> list[dict[str, Any]]:
        """Return the results of the fit as one dict per layer, for tables and figures."""
        return [asdict(layer) for layer in self.layers]

    def table(self) -> Table:
        """Return the fit report as a table: one row per layer, with residuals and errors before and after."""
        errors = ("error_before", "error_after") if any(layer.error_after is not None for layer in self.layers) else ()
        keys = ("name", "residual_before", "residual_after", *errors, "seconds", "starts", "method")
        rows = [asdict(x) | ({"method": f"{x.method}, rows scaled in {x.norm}"} if x.norm else {}) for x in self.layers]
        return Table(columns(*keys), rows, after=[self._summary()])

    def _summary(self) -> str:
        parts = [f"all weights: residual {self.residual_before:.3f} before, {self.residual:.3f} after"]
        if self.calibration_batches:
            parts.append(f"calibrated on {self.calibration_batches} batches")
        if self.norm_batches:
            parts.append(f"norms measured again on {self.norm_batches} batches")
        return "; ".join([*parts, f"{self.seconds:.1f} s"])
