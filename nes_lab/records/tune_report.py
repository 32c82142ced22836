"""What tuning measured and chose: layer by layer, with the conditions it holds under. Torch-free; JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from html import escape
from typing import Any

from nes_lab.errors import PlanError
from nes_lab.records.compression_plan import CompressionPlan, LayerPlan
from nes_lab.records.record import check_schema, load_json
from nes_lab.text import list_some

__all__ = ["LayerTuning", "TuneKey", "TuneReport"]

_SCHEMA = 1
_NOTE = "executions tuned on "


@dataclass(frozen=True)
class TuneKey:
    """The conditions a choice holds under.

    Args:
        device: Model of the GPU or processor.
        dtype: Of the weights; ``autocast`` and the type where autocast is on.
        input_shape: Of the example input, with its batch.
        memory_format: ``contiguous``, or ``channels_last`` where the layers' inputs are.
        threads: Of torch on the CPU.
        torch: Its version.
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
class LayerTuning:
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
        """What makes a layer of a compression plan another one than this, or nothing."""
        for field in ("weight_shape", "epitome_shape", "patch_channels", "scope", "boundary", "routing"):
            mine, its = getattr(self, field), getattr(plan, field)
            if mine != its:
                return f"{self.name!r} has {field}={its!r} in the plan and {mine!r} here"
        return ""


@dataclass(frozen=True)
class TuneReport:
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
        mine = {layer.name: layer for layer in self.layers}
        wrong = [f"{name!r} is not in the plan" for name in mine if name not in plan.layers]
        wrong += [f"{name!r} was not tuned" for name in plan.layers if name not in mine]
        wrong += [d for name, p in plan.layers.items() if name in mine and (d := mine[name].differs(p))]
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

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the schema's number."""
        return {"schema": _SCHEMA, **asdict(self)}

    def to_json(self, indent: int | None = 2) -> str:
        """The report as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    @classmethod
    def from_json(cls, text: str) -> TuneReport:
        """Read :meth:`to_json`.

        Raises:
            PlanError: If it is no JSON, of another schema, or lacks a field; names it.
        """
        return cls.from_dict(load_json(text, "tuning report"))

    @classmethod
    def from_dict(cls, data: Any) -> TuneReport:
        """Read :meth:`to_dict`."""
        data = check_schema(data, "tuning report", _SCHEMA)
        rest = {name: value for name, value in data.items() if name != "schema"}
        try:
            key, layers = (
                TuneKey(**_tuples(rest.pop("key"))),
                tuple(LayerTuning(**_tuples(r)) for r in rest.pop("layers")),
            )
            return cls(key=key, layers=layers, **_tuples(rest))
        except (KeyError, TypeError, AttributeError) as error:
            raise PlanError(f"the tuning report lacks or misnames a field: {error}") from error

    def _rows(self) -> list[tuple[str, ...]]:
        plans = list(dict.fromkeys(name for layer in self.layers for name in layer.times_ms))
        rows = [("layer", *(f"{name} ms" for name in plans), "choice", "reason")]
        for layer in self.layers:
            times = [f"{layer.times_ms[p]:.3f}" if p in layer.times_ms else "" for p in plans]
            rows.append((layer.name or "(model)", *times, layer.execution, layer.reason))
        return rows

    def _lines(self) -> tuple[str, str]:
        low, high = self.ratio_quartiles
        whole = f"{self.tuned_ms:.3f} ms tuned, {self.materialized_ms:.3f} ms materialized"
        ratio = f"ratio {self.ratio:.3f}, half of {self.rounds} rounds in {low:.3f} to {high:.3f}"
        return f"network: {whole}; {ratio}", f"on {self.key}"

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(w) if 0 < i < len(widths) - 2 else cell.ljust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:], rule, *self._lines()])

    def _repr_html_(self) -> str:
        head, *body = [[escape(cell) for cell in row] for row in self._rows()]
        table = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body)
        titles = "".join(f"<th>{cell}</th>" for cell in head)
        lines = "".join(f"<p>{escape(line)}</p>" for line in self._lines())
        return f"<table><thead><tr>{titles}</tr></thead><tbody>{table}</tbody></table>{lines}"


def _with_madds(plan: CompressionPlan, madds: Mapping[str, int]) -> CompressionPlan:
    chosen = {name: plan.layers[name] for name in madds}
    return plan.with_layers(
        {name: replace(p, predicted=replace(p.predicted, madds=madds[name])) for name, p in chosen.items()}
    )


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
