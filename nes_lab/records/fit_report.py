"""FitReport: how closely each epitome of a fitted network reproduces the dense weight that it replaces.

Tests: tests/fitting/test_fit.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nes_lab.records.columns import columns
from nes_lab.records.record import Part, Record
from nes_lab.records.table import Table
from nes_lab.text import format_share

__all__ = ["FitReport", "LayerFit"]

LEAST_AGREEMENT = 0.9
"""Share of equal predictions below which the report says that the network must be trained."""

LARGEST_OUTPUT_ERROR = 0.3
"""Relative difference of outputs above which the report says so, for outputs that are not predictions of classes."""


@dataclass(frozen=True)
class LayerFit(Part):
    """Result of fitting the epitome of one layer to the layer's dense weight.

    Args:
        name: Name of the layer in the model.
        routing, scope: Options of the epitome layer.
        method: How the epitome was computed: ``averages``, ``axis by axis``, ``conjugate gradients`` or, for flat epitomes,
            ``alternating least squares``.
        starts: ``plan`` if the starts (positions where patches begin) of the plan were kept. ``searched`` if better starts were
            searched and kept. Otherwise the reason: why no search was possible, or that it found none better.
        norm: Name of the batch norm that stores the scale factors of the output channels. Empty if channels were not scaled.
        weight_energy: Sum of the squares of the dense weight's numbers.
        residual_before: Relative residual ``||W - T(E)|| / ||W||`` of the dense weight ``W`` and the sampled weight ``T(E)``.
            It is measured with the plan's starts, without scale factors and without calibration.
        residual_after: Relative residual of the fitted layer, with its scale factors.
        error_before, error_after: Relative error of the layer's output on the calibration batches, measured like
            ``residual_before`` and ``residual_after``. Calibration minimizes this error. After a sequential fit, the inputs are
            those of the compressed network, and the part of the error that no weight could avoid is left out. None if there are
            no calibration batches.
        iterations: Number of iterations of the search for starts. Of several searches, only the one with the best result
            counts.
        seconds: Duration of the fit of this layer, in seconds.
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


@dataclass(frozen=True, repr=False)
class FitReport(Record):
    """Result of fitting epitomes to the weights of a network: the residual of every layer before and after.

    Args:
        layers: Results of the layers, in module order.
        starts: Option of the fit: ``plan`` keeps the starts (positions where patches begin) of the plan, ``search`` searches
            for better ones.
        snapped: Whether learned starts were rounded to integers permanently.
        calibration_batches: Number of input batches on which the errors of layer outputs were minimized. With 0, only the
            residuals of weights were minimized.
        norm_batches: Number of input batches on which the statistics of batch norms were measured again. With 0, the old
            statistics were kept.
        seed: Seed of all random numbers.
        seconds: Duration of the complete fit, in seconds.
        agreement: Share of examples for which the fitted and the dense network have the same largest output (the same top-1
            prediction). None: it was not measured, or the outputs are not of the shape ``(examples, classes)``.
        output_error: Norm of the difference between the outputs of both networks, relative to the norm of the dense network's
            outputs. None: it was not measured, because there were no batches.
        compared_examples: Number of examples on which the outputs were compared: at most about 512, from the calibration
            batches or else from the batches for norms.
        verified: True if one run of the result showed what the plan says: calls of each replaced layer, params and multiply-adds.
        not_verified: Why this is not known; empty if ``verified`` is True, and in reports of older versions.

    Examples:
        >>> import torch, nes_lab
        >>> model, x = torch.nn.Sequential(torch.nn.Linear(64, 64)), torch.zeros(1, 64)
        >>> small, report = nes_lab.fit(model, nes_lab.plan_for_budget(model, nes_lab.Budget(params="60%"), x))
        >>> report.layers[0].name, 0 < report.residual < 1
        ('0', True)
        >>> nes_lab.FitReport.from_json(report.to_json()) == report
        True
    """

    NAME = "fit report"

    layers: tuple[LayerFit, ...]
    starts: str
    snapped: bool
    calibration_batches: int
    norm_batches: int
    seed: int
    seconds: float
    agreement: float | None = None
    output_error: float | None = None
    compared_examples: int = 0
    verified: bool = False
    not_verified: str = ""

    @property
    def needs_training(self) -> bool:
        """True if the outputs of the fitted network are known to be far from those of the dense network.

        Then less than 90 % of the predictions are the same or, for outputs that are not predictions of classes, the outputs
        differ by more than 30 %.
        """
        if self.agreement is not None:
            return self.agreement < LEAST_AGREEMENT
        return self.output_error is not None and self.output_error > LARGEST_OUTPUT_ERROR

    @property
    def comparison(self) -> str:
        """A sentence that compares the outputs of the fitted network with those of the dense network."""
        if self.output_error is None:
            return "agreement with the dense network: not measured, because there were no calibration batches"
        told = f"outputs differ from the dense network's by {format_share(self.output_error)} on {self.compared_examples} examples"
        if self.agreement is not None:
            agreed = f"{format_share(self.agreement)} of {self.compared_examples} examples"
            told = f"same top-1 prediction as the dense network for {agreed}; {told}"
        return (
            f"{told}. Train it before use: it has lost much of what the dense network knows"
            if self.needs_training
            else told
        )

    @property
    def residual(self) -> float:
        """Relative residual ``||W - T(E)|| / ||W||`` over all fitted layers.

        ``W`` stands for the dense weights of all layers. ``T(E)`` stands for the weights that are sampled from the epitomes.
        """
        return self._whole("residual_after")

    @property
    def residual_before(self) -> float:
        """Relative residual ``||W - T(E)|| / ||W||`` over all fitted layers, with the plan's starts (positions of patches).

        ``W`` stands for the dense weights of all layers. ``T(E)`` stands for the weights that are sampled from the epitomes,
        without scale factors and without calibration.
        """
        return self._whole("residual_before")

    def _whole(self, field: str) -> float:
        energy = sum(layer.weight_energy for layer in self.layers)
        left = sum(layer.weight_energy * getattr(layer, field) ** 2 for layer in self.layers)
        return (left / energy) ** 0.5 if energy > 0 else 0.0

    def rows(self) -> list[dict[str, Any]]:
        """Return the results of the fit as one dict per layer, for tables and figures."""
        return [asdict(layer) for layer in self.layers]

    def __repr__(self) -> str:
        return f"FitReport: {len(self.layers)} layers, starts {self.starts}; {self._summary()}; {self.comparison}"

    def table(self) -> Table:
        """Return the fit report as a table with one row per layer.

        A row has the errors of the layer's weight and output relative to the dense layer, before and after fitting.
        """
        errors = ("error_before", "error_after") if any(layer.error_after is not None for layer in self.layers) else ()
        keys = ("name", "residual_before", "residual_after", *errors, "seconds", "starts", "method")
        rows = [asdict(x) | ({"method": f"{x.method}, rows scaled in {x.norm}"} if x.norm else {}) for x in self.layers]
        return Table(columns(*keys), rows, after=[self._summary(), self.comparison])

    def _summary(self) -> str:
        parts = [f"all weights: residual {self.residual_before:.3f} before, {self.residual:.3f} after"]
        if self.calibration_batches:
            parts.append(f"calibrated on {self.calibration_batches} batches")
        if self.norm_batches:
            parts.append(f"norms measured again on {self.norm_batches} batches")
        parts.append(f"{self.seconds:.1f} s")
        if self.not_verified:
            parts.append(f"not verified: {self.not_verified}")
        return "; ".join(parts)
