"""Rebuild the modules of a saved model from its configuration and the dense network. The weights are loaded afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nes_lab.backbones.registry import create_backbone
from nes_lab.errors import CheckpointError, NesLabError
from nes_lab.export.hooks import hooks_of, missing_hook
from nes_lab.export.outline import FOLDED_NORM, first_difference, layer_record, named_epitome_layers, outline
from nes_lab.export.tensors import unsaved_buffers
from nes_lab.import_spec import is_import_spec
from nes_lab.nn.frozen_starts import FrozenStarts
from nes_lab.nn.kinds import kind_of
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.model_checks import check_copyable
from nes_lab.nn.registry import epitome_layer_for
from nes_lab.surgery.carry_over import copy_with_replacements
from nes_lab.surgery.fuse import folded_norm

__all__ = ["WAY_OUT", "dense_network", "put_epitome_layers_", "rebuild"]

WAY_OUT = "give the network it was made from as model="
"""How an error about a network that differs ends."""

_AFTER_FUSE = ("Identity", FOLDED_NORM, "Sequential")
"""Names of the classes by which ``fuse`` replaces a batch norm."""
_ARGUMENTS = ("routing", "scope", "boundary", "seed")
_DTYPES = {str(t).removeprefix("torch."): t for t in vars(torch).values() if isinstance(t, torch.dtype)}


def dense_network(config: Mapping[str, Any], allow_import: bool = False) -> nn.Module:
    """Create the dense network from which a saved model was made, with new initial weights.

    Args:
        config: Configuration of the saved model (the content of ``config.json``).
        allow_import: True: if the backbone is a function, named as ``package.module:function``, import and call it.

    Raises:
        CheckpointError: If the configuration names no backbone, or the backbone cannot be created on this machine. Also if the
            backbone is a function and ``allow_import`` is False.
    """
    stamp = config.get("backbone")
    if stamp is None:
        raise CheckpointError("the saved model names no backbone; give the dense network it was made from as model=")
    if is_import_spec(stamp["name"]) and not allow_import:
        raise CheckpointError(
            f"the saved model names the function {stamp['name']!r} as its backbone. Importing it would run code that this file "
            "chooses. Give the dense network as model=; or, if you trust the file, give allow_import=True "
            "(on the command line: --allow-import)"
        )
    try:
        return create_backbone(**{k: v for k, v in stamp.items() if k != "options"}, **stamp["options"])
    except (NesLabError, ImportError, RuntimeError, MemoryError, TypeError, ValueError, AssertionError) as error:
        raise CheckpointError(
            f"backbone {stamp['name']!r} cannot be created here: {error}; install what it needs, or give the dense network as model="
        ) from error


def rebuild(dense: nn.Module, config: Mapping[str, Any]) -> nn.Module:
    """Return a copy of a dense network in which layers are replaced by the saved model's epitome layers.

    Batch norms that ``nes_lab.fuse`` folded into layers are left out.

    Args:
        dense: The network the saved model was made from; it does not change.
        config: Configuration of the saved model (the content of ``config.json``).

    Raises:
        CheckpointError: If ``dense`` is a different network; the message names the first layer that differs. Also if it lacks a
            hook that the saved model has.
        OptionError: If a method of ``dense`` was replaced by a function that a copy would not copy.
    """
    check_copyable(dense, "from_pretrained")
    _check_dense(dense, config)
    classes = {name: kind for name, kind, _ in config["modules"]}

    def saved_module(name: str, module: nn.Module) -> nn.Module | None:
        record = config["epitome_layers"].get(name)
        if record is not None and not isinstance(module, EpitomeLayer):
            return _epitome_layer(name, module, record)
        folded = isinstance(module, _BatchNorm) and classes.get(name) in _AFTER_FUSE
        return folded_norm(module, classes[name] == FOLDED_NORM) if folded else None

    model = copy_with_replacements(dense, saved_module)
    for name, layer in named_epitome_layers(model):
        if name in config["epitome_layers"]:
            _restore_state(name, layer, config["epitome_layers"][name])
    difference = first_difference(config["modules"], outline(model))
    if difference:
        raise _different_network(difference)
    if missing := missing_hook(config.get("hooks", {}), hooks_of(model)):  # absent from folders of version 0.1
        raise CheckpointError(missing)
    _cast(model, config["transient"])
    return model


def put_epitome_layers_(model: nn.Module, records: Mapping[str, Any]) -> None:
    """Put epitome layers in the place of dense layers of a model.

    Args:
        model: The dense model; it is changed.
        records: What is needed to make each epitome layer, by name, as :func:`~nes_lab.export.outline.layer_record` returns it.

    Raises:
        CheckpointError: If a layer is missing in the model, or is of another kind or shape; the message names it.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    made: dict[int, EpitomeLayer] = {}
    for name, record in records.items():
        module = modules.get(name)
        if module is None:
            raise _different_network(f"the saved model has an epitome layer {name!r}, which is not here")
        if difference := _dense_difference(name, module, record):
            raise _different_network(difference)
        if id(module) not in made:
            made[id(module)] = _epitome_layer(name, module, record)
            _restore_state(name, made[id(module)], record)
        model.set_submodule(name, made[id(module)])


