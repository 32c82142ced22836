"""Rules that keep a layer dense.

The rules are tried in order. The layer stays dense if a rule gives a reason. The first reason is reported.

To add a rule, write a function ``(layer, context) -> reason`` that returns an empty string if the layer may be replaced. Add the
function to the first of these tuples that fits:

- ``NEVER``: No option can overrule the rule.
- ``UNLESS_NAMED``: The user overrules the rule by naming the layer in the option ``include`` or ``overrides``.
- ``RULES``: For all other rules. This tuple also contains the two others, so it lists all rules in the order in which
  they are tried.

If the rule needs facts besides the layer, add a field to :class:`DenseContext`.
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
from nes_lab.surgery.carry_over import weights_held_elsewhere, why_not_carried

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
    "not_carried",
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
    """Facts about a model, and the user's options. The rules that keep layers dense use both.

    Args:
        weight_users: Dict from the ``id()`` of each parameter to the names of the modules that use it.
        squeeze_excite: Names of the squeeze-excite modules.
        declared: Dict from module name to role, for the modules that the model declares as its ``stem`` or ``classifier``.
        included: Names of the layers that the option ``include`` matches. None: ``include`` is not given.
        named: Names of the layers that the option ``include`` matches by name, not by type.
        excluded: Names of the layers that the option ``exclude`` matches.
        settings: Settings of single layers from the option ``overrides``, by layer name.
        min_channels: Layers with fewer input or output channels stay dense, unless ``include`` names them.
        held_elsewhere: Dict from the ``id()`` of each parameter that something besides its module refers to, to the place of that.
    """

    weight_users: Mapping[int, Sequence[str]] = field(default_factory=dict)
    squeeze_excite: tuple[str, ...] = ()
    declared: Mapping[str, str] = field(default_factory=dict)
    included: frozenset[str] | None = None
    named: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    settings: Mapping[str, LayerSettings] = field(default_factory=dict)
    min_channels: int = 1
    held_elsewhere: Mapping[int, str] = field(default_factory=dict)


Rule = Callable[["SurveyedLayer", DenseContext], str]


def kept_by_override(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return why the layer stays dense if the option ``overrides`` says so; otherwise return an empty string."""
    settings = context.settings.get(layer.name)
    return f"overrides[{settings.patterns}] keeps it dense" if settings and settings.values.get("keep") else ""


def excluded(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return why the layer stays dense if the option ``exclude`` matches it; otherwise return an empty string."""
    return "a pattern of exclude= matches it" if layer.name in context.excluded else ""


def no_epitome_layer(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return why no epitome layer can replace the module; an empty string if one can."""
    return why_not(layer.module) if layer.is_layer else other_weight_reason(layer.module, layer.parameter)


def not_carried(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return why the layer stays dense if an epitome layer cannot take over what users added to it; otherwise an empty string."""
    return why_not_carried(layer.module, context.held_elsewhere) if layer.is_layer else ""


def tied(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return why the layer stays dense if another module uses its weight too; otherwise return an empty string."""
    users = context.weight_users.get(id(layer.module._parameters.get(layer.parameter)), ())
    others = [user for user in users if user != layer.name]
    return f"its weight is tied to that of {others[0]!r}" if others else ""


def depthwise(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return why the layer stays dense if it is a depthwise convolution; otherwise return an empty string."""
    if layer.op.groups > 1 and layer.weight_shape[1] == 1:
        return "depthwise: it has no input channels to share, and its weight is too small to save anything"
    return ""


def squeeze_excite(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return why the layer stays dense if it is in a squeeze-excite module; otherwise return an empty string."""
    module = _module_around(layer.name, context.squeeze_excite)
    return f"squeeze-excite ({module})" if module is not None else ""


def declared(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return why the layer stays dense if the model declares it as its stem or classifier; otherwise return an empty string."""
    module = _module_around(layer.name, context.declared)
    return f"the model declares it as its {context.declared[module]}" if module is not None else ""


def not_included(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return why the layer stays dense if the option ``include`` does not match it; otherwise return an empty string.

    If ``include`` is not given, the result is always an empty string.
    """
    return "" if context.included is None or layer.name in context.included else "no pattern of include= matches it"


def too_thin(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return why the layer stays dense if it has fewer than ``min_channels`` channels; otherwise return an empty string.

    A layer that the option ``include`` names may have any number of channels.
    """
    fewest = min(layer.weight_shape[0], layer.weight_shape[1] * layer.op.groups)
    too_few = fewest < context.min_channels and layer.name not in context.named
    return f"{fewest} channels, below min_channels={context.min_channels}" if too_few else ""


NEVER: tuple[Rule, ...] = (no_epitome_layer, not_carried, tied)
"""Rules that keep a layer dense whatever the options say."""

UNLESS_NAMED: tuple[Rule, ...] = (depthwise, squeeze_excite, declared)
"""Rules that keep a layer dense unless ``include`` or ``overrides`` names it."""

RULES: tuple[Rule, ...] = (kept_by_override, excluded, *NEVER, *UNLESS_NAMED, not_included, too_thin)


def dense_reason(layer: SurveyedLayer, context: DenseContext) -> str:
    """Return the reason why a layer stays dense; an empty string if the layer may be replaced."""
    settings = context.settings.get(layer.name)
    if settings and settings.sets_size and layer.replaceable != "never":
        return ""  # overrides gives this layer a size, which wins over the other rules
    skipped = UNLESS_NAMED if layer.name in context.named else ()
    return _first_reason((rule for rule in RULES if rule not in skipped), layer, context)


def replaceable(layer: SurveyedLayer, context: DenseContext) -> Replaceable:
    """Return whether an epitome layer may replace a layer. The user's options are ignored.

    The result is ``"yes"``, ``"never"`` or ``"if_named"``. ``"if_named"`` means: only if the user names the layer.
    """
    if _first_reason(NEVER, layer, context):
        return "never"
    return "if_named" if _first_reason(UNLESS_NAMED, layer, context) else "yes"


def _first_reason(rules: Iterable[Rule], layer: SurveyedLayer, context: DenseContext) -> str:
    return next((reason for rule in rules if (reason := rule(layer, context))), "")


def _module_around(name: str, modules: Iterable[str]) -> str | None:
    """Return the first name in ``modules`` that names the layer or a module that contains it; None if there is no such name."""
    return next((module for module in modules if name == module or name.startswith(f"{module}.")), None)


def dense_context(model: nn.Module, layers: Sequence[SurveyedLayer], options: PlanOptions) -> DenseContext:
    """Collect the facts about a model that the rules need, together with the user's options.

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
        held_elsewhere=weights_held_elsewhere(model),
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
    """Yield the name and the role of each module that a model declares as its ``stem`` or ``classifier``, as timm's models do."""
    config = getattr(model, "default_cfg", None) or getattr(model, "pretrained_cfg", None)
    if not config:
        return
    get = config.get if isinstance(config, dict) else lambda key: getattr(config, key, None)
    for key, role in (("first_conv", "stem"), ("classifier", "classifier")):
        names = get(key) or ()
        for name in [names] if isinstance(names, str) else names:
            yield name, role
