"""Collect the tensors of a model by name, each once, and put saved tensors back into a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from nes_lab.errors import CheckpointError
from nes_lab.nn.copy_network import copy_parameter_extras
from nes_lab.nn.free_starts import FreeStarts
from nes_lab.nn.layer import EpitomeLayer
from nes_lab.nn.reading_record import ReadingRecord
from nes_lab.nn.starts import start_name

__all__ = [
    "Slot",
    "StoredTensors",
    "check_names",
    "check_numbers",
    "collect_tensors",
    "fill",
    "slots",
    "unsaved_buffers",
]


@dataclass(frozen=True)
class Slot:
    """Holds one parameter or buffer of a module: an attribute that contains a tensor or is None.

    Args:
        name: Name of the tensor in the model's state dict.
        owner: The module that has the attribute.
        attribute: Name of the attribute.
        tensor: The tensor; None: the attribute is None.
        parameter: True for a parameter, False for a buffer.
        axis: Only for starts of a module with ``free`` routing: index of their weight axis. The module keeps each start as the
            sum of a fixed anchor and a learned offset; the tensor holds the sums. None in all other cases.
    """

    name: str
    owner: nn.Module
    attribute: str
    tensor: Tensor | None
    parameter: bool
    axis: int | None = None


def slots(model: nn.Module) -> Iterator[Slot]:
    """Yield all parameters and persistent buffers of a model. A shared tensor is yielded once for each of its names.

    A module with ``free`` routing keeps each start as the sum of a fixed anchor and a learned offset. For each axis of
    such a module, one tensor with these sums is yielded.
    """
    sums: dict[tuple, Tensor] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        dot = f"{prefix}." if prefix else ""
        if isinstance(module, FreeStarts):
            yield from _starts_slots(dot, module, sums)
            continue
        for name, parameter in module._parameters.items():
            yield Slot(dot + name, module, name, parameter, True)
        for name, buffer in module._buffers.items():
            if name not in module._non_persistent_buffers_set:
                yield Slot(dot + name, module, name, buffer, False)


def _starts_slots(dot: str, starts: FreeStarts, sums: dict[tuple, Tensor]) -> Iterator[Slot]:
    for axis, offsets in starts.tables():
        key = _identity(starts.anchor(axis)), _identity(offsets)
        if key not in sums:  # where two modules share both tensors, they share the sum
            sums[key] = starts.unclamped(axis).detach().requires_grad_(offsets.requires_grad)
        name = start_name(starts.geometry, axis)
        yield Slot(dot + name, starts, name, sums[key], True, axis)


def unsaved_buffers(model: nn.Module) -> Iterator[Slot]:
    """Yield the buffers of a model that are not in the model's state dict."""
    for prefix, module in model.named_modules():
        for name, buffer in module._buffers.items():
            if name in module._non_persistent_buffers_set and buffer is not None:
                yield Slot(f"{prefix}.{name}" if prefix else name, module, name, buffer, False)


@dataclass(frozen=True)
class StoredTensors:
    """Holds the tensors of a model, and what is needed to put them back: shared names, strides and ``requires_grad``.

    Args:
        tensors: The tensors by name, each once, contiguous and on the CPU.
        tied: For every further name of a shared tensor, the name under which the tensor is stored.
        strides: Strides by name, for tensors that are not contiguous in the model, such as those in channels_last format.
        fixed: Names of the parameters with ``requires_grad=False``.
    """

    tensors: dict[str, Tensor]
    tied: dict[str, str]
    strides: dict[str, list[int]]
    fixed: list[str]


def collect_tensors(model: nn.Module) -> StoredTensors:
    """Collect the tensors of a model for saving; a tensor with several names is stored once.

    Raises:
        CheckpointError: If a tensor has no values yet or contains NaN, or a module has state that is not a tensor.
    """
    stored = StoredTensors({}, {}, {}, [])
    known: dict[tuple, str] = {}
    for slot in slots(model):
        if slot.tensor is None:
            continue
        tensor = _checked(slot)
        key = _identity(tensor)
        if key in known:
            stored.tied[slot.name] = known[key]
            continue
        known[key] = slot.name
        stored.tensors[slot.name] = tensor.detach().cpu().contiguous().clone()
        if _is_permuted(tensor):
            stored.strides[slot.name] = list(tensor.stride())
        if slot.parameter and not tensor.requires_grad:
            stored.fixed.append(slot.name)
    for name, module in model.named_modules():
        if type(module).get_extra_state not in (nn.Module.get_extra_state, ReadingRecord.get_extra_state):
            raise CheckpointError(
                f"module {name!r} ({type(module).__name__}) keeps extra state (get_extra_state), which a safetensors file cannot hold"
            )
    return stored


def _checked(slot: Slot) -> Tensor:
    tensor = slot.tensor
    assert tensor is not None  # the caller has checked it
    if is_lazy(tensor) or tensor.is_meta:
        raise CheckpointError(
            f"{slot.name} has no values yet: run the model once, or give it weights, before saving it"
        )
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise CheckpointError(
            f"{slot.name} is a {tensor.layout} tensor of {tensor.dtype}; only plain tensors are saved"
        )
    check_numbers(slot.name, tensor, slot.parameter)
    return tensor


