"""Rules that keep a layer dense. They are tried in order, and the first one that gives a reason decides.

To add a rule, write a function ``(layer, context) -> reason`` that returns an empty string if the layer may be replaced, and add
it to ``NEVER``, ``UNLESS_NAMED`` or ``RULES``. If it needs facts besides the layer, add a field to :class:`DenseContext`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from torch import nn

from nes_lab.nn.kinds import why_not
from nes_lab.planning.other_weights import other_weight_reason
from nes_lab.planning.overrides import LayerSettings, settings_by_layer
from nes_lab.planning.patterns import matching_layers, pattern_list
from nes_lab.records.options import PlanOptions

if TYPE_CHECKING:
    from nes_lab.planning.survey import SurveyedLayer

__all__ = [
    "RULES",
    "DenseContext",
    "Replaceable",
    "declared",
    "dense_context",
    "dense_reason",
    "depthwise",
    "excluded",
    "kept_by_override",
    "no_epitome_layer",
    "not_included",
    "replaceable",
    "squeeze_excite",
    "tied",
    "too_thin",
]

Replaceable = Literal["yes", "if_named", "never"]
"""A layer may be replaced by default (yes), only if ``include`` or ``overrides`` names it (if_named), or never."""

SQUEEZE_EXCITE_CLASSES = ("squeezeexcit", "semodule", "sqexcit")
"""Parts of lower-case class names by which squeeze-excite modules are recognized."""


@dataclass(frozen=True)
class DenseContext:
    """Facts of a model and options of the user, from which rules decide if a layer stays dense.

    Args:
        weight_users: ``id`` of each parameter -> names of the modules that use it.
        squeeze_excite: Names of the squeeze-excite modules.
        declared: Name -> role (``stem`` or ``classifier``) of the modules that the model declares as such.
        included: Names of the layers that ``include`` matches; None if it is not given.
        named: Names of the layers that a pattern of ``include`` matches by name, not by type.
        excluded: Names of the layers that ``exclude`` matches.
        settings: Settings from ``overrides``, by layer name.
        min_channels: Number of input or output channels below which a layer stays dense.
    """

    weight_users: Mapping[int, Sequence[str]] = field(default_factory=dict)
    squeeze_excite: tuple[str, ...] = ()
    declared: Mapping[str, str] = field(default_factory=dict)
    included: frozenset[str] | None = None
    named: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    settings: Mapping[str, LayerSettings] = field(default_factory=dict)
    min_channels: int = 1


Rule = Callable[["SurveyedLayer", DenseContext], str]


def kept_by_override(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return the reason if ``overrides`` keeps a layer dense; empty otherwise."""
    settings = context.settings.get(layer.name)
    return f"overrides[{settings.patterns}] keeps it dense" if settings and settings.values.get("keep") else ""


