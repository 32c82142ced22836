"""Describe a model without its tensors: its modules, and the constructor arguments of its epitome layers.

Tests: tests/export/test_rebuild.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from torch import nn

from nes_lab.geometry.flat_geometry import FlatGeometry
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.surgery.fuse import FoldedBatchNorm1d

__all__ = ["FOLDED_NORM", "Entry", "first_difference", "layer_record", "named_epitome_layers", "outline"]

Entry = list[Any]
"""A list ``[name, class name, settings]`` that describes a module, as plain data for JSON."""

FOLDED_NORM = "_Rows"
"""Class name that stands for :class:`~nes_lab.surgery.fuse.FoldedBatchNorm1d` in saved models, since version 0.1.0."""
_IGNORED_SETTINGS = {"inplace", "p", "momentum", "training", "drop_prob"}
"""Names of module settings that do not change the outputs of a model in evaluation mode."""


def outline(model: nn.Module) -> list[Entry]:
    """List the name, class and settings of all modules of a model, without the modules inside epitome layers.

    A module with several names is listed once for each name. Epitome layers have no settings here; :func:`layer_record` describes
    them.

    Examples:
        >>> outline(nn.Sequential(nn.ReLU()))
        [['', 'Sequential', {}], ['0', 'ReLU', {}]]
    """
    inside: list[str] = []
    entries: list[Entry] = []
    for name, module in model.named_modules(remove_duplicate=False):
        if any(name.startswith(prefix) for prefix in inside):
            continue
        is_epitome = isinstance(module, EpitomeLayer)
        if is_epitome:
            inside.append(f"{name}." if name else "")
        kind = FOLDED_NORM if isinstance(module, FoldedBatchNorm1d) else type(module).__name__
        entries.append([name, kind, {} if is_epitome else _settings(module)])
        if is_epitome and not name:
            break
    return entries


def _settings(module: nn.Module) -> dict[str, Any]:
    names = getattr(type(module), "__constants__", ())
    values = {n: _plain(getattr(module, n, None)) for n in names if n not in _IGNORED_SETTINGS}
    return {n: v for n, v in values.items() if isinstance(v, bool | int | float | str | list)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        items = [_plain(v) for v in value]
        return items if all(isinstance(v, bool | int | float | str) for v in items) else None
    return value


def first_difference(saved: list[Entry], present: list[Entry]) -> str:
    """Describe the first module in which two models differ, for a message; return an empty string if they agree.

    Args:
        saved: Modules of the saved model, as listed by :func:`outline`.
        present: Modules of the model to compare with it, as listed by :func:`outline`.

    Examples:
        >>> first_difference([["0", "ReLU", {}]], [["0", "GELU", {}]])
        "'0' is a ReLU in the saved model and a GELU here"
    """
    saved_names, by_name = {entry[0] for entry in saved}, {entry[0]: entry for entry in present}
    for name, kind, settings in saved:
        if name not in by_name:
            return f"the saved model has a {kind} {name!r}, which is not here"
        _, other, values = by_name[name]
        if other != kind:
            return f"{repr(name) if name else 'the model itself'} is a {kind} in the saved model and a {other} here"
        for key in settings.keys() & values.keys():
            if settings[key] != values[key]:
                return f"{name!r} ({kind}) has {key}={settings[key]!r} in the saved model and {values[key]!r} here"
    more = next((entry for entry in present if entry[0] not in saved_names), None)
    return "" if more is None else f"the {more[1]} {more[0]!r} here is not in the saved model"


def layer_record(layer: EpitomeLayer) -> dict[str, Any]:
    """Return everything needed to rebuild an epitome layer: its constructor arguments, and how its starts are set.

    Starts are the positions of patches in the epitome. A fixed rule sets them, or they are learned, or they were learned and are
    now fixed.
    """
    g, starts = layer.geometry, layer.routing
    op = {f.name: _listed(getattr(layer.op, f.name)) for f in fields(layer.op) if f.init}
    return {
        "kind": layer.kind,
        "weight_shape": list(g.weight_shape),
        "epitome_shape": list(g.epitome_shape),
        "patch_channels": list(g.patch_shape[:2]),
        "routing": starts.mode,
        "scope": g.scope,
        "boundary": g.boundary,
        "execution": layer.execution,
        "seed": starts.seed,
        "starts": starts.state_name,
        "options": starts.options(),
        "op": op,
    } | _less_common(layer)


def _less_common(layer: EpitomeLayer) -> dict[str, Any]:
    """Return the arguments that are recorded only where they are not the default, as folders of older versions lack them."""
    flat = {"windows": layer.geometry.windows} if isinstance(layer.geometry, FlatGeometry) else {}
    return flat | ({"epitome_dtype": layer.epitome_dtype} if layer.epitome_dtype != "float" else {})


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def named_epitome_layers(model: nn.Module) -> Iterator[tuple[str, EpitomeLayer]]:
    """Yield name and layer for each epitome layer of a model; a layer with several names is yielded once for each name."""
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, EpitomeLayer):
            yield name, module
