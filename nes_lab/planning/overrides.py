"""What a user sets for single layers: by name pattern or type, over what the planner would choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, get_args

from nes_lab.errors import OptionError, check_choice, closest
from nes_lab.geometry.epitome_geometry import Boundary, Scope
from nes_lab.geometry.start_rules import ROUTING_MODES
from nes_lab.planning.ladder import axes_of, layer_steps
from nes_lab.planning.layer_plans import EpitomeOptions, plan_layer
from nes_lab.planning.survey import Survey, SurveyedLayer, matching
from nes_lab.records.compression_plan import LayerPlan
from nes_lab.records.options import Wiring

__all__ = ["OVERRIDES", "LayerChoice", "check_overrides", "choices"]

OVERRIDES = ("ratio", "epitome_shape", "keep", "routing", "scope", "boundary", "patch_channels", "wiring")
"""What ``overrides`` may say of a layer."""

_CHOICES = {
    "routing": ROUTING_MODES,
    "scope": get_args(Scope),
    "boundary": get_args(Boundary),
    "wiring": get_args(Wiring),
}
_OPTIONS = ("routing", "scope", "boundary", "patch_channels")


@dataclass(frozen=True)
class LayerChoice:
    """How the planner may go about one layer.

    Args:
        options: Of its epitome.
        wiring: Which of its axes shrink.
        why: What set these, where it was an override.
        fixed: Its plan, where that is set.
    """

    options: EpitomeOptions
    wiring: str
    why: str = ""
    fixed: LayerPlan | None = None


def check_overrides(overrides: Any) -> dict[str, dict[str, Any]]:
    """Overrides whose keys and values are right, whatever the model.

    Args:
        overrides: ``{"pattern": {"ratio": 0.5}}``, or None.

    Raises:
        OptionError: If it is no mapping of mappings, or a key or value is wrong; names the pattern, and the closest key.

    Examples:
        >>> check_overrides({"head*": {"keep": True}, "Linear": {"epitome_shape": [32, 64]}})
        {'head*': {'keep': True}, 'Linear': {'epitome_shape': (32, 64)}}
    """
    if overrides is None:
        return {}
    right = "give patterns with settings, such as {'head*': {'ratio': 0.5}}"
    if not isinstance(overrides, Mapping):
        raise OptionError(f"overrides={overrides!r}; {right}")
    for pattern, settings in overrides.items():
        if not isinstance(pattern, str) or not isinstance(settings, Mapping) or not settings:
            raise OptionError(f"overrides[{pattern!r}]={settings!r}; {right}")
    return {pattern: _checked(f"overrides[{pattern!r}]", settings) for pattern, settings in overrides.items()}


def _checked(where: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    for name in settings:
        if name not in OVERRIDES:
            known = ", ".join(OVERRIDES)
            raise OptionError(
                f"{where} sets {name!r}, which is not known; it may set {known}.{closest(name, OVERRIDES)}"
            )
    checked = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    for name, known in _CHOICES.items():
        if name in checked:
            check_choice(f"{where}[{name!r}]", checked[name], known)
    if not isinstance(checked.get("keep", True), bool):
        raise OptionError(f"{where}: keep={checked['keep']!r}; give True or False")
    ratio, shape = checked.get("ratio", 0.5), checked.get("epitome_shape", (1, 1))
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= 1:
        raise OptionError(f"{where}: ratio={ratio!r}; give the epitome's share of the weight, above 0 and at most 1")
    if not isinstance(shape, tuple) or len(shape) < 2 or any(type(n) is not int or n < 1 for n in shape):
        raise OptionError(f"{where}: epitome_shape={shape!r}; give whole numbers in the weight's axis order")
    EpitomeOptions(patch_channels=checked.get("patch_channels"))
    _clash(where, checked)
    return checked


def _clash(where: str, settings: Mapping[str, Any]) -> None:
    aims = [name for name in ("keep", "ratio", "epitome_shape") if settings.get(name)]
    if len(aims) > 1:
        raise OptionError(f"{where} sets {aims[0]} and {aims[1]}; a layer can have one of them")


def choices(
    found: Survey, overrides: Any, options: EpitomeOptions, wiring: str, round_to: int
) -> dict[int, LayerChoice]:
    """What holds for every layer that may be replaced, and for those that overrides ask for.

    Layers that are kept get their reason in the survey.

    Args:
        found: The survey; reasons are written into it.
        overrides: By pattern; of several that match a layer, later ones win, setting by setting.
        options: What holds elsewhere.
        wiring: Likewise.
        round_to: Epitome channels are multiples of this, but for shapes that are set.

    Raises:
        OptionError: If a setting is wrong, a pattern matches nothing, or a layer asked for cannot be replaced; says why.
    """
    settings = _by_layer(found.layers, check_overrides(overrides))
    chosen: dict[int, LayerChoice] = {}
    for index, layer in enumerate(found.layers):
        mine, patterns = settings.get(layer.name, ({}, ""))
        if mine.get("keep"):
            layer.reason = f"overrides[{patterns}] keeps it"
        asked = "ratio" in mine or "epitome_shape" in mine
        if asked:
            _ask(layer, patterns)
        if not layer.reason:
            own = replace(options, **{name: mine[name] for name in _OPTIONS if name in mine})
            why = f"{', '.join(mine)} set by overrides[{patterns}]" if mine else ""
            choice = LayerChoice(own, mine.get("wiring", wiring), why)
            fixed = _fix(index, layer, found, choice, mine, round_to) if asked else None
            chosen[index] = replace(choice, fixed=fixed)
    return chosen


def _by_layer(layers: Sequence[SurveyedLayer], overrides: Mapping[str, dict[str, Any]]) -> dict[str, tuple[dict, str]]:
    """Settings of each layer, and the patterns they are from."""
    merged: dict[str, dict[str, Any]] = {}
    sources: dict[str, list[str]] = {}
    for pattern, settings in overrides.items():
        for layer in matching(layers, "overrides", pattern)[0]:
            mine = merged.setdefault(layer.name, {})
            aims = {"keep", "ratio", "epitome_shape"}
            if aims & settings.keys():  # a later aim takes the place of an earlier one
                mine = {name: value for name, value in mine.items() if name not in aims}
            merged[layer.name] = mine | settings
            sources.setdefault(layer.name, []).append(repr(pattern))
    return {name: (settings, ", ".join(sources[name])) for name, settings in merged.items()}


def _ask(layer: SurveyedLayer, patterns: str) -> None:
    """Take a layer although it stays dense by default; refuse what can never be replaced."""
    if layer.never:
        raise OptionError(f"overrides[{patterns}] asks for {layer.name!r}, which must stay dense: {layer.reason}")
    layer.reason = ""


def _fix(
    index: int,
    layer: SurveyedLayer,
    found: Survey,
    choice: LayerChoice,
    settings: Mapping[str, Any],
    round_to: int,
) -> LayerPlan:
    dense, weight = layer.dense(found.report), layer.weight_shape
    if "epitome_shape" in settings:
        shape = settings["epitome_shape"]
        if len(shape) != len(weight) or any(e > w for e, w in zip(shape[:2], weight, strict=False)):
            raise OptionError(
                f"overrides: epitome_shape={shape} for {layer.name!r} should have the axes of its weight {weight}, and no more channels"
            )
        return plan_layer(layer, index, shape, dense, choice.options, choice.why)
    steps = layer_steps(index, layer, found, choice.options, round_to, axes_of(layer, choice.wiring))
    shapes = [weight, *(plan.epitome_shape for plan in steps.plans)]
    small = [shape for shape in shapes if prod(shape) <= settings["ratio"] * prod(weight)]
    if not small:
        least = prod(shapes[-1]) / prod(weight)
        raise OptionError(
            f"overrides: ratio={settings['ratio']!r} for {layer.name!r} cannot be met: the least is {least:.4g}, an epitome of "
            f"{shapes[-1]} for its weight {weight}, with channels in multiples of {round_to}"
        )
    return plan_layer(layer, index, small[0], dense, choice.options, choice.why)
