"""List the layers of a model before it is compressed: their kind, their cost, and why some must stay dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from nes_lab.cost.calls import recording_calls
from nes_lab.cost.count import count, tensor_counts
from nes_lab.cost.example_input import describe_input
from nes_lab.execution.base import LayerOp
from nes_lab.nn.kinds import BASES, kind_of, layer_op
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.model_checks import check_copyable, check_module
from nes_lab.nn.reparameterize import reparameterize_first
from nes_lab.planning.dense_rules import Replaceable, dense_context, dense_reason, replaceable
from nes_lab.planning.other_weights import other_weights
from nes_lab.records.cost_report import CostReport
from nes_lab.records.counts import Counts, total
from nes_lab.records.example_input import InputPart
from nes_lab.records.options import PlanOptions

__all__ = ["Survey", "SurveyedLayer", "run_and_list", "survey", "with_reasons"]


@dataclass(frozen=True)
class SurveyedLayer:
    """A module of a model that holds a weight matrix.

    Args:
        index: Index of the layer in the survey (the list of the model's layers).
        name: Name of the module in the model. If a module has several names, this is the first one.
        module: The module.
        kind: Kind of epitome layer that can replace the module (:mod:`nes_lab.nn.kinds`). If there is none, the name of
            the module's class.
        op: What the module computes with its weight, such as a convolution.
        dense: Params, multiply-adds and stored bytes of the dense module.
        calls: Shape of the module's input in each of its calls during one forward pass.
        parameter: Name of the weight matrix.
        is_layer: False if the module is not a linear layer or convolution (attention, recurrent layers, embeddings).
        bypassed: True if a parent module uses the weight without calling this module.
        replaceable: Whether an epitome layer can replace the module: ``"yes"``, ``"if_named"`` (only if the option ``include`` or
            ``overrides`` names it) or ``"never"``.
        reason: Why the layer stays dense; empty if it may be replaced.
    """

    index: int
    name: str
    module: nn.Module
    kind: str
    op: LayerOp
    dense: Counts
    calls: tuple[tuple[int, ...], ...] = ()
    parameter: str = "weight"
    is_layer: bool = True
    bypassed: bool = False
    replaceable: Replaceable = "yes"
    reason: str = ""

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the layer's weight; empty if the module stores no weight."""
        weight = getattr(self.module, self.parameter, None)
        return tuple(weight.shape) if weight is not None else ()

    @property
    def positions(self) -> tuple[int, int]:
        """Return two counts, each summed over all calls of the layer: input positions that are read, and output positions.

        A position is one place along the spatial axes, such as a pixel.
        """
        pairs = [self.op.positions(shape) for shape in self.calls]
        return sum(p[0] for p in pairs), sum(p[1] for p in pairs)


@dataclass(frozen=True)
class Survey:
    """The layers of a model that have a weight matrix, in module order, and the costs of the dense model.

    Args:
        layers: The layers.
        report: The costs of the dense model.
        notes: Remarks on the model for the user of a plan.
        example_input: Description of the input that the model ran on.
    """

    layers: tuple[SurveyedLayer, ...]
    report: CostReport
    notes: tuple[str, ...] = ()
    example_input: InputPart | None = None

    @property
    def dense(self) -> Counts:
        """Counts of the dense model: params, multiply-adds and stored bytes."""
        return self.report.counts


def survey(model: nn.Module, example_input: Any, options: PlanOptions | None = None) -> Survey:
    """Run a model once and list its layers: the cost of each layer, and the reason if it stays dense.

    Args:
        model: The dense model; it is not changed.
        example_input: Input of one forward pass: a tensor, a tuple of arguments or a dict of keyword arguments.
        options: Options of planning; None takes the defaults. They can name layers to replace or to keep dense.

    Raises:
        OptionError: If a pattern matches no layer (the message suggests the closest names), a setting of ``overrides`` is wrong,
            or the model cannot be looked into or copied (:mod:`nes_lab.nn.model_checks`).

    Examples:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.Embedding(4, 8))
        >>> [(layer.name, layer.replaceable) for layer in survey(model[:1], torch.zeros(1, 8)).layers]
        [('0', 'yes')]
    """
    return with_reasons(run_and_list(model, example_input), model, options or PlanOptions())


def run_and_list(model: nn.Module, example_input: Any) -> Survey:
    """Run a model once and list its layers with their costs, without the reasons why some stay dense.

    This part of :func:`survey` does not depend on the options of planning.

    Args:
        model: The dense model; it is not changed.
        example_input: Input of one forward pass: a tensor, a tuple of arguments or a dict of keyword arguments.

    Raises:
        OptionError: If the model cannot be looked into or copied (:mod:`nes_lab.nn.model_checks`).
    """
    check_module(model, "planning")
    check_copyable(model, "compress")
    with recording_calls(module for module in model.modules() if _is_layer(module)) as calls:
        report = count(model, example_input)
    layers = _list_layers(model, report, calls)
    notes = tuple(filter(None, [reparameterize_first(model)]))
    return Survey(tuple(layers), report, notes, describe_input(example_input))


def with_reasons(surveyed: Survey, model: nn.Module, options: PlanOptions) -> Survey:
    """Return a copy of a survey that says of each layer whether it can be replaced, and why it stays dense.

    Args:
        surveyed: The layers of the model, from :func:`run_and_list`.
        model: The model.
        options: Options of planning. They can name layers to replace or to keep dense.

    Raises:
        OptionError: If a pattern matches no layer (the message suggests the closest names), or a setting of ``overrides`` is wrong.
    """
    context = dense_context(model, surveyed.layers, options)
    layers = [replace(layer, replaceable=replaceable(layer, context)) for layer in surveyed.layers]
    layers = [replace(layer, reason=dense_reason(layer, context)) for layer in layers]
    return replace(surveyed, layers=tuple(layers))


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, (*BASES, nn.modules.conv._ConvTransposeNd))


def _list_layers(
    model: nn.Module, report: CostReport, calls: Mapping[int, Sequence[tuple[int, ...]]]
) -> list[SurveyedLayer]:
    """List all modules that hold a weight matrix, in module order, without the parts of epitome layers."""
    modules = dict(model.named_modules())
    others = {id(module): (name, parameter) for name, module, parameter in other_weights(model)}
    counts = {row.name: row.counts for row in report.by_layer}
    parts = {id(p) for m in modules.values() if isinstance(m, EpitomeLayer) for p in m.modules() if p is not m}
    layers: list[SurveyedLayer] = []
    for name, module in modules.items():
        if id(module) in parts:
            continue
        if _is_layer(module):
            parent = modules.get(name.rpartition(".")[0])
            layer = SurveyedLayer(
                index=len(layers),
                name=name,
                module=module,
                kind=kind_of(module) or type(module).__name__,
                op=layer_op(module) if kind_of(module) else LayerOp(),
                dense=counts.get(name, total([])),
                calls=tuple(calls[id(module)]),
                bypassed=not calls[id(module)] or isinstance(parent, nn.TransformerEncoderLayer),
            )
            layers.append(layer)
        elif id(module) in others:
            shown, parameter = others[id(module)]
            layers.append(_other_weight(len(layers), shown, module, parameter, counts))
    return layers


def _other_weight(
    index: int, name: str, module: nn.Module, parameter: str, counts: Mapping[str, Counts]
) -> SurveyedLayer:
    # the report has no row for a parameter of the model itself
    stored = tensor_counts([getattr(module, parameter)])
    kind, dense = type(module).__name__, counts.get(name, stored)
    return SurveyedLayer(
        index, name, module, kind, LayerOp(), dense, parameter=parameter, is_layer=False, bypassed=True
    )