def check_numbers(name: str, tensor: Tensor, parameter: bool) -> None:
    """Refuse a tensor that contains NaN, and a parameter that contains infinity.

    Buffers may contain infinity, for example in masks.

    Raises:
        CheckpointError: If the tensor is refused; the message names the tensor.
    """
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() == 0:
        return
    if tensor.itemsize == 1:  # torch has no arithmetic for eight-bit floats
        tensor = tensor.float()
    if bool(tensor.isnan().any()) or (parameter and not bool(tensor.isfinite().all())):
        raise CheckpointError(
            f"{name} holds NaN or infinity; such a model is neither saved nor loaded: go back to a good checkpoint"
        )


def _identity(tensor: Tensor) -> tuple:
    if tensor.numel() == 0:
        return (id(tensor),)
    where = tensor.untyped_storage().data_ptr(), tensor.storage_offset()
    return (*where, tensor.device, tuple(tensor.shape), tensor.stride(), tensor.dtype)


def _is_permuted(tensor: Tensor) -> bool:
    plain = torch.empty(tensor.shape, device="meta").stride()
    return tensor.stride() != plain and _fills(tuple(tensor.shape), tensor.stride())


def _fills(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Return True if a tensor of this shape and stride covers its memory without gaps or overlaps."""
    expected = 1
    for step, size in sorted((s, n) for s, n in zip(stride, shape, strict=True) if n > 1):
        if step != expected:
            return False
        expected *= size
    return True


# ---- back into a model -----------------------------------------------------------------------------------------------


def fill(model: nn.Module, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Put the tensors of a saved model into a rebuilt model, with the saved dtypes, memory layouts and shared tensors.

    Args:
        model: The rebuilt model; its tensors are replaced.
        tensors: The tensors of the weights file by name.
        config: Configuration of the saved model (the content of ``config.json``).

    Raises:
        CheckpointError: If names or shapes in file and model differ; the message names the first tensor that is missing, unknown
            or of another shape. Then the model is not changed.
    """
    by_name, source = check_names(model, tensors, config)
    ready = {name: _laid_out(name, tensor, config["strides"].get(name)) for name, tensor in tensors.items()}
    fixed = set(config["fixed_parameters"])
    made: dict[str, nn.Parameter] = {}
    for name, origin in source.items():
        slot = by_name[name]
        value: Tensor = ready[origin]
        if slot.parameter and origin not in made:
            # starts become anchors; their parameters are the offsets
            parameter = value if slot.axis is None else torch.zeros_like(value)
            made[origin] = nn.Parameter(parameter, origin not in fixed and value.is_floating_point())
            if isinstance(slot.tensor, nn.Parameter):
                copy_parameter_extras(slot.tensor, made[origin], None)
        if isinstance(slot.owner, FreeStarts) and slot.axis is not None:
            slot.owner.hold_(slot.axis, value, made[origin])
        else:
            setattr(slot.owner, slot.attribute, made[origin] if slot.parameter else value)


def check_names(
    model: nn.Module, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Slot], dict[str, str]]:
    """Check that a rebuilt model takes the tensors of a saved model.

    Args:
        model: The rebuilt model; it is not changed.
        tensors: The tensors of the weights file by name.
        config: Configuration of the saved model (the content of ``config.json``).

    Returns:
        The parameters and buffers of the model by name, and for each name the name of its tensor in the file.

    Raises:
        CheckpointError: If names or shapes differ; the message names the first tensor that is missing, unknown or of another shape.
    """
    by_name = {slot.name: slot for slot in slots(model)}
    source = {name: name for name in tensors} | dict(config["tied"])
    for name, slot in by_name.items():
        if slot.tensor is not None and name not in source:
            raise CheckpointError(f"the file lacks {name}, which the model has")
    for name, origin in source.items():
        if origin not in tensors:
            raise CheckpointError(f"{name} is said to be the same as {origin}, which the file lacks")
        slot = by_name.get(name)
        shape = None if slot is None else _expected_shape(slot)
        if slot is None or shape is None:
            raise CheckpointError(f"the file has {name}, which the model lacks")
        tensor = tensors[origin]
        if tuple(tensor.shape) != shape:
            raise CheckpointError(f"{name} has shape {tuple(tensor.shape)} in the file; the model needs {shape}")
        check_numbers(name, tensor, slot.parameter)
        if slot.tensor is not None and slot.tensor.is_floating_point() != tensor.is_floating_point():
            raise CheckpointError(f"{name} is {tensor.dtype} in the file; the model needs {slot.tensor.dtype}")
    return by_name, source


def _expected_shape(slot: Slot) -> tuple[int, ...] | None:
    """Return the shape that the saved tensor of a parameter or buffer must have.

    A tensor that is None in the rebuilt model can have a saved tensor only if :func:`nes_lab.fuse` has added it: the
    bias of a layer, or the scale of an epitome layer. The result is None if the file must not contain the tensor.
    """
    if slot.tensor is not None:
        return tuple(slot.tensor.shape)
    if isinstance(slot.owner, EpitomeLayer) and slot.attribute in ("bias", "scale"):
        return (slot.owner.geometry.weight_shape[0],)
    if slot.attribute != "bias":
        return None
    channels = getattr(slot.owner, "out_channels", getattr(slot.owner, "out_features", None))
    return None if channels is None else (channels,)


def _laid_out(name: str, tensor: Tensor, stride: list[int] | None) -> Tensor:
    if stride is None:
        return tensor.clone()  # the file's memory may not be aligned for torch's kernels
    if len(stride) != tensor.ndim or not _fills(tuple(tensor.shape), tuple(stride)):
        raise CheckpointError(f"{name}: strides {stride} do not lay out a tensor of shape {tuple(tensor.shape)}")
    return torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype).copy_(tensor)
