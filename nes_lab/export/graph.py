"""Prepare a model for tracing.

The epitome layers become plain layers, or layers made of operations that every runtime computes fast.
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn

from nes_lab.cost.probe import evaluating, in_mode, run_example
from nes_lab.epitome.taps import AxisTaps
from nes_lab.errors import check_choice
from nes_lab.execution.base import Execution, LayerOp, Prepared, scale_channels
from nes_lab.execution.registry import EXECUTIONS, plain_execution
from nes_lab.export.example import ExampleInput
from nes_lab.export.flat_weight import FlatWeight
from nes_lab.export.gathers import BlendedExpansion, FoldByGathers, JointWeight
from nes_lab.nn.bake import bake
from nes_lab.nn.copy_network import copy_network
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.records.options import ExportForm
from nes_lab.surgery.carry_over import copy_with_replacements
from nes_lab.surgery.replace import materialize

__all__ = ["FORMS", "GraphLayer", "choose_executions_", "prepare_for_export"]

FORMS = get_args(ExportForm)


def prepare_for_export(model: nn.Module, form: ExportForm) -> nn.Module:
    """Return a copy of a model in evaluation mode, ready to be traced.

    Args:
        model: Any module; it does not change.
        form: ``"materialized"``: epitome layers become plain layers. ``"factored"``: epitome layers stay, and their
            starts (positions of patches) are fixed at the present values. Each layer keeps its execution (the way it
            computes its output). A layer with ``execution="auto"`` uses the execution with the fewest multiply-adds for
            the traced input.

    Raises:
        OptionError: If ``form`` is not known.
    """
    check_choice("form", form, FORMS)
    if form == "materialized":
        return in_mode(materialize(model))
    copied = in_mode(copy_network(bake(model)))
    for module in list(copied.modules()):
        if isinstance(module, EpitomeLayer):
            module.freeze()
            if module.epitome_dtype != "float":
                module.epitome.data = (
                    module.cells().detach()
                )  # graphs do not round; layers that share it keep sharing it
    return copy_with_replacements(copied, _graph_layer)


def _graph_layer(name: str, module: nn.Module) -> nn.Module | None:
    """Return the layer to trace in place of an epitome layer; None for others, also for those with standardized weights."""
    if not isinstance(module, EpitomeLayer) or type(module).forward is not EpitomeLayer.forward:
        return None
    return GraphLayer(module)


def choose_executions_(graph: nn.Module, example: ExampleInput) -> None:
    """Run a model from :func:`prepare_for_export` once, so that its epitome layers choose their executions for this input.

    Nothing else in the model changes.
    """
    layers = [module for module in graph.modules() if isinstance(module, GraphLayer)]
    arguments = dict(example.kwargs) or example.args
    with evaluating(graph, arguments), torch.inference_mode(False):
        run_example(graph, arguments)
        chosen = [layer.chosen_execution for layer in layers]
    for layer, execution in zip(layers, chosen, strict=True):
        layer.chosen_execution = execution


class GraphLayer(nn.Module):
    """Computes an epitome layer in an exported graph. The positions of its patches (starts) are fixed.

    It uses small constant index tables and no scatter operations.

    Args:
        layer: An epitome layer whose starts no longer change; its parameters are used, not copied.

    Shape:
        - input and output have the same shapes as those of ``layer``
    """

    scale: Tensor | None

    def __init__(self, layer: EpitomeLayer) -> None:
        super().__init__()
        vars(self).update({name: value for name, value in vars(layer).items() if isinstance(value, int | str | tuple)})
        self.epitome, self.bias = layer.epitome, layer.bias
        self.register_buffer("scale", layer.scale)
        self._layer = (layer,)  # in a tuple it is not a submodule, so its tensors are not exported a second time
        self.chosen_execution: Execution | None = None
        makes = {"joint": JointWeight, "flat": FlatWeight}.get(layer.geometry.scope)
        self.joint = None if makes is None else makes(layer)
        taps = layer.taps() if self.joint is None else []
        self._cells = [None if t is None else (t.cells, t.slices) for t in taps]
        for axis, t in enumerate(taps):
            for name in ("lower", "upper", "frac"):
                value = None if t is None else getattr(t, name)
                value = None if value is None else value.detach().clone()
                self.register_buffer(f"{name}_{axis}", value, persistent=False)
        self.rounds = FoldByGathers(taps[1]) if taps and taps[1] is not None else None
        blended = taps[0] if taps and taps[0] is not None and taps[0].fractional else None
        self.blend = None if blended is None else BlendedExpansion(blended, layer.scale)
        self.train(layer.training)

    def _taps(self) -> list[AxisTaps | None]:
        taps: list[AxisTaps | None] = []
        for axis, known in enumerate(self._cells):
            parts = [getattr(self, f"{name}_{axis}") for name in ("lower", "upper", "frac")]
            taps.append(None if known is None else AxisTaps(parts[0], known[0], parts[1], parts[2], known[1]))
        return taps

    @property
    def weight(self) -> Tensor:
        """The layer's weight, sampled from its epitome.

        The layer needs this attribute, because some modules read the weight of a layer instead of calling the layer.
        """
        if self.joint is not None:
            return scale_channels(self.joint(self.epitome), self.scale)
        execution = EXECUTIONS["materialize"]
        return execution.prepare(self.epitome, self._taps(), self._layer[0].geometry, self.scale).weight

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the epitome layer. The first call chooses the execution (the way to compute the output)."""
        layer, op = self._layer[0], self._layer[0].op
        if self.chosen_execution is None:
            self.chosen_execution = plain_execution(layer.resolved_execution(tuple(x.shape)))
        if self.chosen_execution.name == "materialize":
            return op(x, self.weight, self.bias)
        taps = self._taps()
        weight = self.chosen_execution.prepare(self.epitome, taps, layer.geometry, self.scale).weight
        if self.rounds is not None:
            x, op = op.skip_unread(x)
            x, taps[1] = _fold_groups(x, self.rounds, op), None
        if self.blend is None or self.chosen_execution.name != "factored":
            return self.chosen_execution.run(x, Prepared(weight, taps), op, self.scale, self.bias)
        y = self.chosen_execution.run(x, Prepared(weight, [None] * len(taps)), op, None, None)
        y = self.blend(y, y.ndim + op.channel_dim)
        return y if self.bias is None else y + self.bias.view(-1, *[1] * op.spatial)


def _fold_groups(x: Tensor, fold: nn.Module, op: LayerOp) -> Tensor:
    dim = x.ndim + op.channel_dim
    if op.groups == 1:
        return fold(x, dim)
    grouped = x.unflatten(dim, (op.groups, -1))
    return fold(grouped, dim + 1).flatten(dim, dim + 1)
