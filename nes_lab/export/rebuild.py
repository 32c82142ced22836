"""From a configuration and a dense network back to the network that was saved, its numbers not yet in it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nes_lab.backbones.registry import create_backbone
from nes_lab.errors import CheckpointError, NesLabError
from nes_lab.export.outline import epitome_names, first_difference, layer_record, outline
from nes_lab.export.tensors import transient
from nes_lab.nn.kinds import build, kind_of
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.starts import FrozenStarts
from nes_lab.surgery.fuse import _Rows

__all__ = ["dense_network", "rebuild"]

_AFTER_NORM = ("Identity", "_Rows", "Sequential")
"""What ``fuse`` leaves where a norm was."""
_ARGUMENTS = ("routing", "scope", "boundary", "seed")
_DTYPES = {str(t).removeprefix("torch."): t for t in vars(torch).values() if isinstance(t, torch.dtype)}


def dense_network(config: Mapping[str, Any]) -> nn.Module:
    """The backbone a saved model was made from, with fresh weights.

    Raises:
        CheckpointError: If the configuration names none, or it cannot be made here.
    """
    stamp = config.get("backbone")
    if stamp is None:
        raise CheckpointError("the saved model names no backbone; give its dense network as model=")
    try:
        return create_backbone(**{k: v for k, v in stamp.items() if k != "options"}, **stamp["options"])
    except (NesLabError, ImportError, RuntimeError, MemoryError, TypeError, ValueError, AssertionError) as error:
        raise CheckpointError(
            f"backbone {stamp['name']!r} cannot be made here: {error}; install what it needs, or give its dense network as model="
        ) from error


def rebuild(dense: nn.Module, config: Mapping[str, Any]) -> nn.Module:
    """A copy of a dense network with the epitome layers, and without the norms that ``fuse`` folded.

    Raises:
        CheckpointError: Naming the first layer in which the network is another than the saved one.
    """
    _check_dense(dense, config)
    memo: dict[int, Any] = {}
    classes = {name: kind for name, kind, _ in config["modules"]}
    for name, module in dense.named_modules():
        record = config["epitome_layers"].get(name)
        if record is not None and not isinstance(module, EpitomeLayer):
            memo[id(module)] = _epitome_layer(name, module, record)
        elif isinstance(module, _BatchNorm) and classes.get(name) in _AFTER_NORM:
            memo[id(module)] = _after_norm(module, classes[name])
    model = copy.deepcopy(dense, memo)
    for name, layer in epitome_names(model):
        if name in config["epitome_layers"]:
            _take_state(name, layer, config["epitome_layers"][name])
    wrong = first_difference(config["modules"], outline(model))
    if wrong:
        raise _another(wrong)
    _cast(model, config["transient"])
    return model


def _another(what: str) -> CheckpointError:
    return CheckpointError(
        f"the network is another than the saved one: {what}; give the one it was made from as model="
    )


def _check_dense(dense: nn.Module, config: Mapping[str, Any]) -> None:
    """Refuse another network by the first of its layers that differs, in module order."""
    modules = dict(dense.named_modules(remove_duplicate=False))
    here = {entry[0]: entry for entry in outline(dense)}
    for entry in config["modules"]:
        name, kind = entry[:2]
        module = modules.get(name)
        if name in config["epitome_layers"] and module is not None:
            wrong = _not_replaceable(name, module, config["epitome_layers"][name])
        elif isinstance(module, _BatchNorm) and kind in _AFTER_NORM:
            continue
        else:
            wrong = first_difference([entry], [here[name]] if name in here else [])
        if wrong:
            raise _another(wrong)


def _not_replaceable(name: str, module: nn.Module, record: Mapping[str, Any]) -> str:
    if isinstance(module, EpitomeLayer):
        return ""  # compared when it has its state
    if kind_of(module) != record["kind"]:
        return f"{name!r} was a {record['kind']} layer and is a {type(module).__name__} here"
    shape = list(module.weight.shape)  # type: ignore[union-attr, arg-type]
    return (
        ""
        if shape == record["weight_shape"]
        else f"{name!r} had a weight of {record['weight_shape']} and has one of {shape} here"
    )


def _epitome_layer(name: str, module: nn.Module, record: Mapping[str, Any]) -> EpitomeLayer:
    shapes = {key: tuple(record[key]) for key in ("epitome_shape", "patch_channels")}
    try:
        return build(module, "none", **shapes, **{k: record[k] for k in _ARGUMENTS}, **record["options"])
    except (NesLabError, TypeError) as error:
        raise CheckpointError(f"epitome layer {name!r} cannot be made: {error}") from error


def _after_norm(norm: nn.Module, kind: str) -> nn.Module:
    """The module that ``fuse`` puts where this norm was."""
    rest: nn.Module = _Rows() if kind == "_Rows" else nn.Identity()
    if kind != "Sequential":
        return rest
    kept = nn.Sequential()
    for name in ("drop", "act"):
        if name in norm._modules:
            kept.add_module(name, copy.deepcopy(norm._modules[name]))  # type: ignore[arg-type]
    return kept


def _take_state(name: str, layer: EpitomeLayer, record: Mapping[str, Any]) -> None:
    if record["starts"] in ("frozen", "snapped") and layer.routing.learned:
        layer.routing = FrozenStarts(layer.routing, snap=record["starts"] == "snapped").train(layer.training)
    try:
        layer.execution = record["execution"]
    except NesLabError as error:
        raise CheckpointError(f"epitome layer {name!r}: {error}") from error
    found = layer_record(layer)
    for key, value in record.items():
        same = found.get(key) == value
        if not same and isinstance(value, dict) and isinstance(found.get(key), dict):
            same = all(found[key][k] == v for k, v in value.items() if k in found[key])  # a later version may know more
        if key in found and not same:
            raise _another(f"epitome layer {name!r} had {key}={value!r:.200} and has {found[key]!r} here")


def _cast(model: nn.Module, dtypes: Mapping[str, str]) -> None:
    """Buffers that no file holds, in the dtype they had; a rule's are written anew in it."""
    for slot in transient(model):
        dtype = _DTYPES.get(dtypes.get(slot.name, ""))
        if dtype is not None and slot.tensor is not None and slot.tensor.dtype != dtype:
            setattr(slot.owner, slot.attribute, slot.tensor.to(dtype))
    for _, layer in epitome_names(model):
        layer.routing.derive()
