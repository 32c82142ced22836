"""Frozen records of counted and measured cost. Torch-free, so that app and figures read them without it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from html import escape
from typing import Any

from nes_lab.records.counts import QUANTITIES, Counts
from nes_lab.text import format_number

__all__ = ["CostReport", "LatencyReport", "LayerCost"]


@dataclass(frozen=True)
class LayerCost:
    """One row of a :class:`CostReport`.

    Args:
        name: Module name; ``""`` for operations of the model's own forward.
        kind: Class of the module.
        params: Stored numbers of this module itself.
        madds: Multiply-adds of all its calls, for the plan that runs.
        adds: Copies and additions of integer folds and expansions; not multiply-adds.
        weight_madds: Multiply-adds to build its weight, cached at inference; not part of ``madds``.
        learner_params: Numbers of its index learner, dropped after training.
        execution: The execution plan that ran, for epitome layers.
        weight_shape, epitome_shape: For layers that have them.
    """

    name: str
    kind: str
    params: int
    madds: int
    adds: int = 0
    weight_madds: int = 0
    learner_params: int = 0
    execution: str | None = None
    weight_shape: tuple[int, ...] | None = None
    epitome_shape: tuple[int, ...] | None = None

    @property
    def counts(self) -> Counts:
        """The quantities that a budget can limit."""
        return _counts(self)


@dataclass(frozen=True)
class CostReport:
    """Params and multiply-adds of a model for one example input; prints as a table.

    Args:
        params: Stored numbers: epitomes, stored starts, biases, norms and all that stays dense; shared tensors once.
        madds: Multiply-adds of convolutions, linear layers and attention products for the whole example input.
        learner_params: Numbers of index learners, a training aid, not part of ``params``.
        bytes: Size of the ``params`` in memory.
        adds, weight_madds: Totals of the layers' columns.
        input_shape: Of the example input.
        by_layer: Rows with params or madds, in module order.

    Examples:
        >>> report = CostReport(10, 2_000_000, 0, 40, 0, 0, (1, 3), (LayerCost("fc", "Linear", 10, 2_000_000),))
        >>> CostReport.from_dict(report.to_dict()) == report
        True
    """

    params: int
    madds: int
    learner_params: int
    bytes: int
    adds: int
    weight_madds: int
    input_shape: tuple[int, ...]
    by_layer: tuple[LayerCost, ...]

    @property
    def counts(self) -> Counts:
        """The quantities that a budget can limit."""
        return _counts(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CostReport:
        """Read back :meth:`to_dict`, also after a trip through JSON."""
        rows = tuple(_layer_cost(row) for row in data["by_layer"])
        known = {f.name: data[f.name] for f in fields(cls)}
        return cls(**(known | {"by_layer": rows, "input_shape": tuple(data["input_shape"])}))

    def _rows(self) -> list[tuple[str, ...]]:
        rows = [
            (
                c.name or "(model)",
                c.kind,
                str(c.epitome_shape or c.weight_shape or ""),
                format_number(c.params),
                format_number(c.madds),
                c.execution or "",
            )
            for c in self.by_layer
        ]
        total = ("total", "", f"input {self.input_shape}", format_number(self.params), format_number(self.madds), "")
        return [*rows, total]

    _HEAD = ("layer", "kind", "shape", "params", "madds", "execution")

    def __str__(self) -> str:
        rows = [self._HEAD, *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self._HEAD))]
        lines = [
            "  ".join(
                cell.rjust(w) if i in (3, 4) else cell.ljust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        rule = "-" * max(map(len, lines))
        learner = (
            f"\nindex learners (training only): {format_number(self.learner_params)} params"
            if self.learner_params
            else ""
        )
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]]) + learner

    def _repr_html_(self) -> str:
        def cells(row: tuple[str, ...], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"

        body = "".join(cells(row, "td") for row in self._rows())
        return f"<table><thead>{cells(self._HEAD, 'th')}</thead><tbody>{body}</tbody></table>"


def _counts(cost: LayerCost | CostReport) -> Counts:
    return Counts(**{name: getattr(cost, name) for name in QUANTITIES})


def _layer_cost(row: dict[str, Any]) -> LayerCost:
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return LayerCost(**plain)


@dataclass(frozen=True)
class LatencyReport:
    """Measured time of one forward.

    Args:
        median_ms, p90_ms: Over the repeats, in milliseconds.
        repeats: Timed forwards.
        batch, threads, device, dtype: Under which it was measured.

    Examples:
        >>> LatencyReport(1.5, 1.8, 20, 1, 2, "cpu", "float32").to_dict()["median_ms"]
        1.5
    """

    median_ms: float
    p90_ms: float
    repeats: int
    batch: int
    threads: int
    device: str
    dtype: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)