def excluded(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return the reason if a pattern of ``exclude`` matches a layer; empty otherwise."""
    return "a pattern of exclude= matches it" if layer.name in context.excluded else ""


def no_epitome_layer(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return why no epitome layer can replace a module; empty if one can."""
    return why_not(layer.module) if layer.is_layer else other_weight_reason(layer.module, layer.parameter)


def tied(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return the reason if another module uses the same weight as a layer; empty otherwise."""
    users = context.weight_users.get(id(layer.module._parameters.get(layer.parameter)), ())
    others = [user for user in users if user != layer.name]
    return f"its weight is tied to that of {others[0]!r}" if others else ""


def depthwise(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return the reason if a layer is a depthwise convolution; empty otherwise."""
    if layer.op.groups > 1 and layer.weight_shape[1] == 1:
        return "depthwise: it has no input channels to share, and its weight is too small to save anything"
    return ""


def squeeze_excite(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return the reason if a layer belongs to a squeeze-excite module; empty otherwise."""
    module = _module_around(layer.name, context.squeeze_excite)
    return f"squeeze-excite ({module})" if module is not None else ""


def declared(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return the reason if the model declares a layer as its stem or classifier; empty otherwise."""
    module = _module_around(layer.name, context.declared)
    return f"the model declares it as its {context.declared[module]}" if module is not None else ""


def not_included(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return the reason if ``include`` is given and matches a layer neither by name nor by type; empty otherwise."""
    return "" if context.included is None or layer.name in context.included else "no pattern of include= matches it"


def too_thin(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return the reason if a layer has fewer channels than ``min_channels`` and ``include`` does not name it; empty otherwise."""
    fewest = min(layer.weight_shape[0], layer.weight_shape[1] * layer.op.groups)
    too_few = fewest < context.min_channels and layer.name not in context.named
    return f"{fewest} channels, below min_channels={context.min_channels}" if too_few else ""


NEVER: tuple[Rule, ...] = (no_epitome_layer, tied)
"""Rules that keep a layer dense whatever the options say."""

UNLESS_NAMED: tuple[Rule, ...] = (depthwise, squeeze_excite, declared)
"""Rules that keep a layer dense unless ``include`` or ``overrides`` names it."""

RULES: tuple[Rule, ...] = (kept_by_override, excluded, *NEVER, *UNLESS_NAMED, not_included, too_thin)


def dense_reason(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return the reason of the first rule that keeps a layer dense; empty if it may be replaced."""
    settings = context.settings.get(layer.name)
    if settings and settings.sets_size and layer.replaceable != "never":
        return ""  # overrides gives this layer a size, which wins over the other rules
    skipped = UNLESS_NAMED if layer.name in context.named else ()
    return _first_reason((rule for rule in RULES if rule not in skipped), layer, context)


def replaceable(layer: SurveyedLayer, context: DenseContext) -> Replaceable:
    """Return whether a layer may be replaced (``yes``, ``if_named`` or ``never``), whatever the user's options say."""
    if _first_reason(NEVER, layer, context):
        return "never"
    return "if_named" if _first_reason(UNLESS_NAMED, layer, context) else "yes"


def _first_reason(rules: Iterable[Rule], layer: SurveyedLayer, context: DenseContext) -> str:
    return next((reason for rule in rules if (reason := rule(layer, context))), "")


def _module_around(name: str, modules: Iterable[str]) -> str | None:
    """Return the first of the named modules that is the layer or contains it; None if there is none."""
    return next((module for module in modules if name == module or name.startswith(f"{module}.")), None)


def dense_context(model: nn.Module, layers: Sequence[SurveyedLayer], options: PlanOptions) -> DenseContext:
    """Collect the facts of a model and the options from which rules decide if a layer stays dense.

    Raises:
        OptionError: If a pattern matches no layer, or a setting of ``overrides`` is wrong.
    """
    named: set[str] = set()
    included: set[str] = set()
    for pattern in pattern_list("include", options.include):
        matches, by_name = matching_layers(layers, "include", pattern)
        included |= {layer.name for layer in matches}
        named |= {layer.name for layer in matches if by_name}
    excluded_layers = [
        layer
        for pattern in pattern_list("exclude", options.exclude)
        for layer in matching_layers(layers, "exclude", pattern)[0]
    ]
    return DenseContext(
        weight_users=_weight_users(model),
        squeeze_excite=tuple(name for name, module in model.named_modules() if _is_squeeze_excite(module)),
        declared=dict(_declared_roles(model)),
        included=frozenset(included) if included else None,
        named=frozenset(named),
        excluded=frozenset(layer.name for layer in excluded_layers),
        settings=settings_by_layer(layers, options.overrides),
        min_channels=options.min_channels,
    )


def _is_squeeze_excite(module: nn.Module) -> bool:
    return any(part in type(module).__name__.lower() for part in SQUEEZE_EXCITE_CLASSES)


def _weight_users(model: nn.Module) -> dict[int, list[str]]:
    users: dict[int, list[str]] = defaultdict(list)
    for name, module in model.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                users[id(parameter)].append(name)
    return users


def _declared_roles(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield name and role of the stem and the classifier if the model declares them in ``default_cfg``, as models of timm do."""
    config = getattr(model, "default_cfg", None) or getattr(model, "pretrained_cfg", None)
    if not config:
        return
    get = config.get if isinstance(config, dict) else lambda key: getattr(config, key, None)
    for key, role in (("first_conv", "stem"), ("classifier", "classifier")):
        names = get(key) or ()
        for name in [names] if isinstance(names, str) else names:
            yield name, role
