"""Check, before a model is saved, that its folder can be loaded again and gives the same model.

The network is rebuilt from the configuration that is to be saved, without numbers where that is possible (on torch's meta device),
and compared with the model: modules, tensors, plain attributes, hooks, and the buffers that are not in the file.

Tests: tests/export/test_loadable.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.errors import NesLabError
from nes_lab.export.hooks import added_hook, hooks_of
from nes_lab.export.outline import named_epitome_layers
from nes_lab.export.plain_attributes import plain_attributes
from nes_lab.export.rebuild import WAY_OUT, dense_network, rebuild
from nes_lab.export.saved_config import wrong_description
from nes_lab.export.tensors import check_names, unsaved_buffers
from nes_lab.nn.copy_network import copy_network
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.own_attributes import own_attributes
from nes_lab.surgery.carry_over import MEMBERS, copy_with_replacements

__all__ = ["common_tensors", "loading_difference", "named_dense_network", "stand_in_dense_network"]

_HARMLESS = ("p", "momentum", "drop_prob", "drop_rate", "drop_path_rate", "inplace", "grad_checkpointing", "fused_attn")
"""Attributes that change training, memory or the order of additions, but not the outputs in evaluation mode."""


def loading_difference(
    model: nn.Module, dense: nn.Module, config: dict[str, Any], tensors: Mapping[str, Tensor]
) -> str:
    """Say what would prevent a saved model from being loaded as it is; empty if nothing would.

    Args:
        model: The model; it is not changed.
        dense: The dense network that loading would begin with, maybe on the meta device.
        config: The configuration that is to be saved.
        tensors: The tensors that are to be saved.
    """
    if wrong := wrong_description(config):
        return wrong
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.no_grad():
            rebuilt = rebuild(dense, config)
            check_names(rebuilt, tensors, config)
    except NesLabError as error:
        return str(error).removesuffix(f"; {WAY_OUT}")
    added = added_hook(config["hooks"], hooks_of(rebuilt))
    return added or _module_difference(model, rebuilt) or _buffer_difference(model, rebuilt)


def named_dense_network(stamp: Mapping[str, Any], model: nn.Module) -> nn.Module:
    """Create the dense network that a backbone's name and arguments make, with new numbers or none.

    Args:
        stamp: Name and arguments, as in the configuration of a saved model.
        model: The model that is to be saved. If it has buffers that are not in the file, the network gets numbers.

    Raises:
        CheckpointError: If the network cannot be created here.
    """
    config = {"backbone": stamp}
    with torch.random.fork_rng(devices=[]):
        if not _has_unsaved_buffers(model):
            try:
                with torch.device("meta"):
                    return dense_network(config, allow_import=True)
            except Exception:  # noqa: BLE001  some constructors compute with numbers
                pass
        return dense_network(config, allow_import=True)


def stand_in_dense_network(model: nn.Module) -> nn.Module:
    """Make the dense network that a user will give as ``model=``, without numbers, from the compressed model itself.

    Args:
        model: The model; it is not changed.
    """
    tensors = [*model.parameters(), *model.buffers()]
    memo: dict[int, Any] = {id(t): _without_numbers(t) for t in tensors}
    empty = copy_network(model, memo)
    with torch.random.fork_rng(devices=[]):
        dense = copy_with_replacements(empty, lambda _, m: m.to_dense() if isinstance(m, EpitomeLayer) else None)
    for name, layer in named_epitome_layers(
        empty
    ):  # what was added to an epitome layer, the user's network does not have
        stands_in = dense.get_submodule(name)
        for members in MEMBERS:
            for added in vars(stands_in)[members].keys() - own_attributes(type(stands_in)) - layer.carried:
                del vars(stands_in)[members][added]
    return dense


def common_tensors(model: nn.Module, dense: nn.Module) -> int:
    """Count the parameters and buffers that a dense network has with the same name and shape as a model.

    Examples:
        >>> common_tensors(nn.Linear(2, 3), nn.Linear(4, 3))
        1
    """
    named = [
        {(name, tensor.shape) for name, tensor in (*net.named_parameters(), *net.named_buffers())}
        for net in (model, dense)
    ]
    return len(named[0] & named[1])


def _without_numbers(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


# ---- what is compared ------------------------------------------------------------------------------------------------


def _module_difference(model: nn.Module, rebuilt: nn.Module) -> str:
    theirs = dict(rebuilt.named_modules(remove_duplicate=False))
    for name, module in model.named_modules(remove_duplicate=False):
        if name not in theirs:
            return f"it has a {type(module).__name__} {name!r} inside an epitome layer"
        here, there = (f"{t.__module__}.{t.__qualname__}" for t in (type(module), type(theirs[name])))
        if here != there:
            return f"{name!r} is a {here}, and a {there} in the loaded network"
    own, other = plain_attributes(model), plain_attributes(rebuilt)
    for name in own.keys() & other.keys():
        if own[name] != other[name] and name.rpartition(".")[2] not in _HARMLESS:
            return f"{name} is {own[name]}, and {other[name]} in the loaded network"
    return ""


def _has_unsaved_buffers(model: nn.Module) -> bool:
    return any(True for _ in _unsaved(model))


def _unsaved(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the buffers outside epitome layers that are not in the file; those of epitome layers are computed again."""
    inside = tuple(f"{name}." if name else "" for name, layer in named_epitome_layers(model))
    for slot in unsaved_buffers(model):
        if slot.tensor is not None and not (inside and slot.name.startswith(inside)):
            yield slot.name, slot.tensor


def _buffer_difference(model: nn.Module, rebuilt: nn.Module) -> str:
    theirs = dict(_unsaved(rebuilt))
    for name, tensor in _unsaved(model):
        other = theirs.get(name)
        if other is None:
            return f"its buffer {name} is not in the file (persistent=False), and the loaded network has none"
        if other.is_meta or tensor.is_meta:
            continue
        if tensor.shape != other.shape or not torch.equal(tensor.cpu(), other.to(tensor.dtype)):
            return f"its buffer {name} is not in the file (persistent=False), and the loaded network has other numbers there"
    return ""
