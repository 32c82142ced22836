"""CompressionPlan: the layers of a model that are replaced, their epitomes, and the counts of the compressed model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from nes_lab.errors import PlanError, closest
from nes_lab.geometry.epitome_geometry import larger_than_weights
from nes_lab.records.budget import Budget
from nes_lab.records.counts import QUANTITIES, Counts, total
from nes_lab.records.example_input import InputPart
from nes_lab.records.layer_plan import Epitome, KeptLayer, LayerPlan
from nes_lab.records.options import ExecutionOption
from nes_lab.records.plan_table import explanation, layer_table, notebook_table
from nes_lab.records.record import Record
from nes_lab.records.table import Table
from nes_lab.text import format_share

__all__ = ["CompressionPlan"]


@dataclass(frozen=True, repr=False)
class CompressionPlan(Record):
    """A compression plan: the layers of a model to replace, their epitomes, and the counts of the compressed model.

    Args:
        layers: Name of each layer to replace -> its plan, in module order.
        kept_layers: Name of each layer that has a weight matrix and is not replaced -> the reason, and the counts of the layer.
        dense, predicted: Counts of the complete model before and after compression.
        budget: Budget that the plan was made for; None if the plan was made from a preset (fixed settings) instead.
        input_shape: Shape of the example input for which multiply-adds are counted.
        notes: Remarks to show to the user, such as that rounding leaves a part of the budget unused.
        order: Names of all layers with a weight matrix, replaced or dense, in module order.
        origin: How the plan was made, as text to show: the strategy or preset and its options.
        latency_ms: Measured time (median) of one forward pass of the compressed model, in milliseconds. None if the budget does
            not limit time. ``notes`` names the device of the measurement.
        file_bytes: Predicted bytes of the folder that :func:`nes_lab.save_pretrained` writes: tensors, header and ``config.json``.
            None if the budget does not limit stored bytes.
        epitomes: Name of each epitome -> its shape, its dtype, its number of cells and its bytes. An epitome has the name of
            the layer that it belongs to. Layers that share an epitome give its name in :attr:`LayerPlan.reads`. An epitome
            that is left out here gets its entry from the layer's plan.
        advice: Sentences on what the tightest limit and the kind of network suggest, from measured accuracies. Empty if there is
            nothing to say.
        snap: Whether learned starts (positions of patches) are rounded to integers permanently when the model is compressed. The
            multiply-adds are those of such starts. False in plans of older versions.
        example_input: Structure, shapes, types and ranges of integers of the example input, without its data. From it,
            :func:`nes_lab.compress` makes an input for its check. None in plans of older versions.

    Raises:
        PlanError: If a layer's ``epitome_shape`` differs from the shape of the epitome that the layer samples from; the message
            names both.

    Examples:
        >>> import torch, nes_lab
        >>> model, x = torch.nn.Sequential(torch.nn.Linear(64, 64)), torch.zeros(1, 64)
        >>> plan = nes_lab.plan_for_budget(model, nes_lab.Budget(params="60%"), x)
        >>> plan.dense.params, plan.predicted.params, plan.layers["0"].epitome_shape
        (4160, 2368, (48, 48))
        >>> nes_lab.CompressionPlan.from_json(plan.to_json()) == plan
        True
    """

    NAME = "compression plan"
    SCHEMA = 2

    layers: Mapping[str, LayerPlan]
    kept_layers: Mapping[str, KeptLayer]
    dense: Counts
    predicted: Counts
    budget: Budget | None
    input_shape: tuple[int, ...]
    notes: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    origin: str = ""
    latency_ms: float | None = None
    file_bytes: int | None = None
    epitomes: Mapping[str, Epitome] = field(default_factory=dict)
    advice: tuple[str, ...] = ()
    snap: bool = False
    example_input: InputPart | None = None

    def __post_init__(self) -> None:
        made = {layer.reads or name: Epitome.of(layer.epitome_shape) for name, layer in self.layers.items()}
        epitomes = made | {name: entry for name, entry in self.epitomes.items() if name in made}
        object.__setattr__(self, "epitomes", epitomes)
        for name, layer in self.layers.items():
            if epitomes[layer.reads or name].shape != layer.epitome_shape:
                raise PlanError(
                    f"layer {name!r} has epitome_shape={layer.epitome_shape} and reads the epitome "
                    f"{layer.reads or name!r} of shape {epitomes[layer.reads or name].shape}; they must be equal"
                )

    @cached_property
    def readers(self) -> dict[str, list[str]]:
        """Name of each epitome -> names of the layers that sample their weights from it, in module order."""
        names = [name for name in (*self.order, *self.layers) if name in self.layers]
        readers: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            readers.setdefault(self.layers[name].reads or name, []).append(name)
        return readers

    def larger_epitomes(self) -> tuple[str, ...]:
        """Return a sentence for each epitome that holds more numbers than all weights that are sampled from it.

        Only sizes that the user gives (``overrides``, a plan from a file) can be so large.
        """
        sentences = []
        for name, readers in self.readers.items():
            weights = [self.layers[reader].weight_shape for reader in readers]
            if sentence := larger_than_weights(self.epitomes[name].shape, weights):
                sentences.append(f"layer {name!r}: {sentence}")
        return tuple(sentences)

    def layer_counts(self, name: str) -> Counts:
        """Return the predicted params, multiply-adds and bytes of a replaced layer.

        If several layers share an epitome, the epitome counts only for the first of them.
        """
        layer = self.layers[name]
        epitome = layer.reads or name
        is_first = self.readers[epitome][0] == name
        return layer.predicted if is_first else layer.predicted - self.epitomes[epitome].counts

    @property
    def kept(self) -> dict[str, str]:
        """Name of each layer that stays dense -> the reason why it does."""
        return {name: layer.reason for name, layer in self.kept_layers.items()}

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict for each layer that has a weight matrix, in module order.

        A dict holds the layer's name, kind and shapes, its counts before and after compression, its execution plan (way to compute
        the layer), and the reason if it stays dense. Tables and figures show these dicts.
        """
        names = self.order or (*self.layers, *self.kept_layers)
        return [self._row(name) for name in names]

    def _row(self, name: str) -> dict[str, Any]:
        layer, kept = self.layers.get(name), self.kept_layers.get(name)
        source = layer or kept
        assert source is not None  # every name in order is in layers or kept_layers
        after = source.dense if layer is None else self.layer_counts(name)
        counts = {name: getattr(after, name) for name in QUANTITIES}
        dense = {f"{name}_dense": getattr(source.dense, name) for name in QUANTITIES}
        execution = layer and layer.resolved_execution
        return {
            "name": name,
            "kind": source.kind,
            "weight_shape": source.weight_shape,
            "epitome_shape": layer and layer.epitome_shape,
            "routing": layer and layer.routing,
            **counts,
            **dense,
            "reason": kept.reason if kept else "",
            "ratio": after.params / source.dense.params if source.dense.params else 1.0,
            "scope": layer and layer.scope,
            "execution": execution,
            "runs": execution,  # the key of older versions
            "executions": dict(layer.executions) if layer else {},
            "unavailable": dict(layer.unavailable) if layer else {},
            "why": layer.why if layer else "",
        }

    def with_execution(self, executions: Mapping[str, ExecutionOption]) -> CompressionPlan:
        """Return a copy of the compression plan with other execution plans (ways to compute a layer) for some layers.

        The multiply-adds are updated. In plans of older versions they stay the same, because the needed numbers are not
        recorded.

        Args:
            executions: Layer name -> name of its new execution plan.

        Raises:
            PlanError: If a name is not a layer of the compression plan, or an execution plan cannot compute its layer; the
                message says why.
        """
        unknown = [name for name in executions if name not in self.layers]
        if unknown:
            raise PlanError(f"layer {unknown[0]!r} is not in the plan.{closest(unknown[0], self.layers)}")
        layers = dict(self.layers)
        for name, execution in executions.items():
            try:
                layers[name] = layers[name].with_execution(execution)
            except PlanError as error:
                raise PlanError(f"layer {name!r}: {error}") from error
        return self.with_layers(layers)

    def with_layers(self, layers: Mapping[str, LayerPlan]) -> CompressionPlan:
        """Return a copy of the compression plan with new plans for some layers; the counts of the model are updated.

        Args:
            layers: Name of each changed layer -> its new plan. Other layers keep their plans.

        Raises:
            PlanError: If a layer's ``epitome_shape`` differs from the shape of the epitome that the layer samples from.
        """
        merged = dict(self.layers) | dict(layers)
        dtypes = {self.layers[n].reads or n: self.epitomes[self.layers[n].reads or n].dtype for n in self.layers}
        owners = {layer.reads or name: layer.epitome_shape for name, layer in reversed(merged.items())}
        epitomes = {name: Epitome.of(shape, dtypes.get(name, "")) for name, shape in owners.items()}
        plan = replace(self, layers=merged, epitomes=epitomes)
        changes = total(plan.layer_counts(n) - self.layer_counts(n) for n in merged)
        return replace(plan, predicted=self.predicted + changes)

    def table(self) -> Table:
        """Return the compression plan as a table: one row per layer, and a last row with the counts of the complete model."""
        counts = {name: getattr(self.predicted, name) for name in QUANTITIES}
        dense = {f"{name}_dense": getattr(self.dense, name) for name in QUANTITIES}
        total = {"name": "complete model"} | counts | dense
        return layer_table(self.rows(), total=total, before=[*str(self).splitlines(), ""])

    def notebook_table(self) -> Table:
        """Return the table that a notebook shows.

        Layers that stay dense for the same reason are merged into one row. A click below it opens the complete table.
        """
        return notebook_table(self.table(), self.rows())

    def explain(self, width: int | None = 120) -> str:
        """Return a table that says why each layer has its epitome shape or stays dense.

        The table also shows the multiply-adds of each way to compute the layer.

        Args:
            width: Largest number of characters in a line. In a wide table, the reasons become numbered notes below the table.
                None: a line may have any length.

        Examples:
            >>> print(CompressionPlan({}, {}, Counts(10, 20), Counts(10, 20), None, (1, 3)).explain().splitlines()[0])
            CompressionPlan (): 0 layers replaced, 0 kept dense
        """
        return explanation(self.rows(), before=[*str(self).splitlines(), ""]).text(width)

    def __repr__(self) -> str:
        share = (self.predicted.params / max(self.dense.params, 1), self.predicted.madds / max(self.dense.madds, 1))
        head = (
            f"CompressionPlan ({self.origin}): {len(self.layers)} layers replaced, {len(self.kept_layers)} kept dense"
        )
        counts = (
            f"params {self.predicted.params:,} of {self.dense.params:,} ({format_share(share[0])}), "
            f"madds {self.predicted.madds:,} of {self.dense.madds:,} ({format_share(share[1])}) at input {self.input_shape}"
        )
        return f"{head}\n{counts}"

    def __str__(self) -> str:
        return "\n".join([repr(self), *self.notes, *(f"advice: {sentence}" for sentence in self.advice)])
