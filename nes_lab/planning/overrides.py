"""Check the option ``overrides`` and collect its settings for each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from nes_lab.errors import OptionError, check_choice, closest
from nes_lab.geometry.epitome_geometry import Scope
from nes_lab.planning.patterns import matching_layers
from nes_lab.records.options import PlanOptions

if TYPE_CHECKING:
    from nes_lab.planning.survey import SurveyedLayer

__all__ = ["LAYER_SETTINGS", "LayerSettings", "check_overrides", "settings_by_layer"]

SIZE_SETTINGS = ("keep", "ratio", "epitome_shape")
"""Settings that decide a layer's size; a layer can have one of them."""

OPTION_SETTINGS = ("routing", "scope", "boundary", "patch_channels", "wiring")
"""Settings that replace, for one layer, the planning option of the same name."""

LAYER_SETTINGS = (*SIZE_SETTINGS, *OPTION_SETTINGS)
"""All settings that ``overrides`` can give a layer."""

EXAMPLE = "give patterns with settings, such as {'head*': {'ratio': 0.5}}"


@dataclass(frozen=True)
class LayerSettings:
    """The settings of one layer, collected from all patterns in ``overrides`` that match the layer.

    Args:
        values: Dict of the settings, such as ``{"ratio": 0.5}``.
        patterns: The matching patterns, as text for messages.
    """

    values: Mapping[str, Any]
    patterns: str

    @property
    def sets_size(self) -> bool:
        """Return True if the user sets the layer's ratio or epitome shape."""
        return "ratio" in self.values or "epitome_shape" in self.values

    @property
    def why(self) -> str:
        """Return a sentence for messages that names the layer's settings and their patterns."""
        return f"{', '.join(self.values)} set by overrides[{self.patterns}]"

    def options(self, options: PlanOptions) -> PlanOptions:
        """Return a copy of the options of planning with this layer's settings."""
        return replace(options, **{name: self.values[name] for name in OPTION_SETTINGS if name in self.values})


def check_overrides(overrides: Any) -> dict[str, dict[str, Any]]:
    """Check the option ``overrides``, and return a copy of it. Lists become tuples.

    Args:
        overrides: Settings by pattern, such as ``{"head*": {"ratio": 0.5}}``; None returns an empty dict.

    Raises:
        OptionError: If ``overrides`` is not a mapping of mappings, or a key or value is wrong; the message names the pattern
            and the closest key.

    Examples:
        >>> check_overrides({"head*": {"keep": True}, "Linear": {"epitome_shape": [32, 64]}})
        {'head*': {'keep': True}, 'Linear': {'epitome_shape': (32, 64)}}
    """
    if overrides is None:
        return {}
    if not isinstance(overrides, Mapping):
        raise OptionError(f"overrides={overrides!r}; {EXAMPLE}")
    for pattern, settings in overrides.items():
        if not isinstance(pattern, str) or not isinstance(settings, Mapping) or not settings:
            raise OptionError(f"overrides[{pattern!r}]={settings!r}; {EXAMPLE}")
    return {pattern: _check_settings(f"overrides[{pattern!r}]", settings) for pattern, settings in overrides.items()}


def _check_settings(where: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    for name in settings:
        if name not in LAYER_SETTINGS:
            known = ", ".join(LAYER_SETTINGS)
            raise OptionError(
                f"{where} sets {name!r}, which is not known; it may set {known}.{closest(name, LAYER_SETTINGS)}"
            )
    checked = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    _check_sizes(where, checked)
    if "scope" in checked:  # a single layer's scope cannot be auto
        check_choice(f"{where}: scope", checked["scope"], [scope for scope in get_args(Scope) if scope != "flat"])
    try:
        PlanOptions.among({name: checked[name] for name in OPTION_SETTINGS if name in checked})
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
    return checked


def _check_sizes(where: str, settings: Mapping[str, Any]) -> None:
    if not isinstance(settings.get("keep", True), bool):
        raise OptionError(f"{where}: keep={settings['keep']!r}; give True or False")
    ratio, shape = settings.get("ratio", 0.5), settings.get("epitome_shape", (1, 1))
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= 1:
        raise OptionError(f"{where}: ratio={ratio!r}; give the epitome's share of the weight, above 0 and at most 1")
    if not isinstance(shape, tuple) or len(shape) < 2 or any(type(n) is not int or n < 1 for n in shape):
        raise OptionError(f"{where}: epitome_shape={shape!r}; give integers in the order of the weight's axes")
    sizes = [name for name in SIZE_SETTINGS if settings.get(name)]
    if len(sizes) > 1:
        raise OptionError(f"{where} sets {sizes[0]} and {sizes[1]}; a layer can have one of them")


def settings_by_layer(layers: Sequence[SurveyedLayer], overrides: Any) -> dict[str, LayerSettings]:
    """Collect the settings of single layers from the option ``overrides``, by layer name.

    If several patterns match a layer, the settings of later patterns replace those of earlier ones. Layers that no pattern
    matches are left out.

    Raises:
        OptionError: If a setting is wrong, or a pattern matches no layer.
    """
    merged: dict[str, dict[str, Any]] = {}
    patterns: dict[str, list[str]] = {}
    for pattern, settings in check_overrides(overrides).items():
        for layer in matching_layers(layers, "overrides", pattern)[0]:
            earlier = merged.setdefault(layer.name, {})
            if any(name in settings for name in SIZE_SETTINGS):  # replaces an earlier size
                earlier = {name: value for name, value in earlier.items() if name not in SIZE_SETTINGS}
            merged[layer.name] = earlier | settings
            patterns.setdefault(layer.name, []).append(repr(pattern))
    return {name: LayerSettings(settings, ", ".join(patterns[name])) for name, settings in merged.items()}
