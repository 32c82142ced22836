"""CostReport and LatencyReport: the counted cost and the measured time of a model.

Tests: tests/cost/test_count.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal

from nes_lab.records.columns import columns
from nes_lab.records.counts import QUANTITIES, Counts, total
from nes_lab.records.record import Part, Record
from nes_lab.records.spread import Ratio, ratio_of_times
from nes_lab.records.table import Table, merge_rows
from nes_lab.renamed import warn_renamed
from nes_lab.text import format_number, format_shape, format_share

__all__ = ["CostReport", "LatencyReport", "LatencyReports", "LayerCost", "NotCounted", "gaps_text"]


@dataclass(frozen=True)
class LayerCost(Part):
    """Params, multiply-adds and bytes of one layer: a row of a :class:`CostReport`.

    Args:
        name: Name of the module; ``""`` for the model itself.
        kind: Class of the module.
        params: Number of params that the module stores, without those of its children.
        madds: Multiply-adds of all calls of the module in one forward pass of the model.
        adds: Number of copies and additions in an epitome layer whose patches begin at whole epitome cells; they are
            not part of ``madds``.
        weight_madds: Multiply-adds to sample the weight from the epitome. They are not part of ``madds``, because the copy that
            :func:`nes_lab.for_inference` makes samples the weight once.
        learner_params: Number of params of the layer's index learner (the network that predicts starts), which is dropped after
            training.
        execution: Name of the execution plan (way to compute the layer) that the layer used; None for layers without an
            epitome.
        weight_shape, epitome_shape: Shapes of the weight and of the epitome; None if the module does not have one.
        stored_bytes: Bytes of the module's parameters and persistent buffers.
        dense: Counts of the dense layer that an epitome layer stands for. None for other modules, and in JSON of older versions.
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
    dense: Counts | None = None

    @property
    def counts(self) -> Counts:
        """Params, multiply-adds and stored bytes of the layer."""
        return _counts(self)


@dataclass(frozen=True)
class NotCounted(Part):
    """A module with a quantity that could not be counted.

    Args:
        name: Name of the module; ``""`` for the model itself.
        kind: Class of the module.
        quantity: ``"params"`` (numbers that are not tensors of torch, and their bytes) or ``"madds"`` (products with the module's
            weights).
        reason: Why the quantity could not be counted.
    """

    name: str
    kind: str
    quantity: Literal["params", "madds"]
    reason: str

    def __str__(self) -> str:
        return gaps_text([self])


def gaps_text(gaps: Sequence[NotCounted]) -> str:
    """Return what could not be counted as text; modules with the same reason are named together.

    Examples:
        >>> gaps_text([NotCounted(name, "Own", "madds", "my::op has no formula") for name in "ab"])
        'madds of a (Own), b (Own): my::op has no formula'
    """
    names: dict[tuple[str, str], list[str]] = {}
    for gap in gaps:
        names.setdefault((gap.quantity, gap.reason), []).append(f"{gap.name or 'the model itself'} ({gap.kind})")
    return "; ".join(f"{quantity} of {', '.join(modules)}: {reason}" for (quantity, reason), modules in names.items())


