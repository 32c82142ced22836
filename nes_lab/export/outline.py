"""What a model is but for its numbers: its modules, and how its epitome layers are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from torch import nn

from nes_lab.nn.layer import EpitomeLayer

__all__ = ["Entry", "first_difference", "layer_record", "outline"]

Entry = list[Any]
"""``[name, class name, settings]`` of a module, as JSON holds it."""

_NO_MATTER = {"inplace", "p", "momentum", "training", "drop_prob"}
"""Settings without bearing on what a model computes in evaluation."""


def outline(model: nn.Module) -> list[Entry]:
    """All modules under all their names; the insides of epitome layers are left to :func:`layer_record`.

    Examples:
        >>> outline(nn.Sequential(nn.ReLU()))
        [['', 'Sequential', {}], ['0', 'ReLU', {}]]
    """
    inside: list[str] = []
    found: list[Entry] = []
    for name, module in model.named_modules(remove_duplicate=False):
        if any(name.startswith(prefix) for prefix in inside):
            continue
        is_epitome = isinstance(module, EpitomeLayer)
        if is_epitome:
            inside.append(f"{name}." if name else "")
        found.append([name, type(module).__name__, {} if is_epitome else _settings(module)])
        if is_epitome and not name:
            break
    return found


def _settings(module: nn.Module) -> dict[str, Any]:
    names = getattr(type(module), "__constants__", ())
    values = {n: _plain(getattr(module, n, None)) for n in names if n not in _NO_MATTER}
    return {n: v for n, v in values.items() if isinstance(v, bool | int | float | str | list)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        items = [_plain(v) for v in value]
        return items if all(isinstance(v, bool | int | float | str) for v in items) else None
    return value


def first_difference(saved: list[Entry], found: list[Entry]) -> str:
    """The first module in which two outlines differ, as a sentence's end; empty where they agree.

    Examples:
        >>> first_difference([["0", "ReLU", {}]], [["0", "GELU", {}]])
        "'0' is a ReLU in the saved model and a GELU here"
    """
    mine, theirs = ({entry[0]: entry for entry in entries} for entries in (saved, found))
    for name, kind, settings in saved:
        if name not in theirs:
            return f"the saved model has a {kind} {name!r}, which is not here"
        _, other, values = theirs[name]
        if other != kind:
            return f"{repr(name) if name else 'the model itself'} is a {kind} in the saved model and a {other} here"
        for key in settings.keys() & values.keys():
            if settings[key] != values[key]:
                return f"{name!r} ({kind}) has {key}={settings[key]!r} in the saved model and {values[key]!r} here"
    more = next((entry for entry in found if entry[0] not in mine), None)
    return "" if more is None else f"the {more[1]} {more[0]!r} here is not in the saved model"


def layer_record(layer: EpitomeLayer) -> dict[str, Any]:
    """How an epitome layer is made again: all arguments, and what became of its starts."""
    g, starts = layer.geometry, layer.routing
    op = {f.name: _listed(getattr(layer.op, f.name)) for f in fields(layer.op) if f.init}
    return {
        "kind": layer.kind,
        "weight_shape": list(g.weight_shape),
        "epitome_shape": list(g.epitome_shape),
        "patch_channels": list(g.patch_channels or ()),
        "routing": starts.mode,
        "scope": g.scope,
        "boundary": g.boundary,
        "execution": layer.execution,
        "seed": starts.seed,
        "starts": starts.state_name,
        "options": starts.options(),
        "op": op,
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def epitome_names(model: nn.Module) -> Iterator[tuple[str, EpitomeLayer]]:
    """Epitome layers under all their names."""
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, EpitomeLayer):
            yield name, module
