"""TuneReport: the measured times of every execution plan of every layer, the choices, and where they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from nes_lab.errors import PlanError
from nes_lab.records.columns import columns, ms_as
from nes_lab.records.compression_plan import CompressionPlan, LayerPlan
from nes_lab.records.record import Part, Record
from nes_lab.records.table import Table
from nes_lab.text import list_some

__all__ = ["LayerTuning", "TuneKey", "TuneReport"]

_NOTE = "executions tuned on "


@dataclass(frozen=True)
class TuneKey(Part):
    """The conditions under which a choice was measured.

    Args:
        device: Model of the GPU or processor.
        dtype: Type of the weights; ``autocast`` and its type if autocast is on.
        input_shape: Shape of the example input, with its batch.
        memory_format: ``contiguous``, or ``channels_last`` if the inputs of the layers are.
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
        """Length of the input's first axis."""
        return self.input_shape[0] if self.input_shape else 1

    def __str__(self) -> str:
        what = f"{self.dtype}, input {self.input_shape}, {self.memory_format}"
        return f"{self.device}, {what}, {self.threads} threads, torch {self.torch}"


@dataclass(frozen=True)
class LayerTuning(Part):
    """One layer's times and the choice.

    Args:
        name: Module name.
        weight_shape, epitome_shape, patch_channels, scope, boundary, routing: What the layer is, to know it again.
        calls: Times the layer is called in one forward; 0: its parent uses its weight, or the input does not reach it.
        times_ms: Median of all its calls in one forward, by execution plan.
        madds: Multiply-adds of these calls, by execution plan.
        execution: The choice; what the layer had before, where nothing was timed.
        reason: Why.
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
    execution: str
    reason: str

    def differs(self, plan: LayerPlan) -> str:
        """Return what differs between this layer and one of a compression plan; empty if nothing does."""
        for field in ("weight_shape", "epitome_shape", "patch_channels", "scope", "boundary", "routing"):
            tuned, planned = getattr(self, field), getattr(plan, field)
            if tuned != planned:
                return f"{self.name!r} has {field}={planned!r} in the plan and {tuned!r} here"
        return ""


@dataclass(frozen=True)
class TuneReport(Record):
    """Times per layer and execution plan, the choices, and the tuned network against the materialized one.

    Args:
        key: The conditions; elsewhere other choices may be faster.
        layers: In module order.
        tuned_ms, materialized_ms: Medians of the whole network, tuned and after :func:`nes_lab.materialize`.
        ratio: Median of tuned / materialized over the rounds. Above 1 only where every timed layer is materialized: what
            remains is a few microseconds of bookkeeping a layer, and noise.
        ratio_quartiles: Half of the rounds lie between.
        rounds: Timed forwards of each network.
        seconds: What tuning took.

    Examples:
        >>> key = TuneKey("a processor", "float32", (1, 64), "contiguous", 2, "2.11")
        >>> shapes = {"weight_shape": (64, 64), "epitome_shape": (32, 64), "patch_channels": (32, 64)}
        >>> how = {"scope": "separable", "boundary": "clamp", "routing": "tiled", "calls": 1}
        >>> times = {"materialize": 0.2, "factored": 0.1}
        >>> counts = {"materialize": 4096, "factored": 2048}
        >>> fc = LayerTuning("fc", **shapes, **how, times_ms=times, madds=counts, execution="factored", reason="fastest")
        >>> report = TuneReport(key, (fc,), 0.4, 0.5, 0.8, (0.75, 0.85), 30, 1.5)
        >>> TuneReport.from_json(report.to_json()) == report
        True
        >>> report.executions
        {'fc': 'factored'}
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

    @property
    def executions(self) -> dict[str, str]:
        """Layer name -> execution plan, of the layers that were timed."""
        return {layer.name: layer.execution for layer in self.layers if layer.times_ms}

    def apply(self, plan: CompressionPlan) -> CompressionPlan:
        """A compression plan that holds the choices, and this report's key among its notes.

        The predicted multiply-adds become those of the chosen execution plans. Where an older version wrote the plan, for an
        input of another size, they cannot be told, and the note says so.

        Raises:
            PlanError: If the plan is for another model; names the layers.
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
        """Multiply-adds of the timed layers at the plan's input, or None where it differs in more than its batch."""
        if plan.input_shape[1:] != self.key.input_shape[1:] or not plan.input_shape:
            return None
        timed = {layer.name: layer.madds[layer.execution] for layer in self.layers if layer.times_ms}
        scaled = {name: divmod(madds * plan.input_shape[0], self.key.batch) for name, madds in timed.items()}
        return (
            None if any(rest for _, rest in scaled.values()) else {name: whole for name, (whole, _) in scaled.items()}
        )

    def table(self) -> Table:
        """Return one row per layer, with its time under every execution plan, and the choice."""
        names = list(dict.fromkeys(name for layer in self.layers for name in layer.times_ms))
        rows = [
            {"name": x.name, "choice": x.execution, "why": x.reason} | {f"ms_{n}": ms for n, ms in x.times_ms.items()}
            for x in self.layers
        ]
        shown = (*columns("name"), *map(ms_as, names), *columns("choice", "why"))
        return Table(shown, rows, after=self._lines())

    def _lines(self) -> tuple[str, str]:
        low, high = self.ratio_quartiles
        whole = f"{self.tuned_ms:.3f} ms tuned, {self.materialized_ms:.3f} ms materialized"
        ratio = f"ratio {self.ratio:.3f}, half of {self.rounds} rounds in {low:.3f} to {high:.3f}"
        return f"network: {whole}; {ratio}", f"on {self.key}"


def _with_madds(plan: CompressionPlan, madds: Mapping[str, int]) -> CompressionPlan:
    chosen = {name: plan.layers[name] for name in madds}
    return plan.with_layers(
        {name: replace(p, predicted=replace(p.predicted, madds=madds[name])) for name, p in chosen.items()}
    )
