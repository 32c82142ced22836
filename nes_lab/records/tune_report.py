"""TuneReport: the measured time of each layer with each execution plan (way to compute the layer), and the chosen plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nes_lab.errors import PlanError
from nes_lab.records.columns import columns, ms_as
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.records.layer_plan import LayerPlan
from nes_lab.records.options import ExecutionOption
from nes_lab.records.record import Part, Record
from nes_lab.records.spread import Ratio
from nes_lab.records.table import Table
from nes_lab.text import format_number, list_some

__all__ = ["LayerTuning", "TuneKey", "TuneReport"]

_NOTE = "executions tuned on "


@dataclass(frozen=True)
class TuneKey(Part):
    """The conditions under which execution plans (ways to compute a layer) were timed.

    Args:
        device: Model of the GPU or processor.
        dtype: Type of the weights' numbers. With autocast, it is the word ``autocast`` and the type that autocast uses.
        input_shape: Shape of the example input, including the batch axis.
        memory_format: Memory format of the layers' inputs: ``contiguous`` or ``channels_last``.
        threads: Number of threads that torch uses on the CPU.
        torch: Version of torch.
    """

    device: str
    dtype: str
    input_shape: tuple[int, ...]
    memory_format: str
    threads: int
    torch: str

    @property
    def batch(self) -> int:
        """Batch size: length of the first axis of the example input."""
        return self.input_shape[0] if self.input_shape else 1

    def __str__(self) -> str:
        what = f"{self.dtype}, input {self.input_shape}, {self.memory_format}"
        return f"{self.device}, {what}, {self.threads} threads, torch {self.torch}"


@dataclass(frozen=True)
class LayerTuning(Part):
    """Times of one epitome layer with each execution plan (way to compute the layer), and the chosen execution plan.

    Args:
        name: Name of the layer in the model.
        weight_shape, epitome_shape, patch_channels, scope, boundary, routing: Shapes and options of the layer.
        calls: Number of calls of the layer in one forward pass. The number is 0 if the model does not call the layer.
        times_ms: Name of each execution plan -> time of all calls in one forward pass, in milliseconds (median).
        madds: Name of each execution plan -> multiply-adds of all calls in one forward pass.
        execution: Name of the chosen execution plan. If nothing was timed, the layer keeps its execution plan.
        reason: Why this execution plan was chosen.
        quartiles_ms: Name of each execution plan -> lower and upper quartile of its times, in milliseconds: half of the rounds
            lie between them. Empty in reports of older versions.
    """

    name: str
    weight_shape: tuple[int, ...]
    epitome_shape: tuple[int, ...]
    patch_channels: tuple[int, int]
    scope: str
    boundary: str
    routing: str
    calls: int
    times_ms: Mapping[str, float]
    madds: Mapping[str, int]
    execution: ExecutionOption
    reason: str
    quartiles_ms: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def differs(self, plan: LayerPlan) -> str:
        """Describe the first shape or option in which this layer differs from its plan; return an empty string if they agree."""
        for part in ("weight_shape", "epitome_shape", "patch_channels", "scope", "boundary", "routing"):
            tuned, planned = getattr(self, part), getattr(plan, part)
            if tuned != planned:
                return f"{self.name!r} has {part}={planned!r} in the plan and {tuned!r} here"
        return ""


@dataclass(frozen=True, repr=False)
class TuneReport(Record):
    """Result of tuning a network: how fast each epitome layer is with each way to compute it, and which way was chosen.

    Args:
        key: Conditions of the measurement, such as the device. Under other conditions, other execution plans may be faster.
        layers: Times and chosen execution plans (ways to compute a layer), in module order.
        tuned_ms, materialized_ms: Median time of one forward pass in milliseconds: of the tuned network, and of the
            materialized network. :func:`nes_lab.materialize` makes the materialized network, which has ordinary dense layers.
        ratio: Time of the tuned network / time of the materialized network (median over the rounds). It is at most 1, except if
            ``materialize`` was chosen for every timed layer. It can then be a little larger.
        ratio_quartiles: Lower and upper quartile of this ratio: half of the rounds lie between them.
        rounds: Number of timed forward passes of each network.
        seconds: Duration of tuning, in seconds.
        madds_before, madds_after: Multiply-adds of the complete network for the example input, with the executions that it had
            before and with the chosen ones. None in reports of older versions.
        keep_madds: True: no layer was given an execution with more multiply-adds than it had.
        ratio_error: Standard error of the ratio. None in reports of older versions.

    Examples:
        >>> import torch, nes_lab
        >>> model = torch.nn.Sequential(nes_lab.EpitomeLinear(64, 64, epitome_shape=(32, 32)))
        >>> report = nes_lab.tune(model, torch.zeros(1, 64), seconds=0.1)
        >>> report.layers[0].name, report.executions["0"] in report.layers[0].times_ms
        ('0', True)
        >>> nes_lab.TuneReport.from_json(report.to_json()) == report
        True
    """

    NAME = "tuning report"

    key: TuneKey
    layers: tuple[LayerTuning, ...]
    tuned_ms: float
    materialized_ms: float
    ratio: float
    ratio_quartiles: tuple[float, float]
    rounds: int
    seconds: float
    madds_before: int | None = None
    madds_after: int | None = None
    keep_madds: bool = False
    ratio_error: float | None = None

    @property
    def comparison(self) -> Ratio | None:
        """Ratio of the times of the tuned and the materialized network, with its spread; None in reports of older versions."""
        if self.ratio_error is None:
            return None
        return Ratio(self.ratio, self.ratio_error, *self.ratio_quartiles, self.rounds)

    @property
    def keep_madds_ms(self) -> float:
        """Milliseconds per forward pass that ``keep_madds`` costs: the sum over the layers that would be faster otherwise."""
        timed = [x for x in self.layers if x.execution in x.times_ms] if self.keep_madds else []
        return sum(
            x.times_ms[x.execution] - min(x.times_ms.values())
            for x in timed
            if x.madds[min(x.times_ms, key=lambda name, x=x: x.times_ms[name])] > x.madds[x.execution]
        )

    @property
    def executions(self) -> dict[str, ExecutionOption]:
        """Name of each timed layer -> name of its chosen execution plan (way to compute the layer)."""
        return {layer.name: layer.execution for layer in self.layers if layer.times_ms}

    def apply(self, plan: CompressionPlan) -> CompressionPlan:
        """Return a copy of the compression plan in which each layer has its chosen execution plan (way to compute the layer).

        The multiply-adds of the copy are those of the chosen execution plans. A note in the copy names the device and the
        other conditions of the measurement.

        Plans of older versions do not record the multiply-adds of each execution plan. If such a plan is for an input of
        another size than the measurement, its multiply-adds stay the same. The note then says so.

        Raises:
            PlanError: If the compression plan is for another model; the message names the layers that differ.
        """
        self._check(plan)
        note = f"{_NOTE}{self.key}"
        if not all(plan.layers[name].executions for name in self.executions):
            madds = self._madds(plan)
            if madds is None:
                note += f"; multiply-adds are those predicted before, as the plan is for an input of {plan.input_shape}"
            else:
                plan = _with_madds(plan, madds)
        kept = tuple(n for n in plan.notes if not n.startswith(_NOTE))
        return replace(plan.with_execution(self.executions), notes=(*kept, note))

    def _check(self, plan: CompressionPlan) -> None:
        if not isinstance(plan, CompressionPlan):
            raise PlanError(f"plan is a {type(plan).__name__}; apply takes a CompressionPlan")
        tuned = {layer.name: layer for layer in self.layers}
        wrong = [f"{name!r} is not in the plan" for name in tuned if name not in plan.layers]
        wrong += [f"{name!r} was not tuned" for name in plan.layers if name not in tuned]
        wrong += [d for name, p in plan.layers.items() if name in tuned and (d := tuned[name].differs(p))]
        if wrong:
            raise PlanError("the report was made for another model than the plan: " + list_some(wrong, 3))

    def _madds(self, plan: CompressionPlan) -> dict[str, int] | None:
        """Return the multiply-adds of each timed layer, for the input for which the compression plan was made.

        The multiply-adds for the timed input are known. They are converted to the batch size of the plan. Return None if this
        is impossible because the plan was made for examples of another shape.
        """
        if plan.input_shape[1:] != self.key.input_shape[1:] or not plan.input_shape:
            return None
        timed = {layer.name: layer.madds[layer.execution] for layer in self.layers if layer.times_ms}
        scaled = {name: divmod(madds * plan.input_shape[0], self.key.batch) for name, madds in timed.items()}
        return (
            None if any(rest for _, rest in scaled.values()) else {name: whole for name, (whole, _) in scaled.items()}
        )

    def __repr__(self) -> str:
        times = f"{self.tuned_ms:.3f} ms tuned, {self.materialized_ms:.3f} ms materialized, ratio {self.ratio:.3f}"
        return f"TuneReport: {len(self.layers)} layers; {times}"

    def table(self) -> Table:
        """Return the tuning report as a table: one row per layer, with all its times and its chosen execution plan.

        An execution plan is a way to compute the layer.
        """
        names = list(dict.fromkeys(name for layer in self.layers for name in layer.times_ms))
        rows = [
            {"name": x.name, "choice": x.execution, "why": x.reason} | {f"ms_{n}": ms for n, ms in x.times_ms.items()}
            for x in self.layers
        ]
        shown = (*columns("name"), *map(ms_as, names), *columns("choice", "why"))
        return Table(shown, rows, after=self._lines())

    def _madds_line(self) -> str:
        if self.madds_before is None or self.madds_after is None:
            return ""
        line = f"multiply-adds: {format_number(self.madds_before)} before, {format_number(self.madds_after)} now"
        if not self.keep_madds:
            return line if self.madds_after <= self.madds_before else f"{line}; keep_madds=True would keep them"
        return f"{line}, kept; this costs about {self.keep_madds_ms:.3f} ms" if self.keep_madds_ms else f"{line}, kept"

    def _lines(self) -> tuple[str, ...]:
        low, high = self.ratio_quartiles
        whole = f"{self.tuned_ms:.3f} ms tuned, {self.materialized_ms:.3f} ms materialized"
        ratio = f"ratio {self.ratio:.3f}, half of {self.rounds} rounds in {low:.3f} to {high:.3f}"
        if self.comparison is not None:
            ratio = self.comparison.words("tuned", "materialized")
        lines = (self._madds_line(), f"network: {whole}; {ratio}", f"on {self.key}")
        return tuple(line for line in lines if line)


def _with_madds(plan: CompressionPlan, madds: Mapping[str, int]) -> CompressionPlan:
    chosen = {name: plan.layers[name] for name in madds}
    return plan.with_layers(
        {name: replace(p, predicted=replace(p.predicted, madds=madds[name])) for name, p in chosen.items()}
    )
