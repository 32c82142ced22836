"""Looking over a model before compressing it: which layers there are, what they cost, which stay dense and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import prod
from typing import Any

from torch import nn

from nes_lab.cost.count import count, counting_kernels, evaluating, input_shape, run_example
from nes_lab.errors import OptionError, closest
from nes_lab.execution.base import LayerOp
from nes_lab.nn.kinds import BASES, kind_of, layer_op, why_not
from nes_lab.planning.other_weights import bare_matrices, bare_reason
from nes_lab.records.cost_report import CostReport
from nes_lab.records.counts import Counts, total

__all__ = ["Survey", "SurveyedLayer", "matching", "survey"]

_SQUEEZE = ("squeezeexcit", "semodule", "sqexcit")


@dataclass
class SurveyedLayer:
    """A layer with a weight matrix, as found in a model.

    Args:
        name: Its first name in the model.
        module: The layer.
        kind: Of its epitome layer (:mod:`nes_lab.nn.kinds`), or the class name of what is never replaced.
        op: Its operation.
        calls: Shape of the input of each call.
        reason: Why it stays dense; empty when it may be replaced.
        asked_only: Whether an ``include`` pattern may overrule the reason.
        asked: Whether one names it.
        never: Whether no epitome layer can stand in for it, whatever is asked.
        bare: Name of the matrix in a module that is no layer with a weight (attention's ``in_proj_weight``).
        bypassed: A parent uses its weight without calling it, so it always runs materialized.
    """

    name: str
    module: nn.Module
    kind: str
    op: LayerOp
    calls: list[tuple[int, ...]] = field(default_factory=list)
    reason: str = ""
    asked_only: bool = False
    asked: bool = False
    never: bool = False
    bypassed: bool = False
    bare: str = ""

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of its weight."""
        weight = getattr(self.module, self.bare or "weight", None)
        return tuple(weight.shape) if weight is not None else ()

    @property
    def positions(self) -> tuple[int, int]:
        """Input positions read and output positions, over all calls."""
        pairs = [self.op.positions(shape) for shape in self.calls]
        return sum(p[0] for p in pairs), sum(p[1] for p in pairs)

    def dense(self, report: CostReport) -> Counts:
        """Its counts in a report of the dense model."""
        row = next((r for r in report.by_layer if r.name == self.name), None)
        if row is None:  # not called and without params of its own, or a parameter of the model itself
            return replace(total([]), params=prod(self.weight_shape) if self.bare else 0)
        return row.counts


@dataclass(frozen=True)
class Survey:
    """All layers with a weight matrix, in module order, and the report of the dense model."""

    layers: tuple[SurveyedLayer, ...]
    report: CostReport


def survey(
    model: nn.Module,
    example_input: Any,
    include: Sequence[str] | str | None = None,
    exclude: Sequence[str] | str | None = None,
) -> Survey:
    """Run a model once and list its layers.

    Args:
        model: Left as it was.
        example_input: As :func:`nes_lab.count` takes it.
        include: Name patterns (``"blocks.*.conv_pw"``) or types (``"Linear"``, ``"conv1d"``); only these are replaced. What a
            pattern names is replaced also where it stays dense by default; a type does not ask for that.
        exclude: Name patterns or types that stay dense.

    Raises:
        OptionError: If a pattern matches no layer; gives the closest names.
    """
    report = count(model, example_input)
    layers = _list_layers(model)
    _record_calls(model, example_input, layers)
    _mark_dense(model, layers)
    _apply_patterns(layers, _patterns("include", include), _patterns("exclude", exclude))
    return Survey(tuple(layers), report)


def _list_layers(model: nn.Module) -> list[SurveyedLayer]:
    """All that holds a matrix, in module order."""
    bare = {id(module): (name, parameter) for name, module, parameter in bare_matrices(model)}
    layers = []
    for name, module in model.named_modules():
        if isinstance(module, (*BASES, nn.modules.conv._ConvTransposeNd)):
            layers.append(_describe(name, module))
        elif id(module) in bare:
            shown, parameter = bare[id(module)]
            reason = bare_reason(module, parameter)
            layers.append(SurveyedLayer(shown, module, type(module).__name__, LayerOp(), reason=reason, bare=parameter))
    return layers


def _describe(name: str, module: nn.Module) -> SurveyedLayer:
    reason = why_not(module)
    if reason:
        return SurveyedLayer(name, module, type(module).__name__, LayerOp(), reason=reason)
    return SurveyedLayer(name, module, kind_of(module) or "", layer_op(module))


def _record_calls(model: nn.Module, example_input: Any, layers: list[SurveyedLayer]) -> None:
    def watch(layer: SurveyedLayer) -> Any:
        return lambda module, args, kwargs, output: layer.calls.append(input_shape((args, kwargs)))

    watched = [layer for layer in layers if not layer.bare]
    handles = [layer.module.register_forward_hook(watch(layer), with_kwargs=True) for layer in watched]
    try:
        with evaluating(model), counting_kernels():
            run_example(model, example_input)
    finally:
        for handle in handles:
            handle.remove()
    parents = dict(model.named_modules())
    for layer in layers:
        parent = parents.get(layer.name.rpartition(".")[0])
        layer.bypassed = not layer.calls or isinstance(parent, nn.TransformerEncoderLayer)


def _mark_dense(model: nn.Module, layers: list[SurveyedLayer]) -> None:
    users = _users_of_weights(model)
    squeezes = [n for n, m in model.named_modules() if any(s in type(m).__name__.lower() for s in _SQUEEZE)]
    declared = dict(_declared(model))
    for layer in layers:
        if not layer.reason:
            layer.reason = _cannot(layer, users)
        layer.never = bool(layer.reason)
        if layer.never:
            continue
        layer.reason = _default_dense(layer, squeezes, declared)
        layer.asked_only = bool(layer.reason)


def _cannot(layer: SurveyedLayer, users: dict[int, list[str]]) -> str:
    """Why a layer can never be replaced in this model, or nothing."""
    others = [user for user in users[id(layer.module.weight)] if user != layer.name]
    return f"its weight is tied to that of {others[0]!r}" if others else ""


def _default_dense(layer: SurveyedLayer, squeezes: list[str], declared: dict[str, str]) -> str:
    """Why a layer stays dense unless asked for, or nothing."""
    if layer.op.groups > 1 and layer.weight_shape[1] == 1:
        return "depthwise: there are no input channels to share, and a weight this small saves nothing"
    for name in squeezes:
        if layer.name == name or layer.name.startswith(f"{name}."):
            return f"squeeze-excite ({name})"
    for name, role in declared.items():
        if layer.name == name or layer.name.startswith(f"{name}."):
            return f"{role}, as the model declares"
    return ""


def _users_of_weights(model: nn.Module) -> dict[int, list[str]]:
    users: dict[int, list[str]] = defaultdict(list)
    for name, module in model.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                users[id(parameter)].append(name)
    return users


def _declared(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Stem and classifier where the model declares them, as timm's do in ``default_cfg``."""
    config = getattr(model, "default_cfg", None) or getattr(model, "pretrained_cfg", None)
    if not config:
        return
    get = config.get if isinstance(config, dict) else lambda key: getattr(config, key, None)
    for key, role in (("first_conv", "stem"), ("classifier", "classifier")):
        names = get(key) or ()
        for name in [names] if isinstance(names, str) else names:
            yield name, role


def _patterns(argument: str, value: Any) -> list[str] | None:
    if value is None:
        return None
    patterns = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else [value]
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise OptionError(f"{argument}={value!r}; give name patterns such as 'blocks.*.conv_pw'")
    return patterns


def _apply_patterns(layers: list[SurveyedLayer], include: list[str] | None, exclude: list[str] | None) -> None:
    taken: set[str] = set()
    for pattern in include or ():
        found, by_type = matching(layers, "include", pattern)
        taken.update(layer.name for layer in found)
        for layer in found:
            layer.asked = layer.asked or not by_type
    for layer in layers:
        if layer.asked and layer.asked_only:
            layer.reason = ""
        elif include and layer.name not in taken and not layer.reason:
            layer.reason = "not among the patterns of include="
    for pattern in exclude or ():
        for layer in matching(layers, "exclude", pattern)[0]:
            layer.reason = "excluded by a pattern of exclude="


def matching(layers: Sequence[SurveyedLayer], argument: str, pattern: str) -> tuple[list[SurveyedLayer], bool]:
    """The layers a user means by a pattern: those whose names match, else those of a type.

    Args:
        layers: Of a survey.
        argument: Its name, for the message.
        pattern: Of names, with ``*`` and the like; where it matches no name, a class name or kind (``"Conv2d"``, ``"conv2d"``).

    Returns:
        The layers, and whether they were found by type.

    Raises:
        OptionError: If it is neither; gives the closest names.
    """
    named = [layer for layer in layers if fnmatchcase(layer.name, pattern)]
    types = {layer.name: (type(layer.module).__name__, layer.kind) for layer in layers}
    typed = [layer for layer in layers if pattern in types[layer.name]]
    if not named and not typed:
        known = [*types, *sorted({name for names in types.values() for name in names})]
        raise OptionError(
            f"{argument}={pattern!r} matches no layer of the model and is no type of one.{closest(pattern, known)}"
        )
    return (named, False) if named else (typed, True)
