"""How near the epitomes of a fitted network come to the weights they stand for, layer by layer. Torch-free; JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from nes_lab.errors import PlanError
from nes_lab.records.record import check_schema, load_json

__all__ = ["FitReport", "LayerFit"]

_SCHEMA = 1


@dataclass(frozen=True)
class LayerFit:
    """One layer's fit.

    Args:
        name: Module name.
        routing, scope: As the layer has them.
        method: ``averages``, ``axis by axis`` or ``conjugate gradients``.
        starts: ``plan``; ``searched``; or why they could not be searched for.
        norm: Name of the batch norm that took the factors of the layer's rows; empty where rows have none.
        weight_energy: ``||W||^2`` of the dense weight.
        residual_before: ``||W - T(E)|| / ||W||`` for the plan's starts, without factors or calibration.
        residual_after: The same for what was made, factors included.
        error_before, error_after: The same of the layer's output on the calibration batches; None without them.
        iterations: Alternations of the beginning that won.
        seconds: What it took.
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
class FitReport:
    """Residual of every layer, before and after, and what was done to the network.

    Args:
        layers: In module order.
        starts: What was asked for: ``plan`` or ``search``.
        snapped: Whether stored starts were made integers for good.
        calibration_batches: Batches behind the output errors; 0: the weights' residual alone was made least.
        norm_batches: Batches from which the batch norms' statistics were measured anew; 0: they were kept.
        seed: Of all that is drawn.
        seconds: What all of it took.

    Examples:
        >>> how = {"routing": "free", "scope": "separable", "method": "averages", "starts": "searched", "norm": ""}
        >>> numbers = {"weight_energy": 4.0, "residual_before": 0.7, "residual_after": 0.4, "iterations": 6, "seconds": 0.1}
        >>> layer = LayerFit("fc", **how, **numbers, error_before=None, error_after=None)
        >>> report = FitReport((layer,), "search", False, 0, 0, 0, 0.2)
        >>> FitReport.from_json(report.to_json()) == report, report.residual
        (True, 0.4)
    """

    layers: tuple[LayerFit, ...]
    starts: str
    snapped: bool
    calibration_batches: int
    norm_batches: int
    seed: int
    seconds: float

    @property
    def residual(self) -> float:
        """Relative residual of all fitted weights taken as one vector."""
        return self._whole("residual_after")

    @property
    def residual_before(self) -> float:
        """The same for the plan's starts, without factors or calibration."""
        return self._whole("residual_before")

    def _whole(self, field: str) -> float:
        energy = sum(layer.weight_energy for layer in self.layers)
        left = sum(layer.weight_energy * getattr(layer, field) ** 2 for layer in self.layers)
        return (left / energy) ** 0.5 if energy > 0 else 0.0

    def rows(self) -> list[dict[str, Any]]:
        """One dict a layer, for tables and pictures."""
        return [asdict(layer) for layer in self.layers]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the schema's number."""
        return {"schema": _SCHEMA, **asdict(self)}

    def to_json(self, indent: int | None = 2) -> str:
        """The report as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    @classmethod
    def from_json(cls, text: str) -> FitReport:
        """Read :meth:`to_json`.

        Raises:
            PlanError: If it is no JSON, of another schema, or lacks a field; names it.
        """
        return cls.from_dict(load_json(text, "fit report"))

    @classmethod
    def from_dict(cls, data: Any) -> FitReport:
        """Read :meth:`to_dict`."""
        data = check_schema(data, "fit report", _SCHEMA)
        rest = {name: value for name, value in data.items() if name != "schema"}
        try:
            return cls(**{**rest, "layers": tuple(LayerFit(**row) for row in rest["layers"])})
        except (KeyError, TypeError) as error:
            raise PlanError(f"the fit report lacks or misnames a field: {error}") from error

    def _table(self) -> list[tuple[str, ...]]:
        errors = any(layer.error_after is not None for layer in self.layers)
        head = (
            "layer",
            "residual before",
            "after",
            *(("output before", "after") if errors else ()),
            "s",
            "starts",
            "how",
        )
        rows: list[tuple[str, ...]] = [head]
        for x in self.layers:
            numbers = [x.residual_before, x.residual_after, *((x.error_before, x.error_after) if errors else ())]
            shown = ["–" if n is None else f"{n:.3f}" for n in numbers]
            how = x.method + (f", rows scaled in {x.norm}" if x.norm else "")
            rows.append((x.name or "(model)", *shown, f"{x.seconds:.2f}", x.starts, how))
        return rows

    def _summary(self) -> str:
        parts = [f"all weights: residual {self.residual_before:.3f} before, {self.residual:.3f} after"]
        if self.calibration_batches:
            parts.append(f"calibrated on {self.calibration_batches} batches")
        if self.norm_batches:
            parts.append(f"norms measured anew on {self.norm_batches} batches")
        return "; ".join([*parts, f"{self.seconds:.1f} s"])

    def __str__(self) -> str:
        rows = self._table()
        last = len(rows[0]) - 2
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                c.rjust(w) if 0 < i < last else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:], rule, self._summary()])

    def _repr_html_(self) -> str:
        head, *body = [[escape(cell) for cell in row] for row in self._table()]
        table = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body)
        titles = "".join(f"<th>{cell}</th>" for cell in head)
        return f"<table><thead><tr>{titles}</tr></thead><tbody>{table}</tbody></table><p>{escape(self._summary())}</p>"