def _different_network(difference: str) -> CheckpointError:
    return CheckpointError(f"the network differs from the saved one: {difference}; {WAY_OUT}")


def _check_dense(dense: nn.Module, config: Mapping[str, Any]) -> None:
    """Refuse a dense network that differs from the one a saved model was made from.

    Raises:
        CheckpointError: If the network differs; the message names the first layer that differs, in the order of the modules.
    """
    modules = dict(dense.named_modules(remove_duplicate=False))
    here = {entry[0]: entry for entry in outline(dense)}
    for entry in config["modules"]:
        name, kind = entry[:2]
        module = modules.get(name)
        if name in config["epitome_layers"] and module is not None:
            difference = _dense_difference(name, module, config["epitome_layers"][name])
        elif isinstance(module, _BatchNorm) and kind in _AFTER_FUSE:
            continue
        else:
            difference = first_difference([entry], [here[name]] if name in here else [])
        if difference:
            raise _different_network(difference)


def _dense_difference(name: str, module: nn.Module, record: Mapping[str, Any]) -> str:
    if isinstance(module, EpitomeLayer):
        return ""  # epitome layers are compared in _restore_state
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
        arguments = {key: record[key] for key in _ARGUMENTS} | {"windows": record.get("windows", 1)}
        arguments |= {"epitome_dtype": record.get("epitome_dtype", "float")}
        return epitome_layer_for(module, "none", **shapes, **arguments, **record["options"])
    except (NesLabError, TypeError) as error:
        raise CheckpointError(f"epitome layer {name!r} cannot be created: {error}") from error


def _restore_state(name: str, layer: EpitomeLayer, record: Mapping[str, Any]) -> None:
    if record["starts"] in ("frozen", "snapped") and layer.routing.learned:
        layer.routing = FrozenStarts(layer.routing, snap=record["starts"] == "snapped").train(layer.training)
    try:
        layer.execution = record["execution"]
    except NesLabError as error:
        raise CheckpointError(f"epitome layer {name!r}: {error}") from error
    present = layer_record(layer)
    for key, value in record.items():
        same = present.get(key) == value
        if not same and isinstance(value, dict) and isinstance(present.get(key), dict):
            same = all(
                present[key][k] == v for k, v in value.items() if k in present[key]
            )  # a later version of NES Lab may have written more keys
        if key in present and not same:
            raise _different_network(f"epitome layer {name!r} had {key}={value!r:.200} and has {present[key]!r} here")


def _cast(model: nn.Module, dtypes: Mapping[str, str]) -> None:
    """Give buffers of a rebuilt model the dtypes that they have in the original model.

    Only the buffers that are not part of a state dict are changed. Afterwards, all starts that a rule sets are computed
    again.

    Args:
        model: The rebuilt model; its buffers are changed.
        dtypes: Name of the dtype of each buffer, by the buffer's name.
    """
    for slot in unsaved_buffers(model):
        dtype = _DTYPES.get(dtypes.get(slot.name, ""))
        if dtype is not None and slot.tensor is not None and slot.tensor.dtype != dtype:
            setattr(slot.owner, slot.attribute, slot.tensor.to(dtype))
    for _, layer in named_epitome_layers(model):
        layer.routing.derive()