@dataclass(frozen=True, repr=False)
class CostReport(Record):
    """Params and multiply-adds of a model for one example input, in total and by layer; ``print`` shows a table.

    Args:
        params: Number of stored params: those of epitomes, stored starts (positions of patches), biases, norms and
            dense layers. Shared tensors count once.
        madds: Multiply-adds of convolutions, linear layers and attention products for the complete example input.
        learner_params: Number of params of index learners (networks that predict starts during training); not part of
            ``params``.
        stored_bytes: Bytes of all parameters and persistent buffers except those of index learners. Shared tensors count once.
        adds: Number of copies and additions in epitome layers whose patches begin at whole epitome cells; they are not
            part of ``madds``.
        weight_madds: Multiply-adds to sample the weights from the epitomes. They are not part of ``madds``, because the copy that
            :func:`nes_lab.for_inference` makes samples the weights once.
        input_shape: Shape of the example input.
        by_layer: Costs of the modules that have params or multiply-adds, in module order.
        not_counted: Modules with a quantity that could not be counted; the totals lack it. Empty in JSON of older versions.

    Examples:
        >>> import torch, nes_lab
        >>> report = nes_lab.count(torch.nn.Linear(64, 10), torch.zeros(1, 64))
        >>> report.params, report.madds, report.stored_bytes
        (650, 640, 2600)
        >>> nes_lab.CostReport.from_dict(report.to_dict()) == report
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
    not_counted: tuple[NotCounted, ...] = ()

    @property
    def counts(self) -> Counts:
        """Params, multiply-adds and stored bytes of the model."""
        return _counts(self)

    @property
    def bytes(self) -> int:
        """Old name of :attr:`stored_bytes`: bytes of the model in a file."""
        warn_renamed("CostReport.bytes", "CostReport.stored_bytes")
        return self.stored_bytes

    @property
    def dense(self) -> Counts:
        """Counts of the model with dense layers in place of its epitome layers."""
        return self.counts + total(layer.dense - layer.counts for layer in self.by_layer if layer.dense)

    def rows(self) -> list[dict[str, Any]]:
        """Return the costs as one dict per layer, for tables and figures."""
        return [asdict(layer) | _dense_counts(layer.dense or layer.counts) for layer in self.by_layer]

    def __repr__(self) -> str:
        counts, dense = self.counts, self.dense
        texts = {name: f"{name} {getattr(counts, name):,}" for name in ("params", "madds")}
        for name in texts if dense != counts else ():
            share = format_share(getattr(counts, name), getattr(dense, name))
            texts[name] += f" of {getattr(dense, name):,} ({share})"
        missing = f"; not counted: {gaps_text(self.not_counted)}" if self.not_counted else ""
        return f"CostReport: {', '.join(texts.values())} at input {format_shape(self.input_shape)}{missing}"

    def table(self) -> Table:
        """Return the cost report as a table: one row per layer, and a last row with the totals.

        If the model has epitome layers, more columns show the counts of the dense layers that they replaced.
        """
        dense = any(layer.dense for layer in self.by_layer)
        counts = [key for name in QUANTITIES for key in ((name, f"{name}_dense") if dense else (name,))]
        learner = f"index learners (training only): {format_number(self.learner_params)} params"
        return Table(
            columns("name", "kind", "weight_shape", "epitome_shape", *counts, "execution"),
            self.rows(),
            total={"name": "total", **asdict(self.counts), **_dense_counts(self.dense)},
            after=[
                f"input {format_shape(self.input_shape)}",
                *([learner] if self.learner_params else []),
                *(f"not counted: {gap}" for gap in self.not_counted),
            ],
        )

    def notebook_table(self) -> Table:
        """Return the table that a notebook shows.

        Layers of one kind without multiply-adds are merged into one row. A click below it opens the complete table.
        """
        counts = [key for name in QUANTITIES for key in (name, f"{name}_dense")]
        few = merge_rows(self.rows(), lambda row: "" if row["madds"] else row["kind"], counts)
        table = super().notebook_table()
        shown = [column for column in table.columns if not column.key.startswith("stored_bytes")]
        return replace(table, columns=shown, few=few, after=table.after[1:])


def _dense_counts(dense: Counts) -> dict[str, int]:
    return {f"{name}_dense": getattr(dense, name) for name in QUANTITIES}


def _counts(cost: LayerCost | CostReport) -> Counts:
    return Counts(**{name: getattr(cost, name) for name in QUANTITIES})


@dataclass(frozen=True, repr=False)
class LatencyReport(Record):
    """Measured time of one forward pass of a model.

    Args:
        median_ms, p90_ms: Median and 90th percentile of the times, in milliseconds.
        repeats: Number of timed forward passes.
        batch: Number of examples in the input.
        threads: Number of threads that torch uses on the CPU.
        device: Name of the device on which the model ran.
        dtype: Type of the input's numbers.
        low_ms, high_ms: Lower and upper quartile of the times, in milliseconds: half of the passes lie between them. None in
            reports of older versions.

    Examples:
        >>> import nes_lab
        >>> nes_lab.LatencyReport(1.5, 1.8, 20, 1, 2, "cpu", "float32").to_dict()["median_ms"]
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
    low_ms: float | None = None
    high_ms: float | None = None

    def __repr__(self) -> str:
        where = (
            f"batch {self.batch}, {self.threads} thread{'' if self.threads == 1 else 's'}, {self.device}, {self.dtype}"
        )
        half = "" if self.low_ms is None else f"half of the passes in {self.low_ms:.3f} to {self.high_ms:.3f} ms, "
        times = f"median {self.median_ms:.3f} ms, {half}90th percentile {self.p90_ms:.3f} ms"
        return f"LatencyReport: {times} ({where})"

    def table(self) -> Table:
        """Return the measured time of a model as a table of one row."""
        return Table(columns(*(field.name for field in fields(self))), [asdict(self)])


class LatencyReports(dict[str, LatencyReport]):
    """Measured times of several models: name -> report. A notebook shows them as one table.

    Examples:
        >>> import nes_lab
        >>> report = nes_lab.LatencyReport(1.5, 1.8, 20, 1, 2, "cpu", "float32")
        >>> LatencyReports(dense=report).table().rows[0]["name"]
        'dense'

    Attributes:
        rounds_ms: Name of each model -> its milliseconds in every round. Empty if the rounds are not known.
    """

    rounds_ms: Mapping[str, Sequence[float]] = {}

    def compare(self, name: str, other: str) -> Ratio:
        """Return the time of one model / the time of another, with the spread over the rounds that timed both.

        Examples:
            >>> reports = LatencyReports()
            >>> reports.rounds_ms = {"fused": [1.0, 1.1, 1.0], "dense": [2.0, 2.2, 2.0]}
            >>> reports.compare("fused", "dense").median
            0.5
        """
        return ratio_of_times(self.rounds_ms[name], self.rounds_ms[other])

    def table(self) -> Table:
        """Return the measured times as a table with one row per model."""
        first, *others = columns("name", *(field.name for field in fields(LatencyReport)))
        return Table(
            [replace(first, title="network"), *others],
            [{"name": name, **asdict(report)} for name, report in self.items()],
            after=self._lines(),
        )

    def _lines(self) -> tuple[str, ...]:
        fastest = min(self.rounds_ms, key=lambda name: self[name].median_ms, default="")
        return tuple(self.compare(name, fastest).words(name, fastest) for name in self.rounds_ms if name != fastest)

    def __str__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()
