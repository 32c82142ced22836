"""CostReport and LatencyReport: the counted and the measured cost of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from nes_lab.records.columns import columns
from nes_lab.records.counts import QUANTITIES, Counts
from nes_lab.records.record import Part, Record
from nes_lab.records.table import Table
from nes_lab.renamed import warn_renamed
from nes_lab.text import format_number, format_shape

__all__ = ["CostReport", "LatencyReport", "LayerCost"]


@dataclass(frozen=True)
class LayerCost(Part):
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
        stored_bytes: Bytes of its parameters and persistent buffers.
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
    stored_bytes: int = 0

    @property
    def counts(self) -> Counts:
        """The quantities that a budget can limit."""
        return _counts(self)


@dataclass(frozen=True)
class CostReport(Record):
    """Params and multiply-adds of a model for one example input; prints as a table.

    Args:
        params: Stored numbers: epitomes, stored starts, biases, norms and all that stays dense; shared tensors once.
        madds: Multiply-adds of convolutions, linear layers and attention products for the whole example input.
        learner_params: Numbers of index learners, a training aid, not part of ``params``.
        stored_bytes: Bytes of all parameters and persistent buffers, each once, as :class:`Counts` has them.
        adds, weight_madds: Totals of the layers' columns.
        input_shape: Of the example input.
        by_layer: Rows with params or madds, in module order.

    Examples:
        >>> report = CostReport(10, 2_000_000, 0, 40, 0, 0, (1, 3), (LayerCost("fc", "Linear", 10, 2_000_000),))
        >>> CostReport.from_dict(report.to_dict()) == report
        True
    """

    NAME = "cost report"
    OLD_NAMES: ClassVar[Mapping[str, str]] = {"bytes": "stored_bytes"}
    SCHEMA = None

    params: int
    madds: int
    learner_params: int
    stored_bytes: int
    adds: int
    weight_madds: int
    input_shape: tuple[int, ...]
    by_layer: tuple[LayerCost, ...]

    @property
    def counts(self) -> Counts:
        """The quantities that a budget can limit."""
        return _counts(self)

    @property
    def bytes(self) -> int:
        """The old name of :attr:`stored_bytes`."""
        warn_renamed("CostReport.bytes", "CostReport.stored_bytes")
        return self.stored_bytes

    def table(self) -> Table:
        """Return one row per layer, with totals."""
        rows = [asdict(layer) for layer in self.by_layer]
        learner = f"index learners (training only): {format_number(self.learner_params)} params"
        return Table(
            columns("name", "kind", "weight_shape", "epitome_shape", *QUANTITIES, "execution"),
            rows,
            total={"name": "total", **asdict(self.counts)},
            after=[f"input {format_shape(self.input_shape)}", *([learner] if self.learner_params else [])],
        )


def _counts(cost: LayerCost | CostReport) -> Counts:
    return Counts(**{name: getattr(cost, name) for name in QUANTITIES})


@dataclass(frozen=True)
class LatencyReport(Record):
    """Measured time of one forward.

    Args:
        median_ms, p90_ms: Over the repeats, in milliseconds.
        repeats: Timed forwards.
        batch, threads, device, dtype: Under which it was measured.

    Examples:
        >>> LatencyReport(1.5, 1.8, 20, 1, 2, "cpu", "float32").to_dict()["median_ms"]
        1.5
    """

    NAME = "latency report"
    SCHEMA = None

    median_ms: float
    p90_ms: float
    repeats: int
    batch: int
    threads: int
    device: str
    dtype: str

    def table(self) -> Table:
        """Return one row."""
        return Table(columns(*(field.name for field in fields(self))), [asdict(self)])
