"""Looking over a model before compressing it: which layers there are, what they cost, which stay dense and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from nes_lab.compress.compression_plan import Counts
from nes_lab.cost.count import count, counting_kernels, evaluating, run_example
from nes_lab.cost.report import CostReport
from nes_lab.errors import OptionError, closest
from nes_lab.execution.base import LayerOp

__all__ = ["KINDS", "Survey", "SurveyedLayer", "survey"]

KINDS: dict[type[nn.Module], str] = {nn.Conv1d: "conv1d", nn.Conv2d: "conv2d", nn.Linear: "linear"}
"""Layer types that are replaced: exactly these, no subclasses."""

_SQUEEZE = ("squeezeexcit", "semodule", "sqexcit")


@dataclass
class SurveyedLayer:
    """A layer with a weight matrix, as found in a model.

    Args:
        name: Its first name in the model.
        module: The layer.
        kind: ``conv1d``, ``conv2d``, ``linear``, or the class name of what is never replaced.
        op: Its operation.
        calls: Shape of the input of each call.
        reason: Why it stays dense; empty when it may be replaced.
        asked_only: Whether an ``include`` pattern may overrule the reason.
        bypassed: A parent uses its weight without calling it, so it always runs materialized.
    """

    name: str
    module: nn.Module
    kind: str
    op: LayerOp
    calls: list[tuple[int, ...]] = field(default_factory=list)
    reason: str = ""
    asked_only: bool = False
    bypassed: bool = False

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of its weight."""
        weight = getattr(self.module, "weight", None)
        return tuple(weight.shape) if weight is not None else ()

    @property
    def positions(self) -> tuple[int, int]:
        """Input positions read and output positions, over all calls."""
        pairs = [self.op.positions(shape) for shape in self.calls]
        return sum(p[0] for p in pairs), sum(p[1] for p in pairs)

    def dense(self, report: CostReport) -> Counts:
        """Its counts in a report of the dense model."""
        row = next((r for r in report.by_layer if r.name == self.name), None)
        return Counts(0, 0) if row is None else Counts(row.params, row.madds)


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
        include: Name patterns (``"blocks.*.conv_pw"``); only these are replaced, also those that stay dense by default.
        exclude: Name patterns that stay dense.

    Raises:
        OptionError: If a pattern matches no layer; gives the closest names.
    """
    report = count(model, example_input)
    layers = [_describe(name, module) for name, module in model.named_modules() if _has_matrix(module)]
    _record_calls(model, example_input, layers)
    _mark_dense(model, layers)
    _apply_patterns(layers, _patterns("include", include), _patterns("exclude", exclude))
    return Survey(tuple(layers), report)


def _has_matrix(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear | nn.modules.conv._ConvTransposeNd)


def _describe(name: str, module: nn.Module) -> SurveyedLayer:
    kind = KINDS.get(type(module))
    if kind is None:
        base = next((b.__name__ for b in KINDS if isinstance(module, b)), None)
        what = f"a subclass of {base}" if base else "of a kind without an epitome layer"
        reason = f"{type(module).__name__} is {what}; only Conv1d, Conv2d and Linear themselves are replaced"
        return SurveyedLayer(name, module, type(module).__name__, LayerOp(), reason=reason)
    if isinstance(module, nn.Linear):
        return SurveyedLayer(name, module, kind, LayerOp())
    assert isinstance(module, nn.Conv1d | nn.Conv2d)  # the only other kinds
    op = LayerOp(module.kernel_size, module.stride, module.padding, module.dilation, module.groups)
    return SurveyedLayer(name, module, kind, op)


def _record_calls(model: nn.Module, example_input: Any, layers: list[SurveyedLayer]) -> None:
    def watch(layer: SurveyedLayer) -> Any:
        return lambda module, args, output: layer.calls.append(tuple(args[0].shape))

    handles = [layer.module.register_forward_hook(watch(layer)) for layer in layers]
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
        if layer.reason:
            continue
        layer.reason = _default_dense(layer, squeezes, declared)
        layer.asked_only = bool(layer.reason)


def _cannot(layer: SurveyedLayer, users: dict[int, list[str]]) -> str:
    """Why a layer can never be replaced, or nothing."""
    module = layer.module
    if getattr(module, "padding_mode", "zeros") != "zeros":
        return f"padding_mode={module.padding_mode!r}; epitome layers pad with zeros only"
    weight = module._parameters.get("weight")
    if weight is None:
        return "its weight is computed by a hook or parametrization (weight_norm and the like), not stored"
    others = [user for user in users[id(weight)] if user != layer.name]
    if others:
        return f"its weight is tied to that of {others[0]!r}"
    if not weight.is_floating_point():
        return f"its weight is {weight.dtype}, not floating point"
    return ""


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
    names = [layer.name for layer in layers]
    for argument, patterns in (("include", include), ("exclude", exclude)):
        for pattern in patterns or ():
            if not any(fnmatchcase(name, pattern) for name in names):
                raise OptionError(f"{argument}={pattern!r} matches no layer of the model.{closest(pattern, names)}")
    for layer in layers:
        if include and _matches(layer.name, include):
            layer.reason = "" if layer.asked_only else layer.reason
        elif include and not layer.reason:
            layer.reason = "not among the patterns of include="
        if exclude and _matches(layer.name, exclude):
            layer.reason = "excluded by a pattern of exclude="


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
