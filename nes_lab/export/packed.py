"""Store tensors of a saved model in smaller types, and read them back as they were.

Starts that were rounded to integers are kept as floats while a network runs. A file holds them in the smallest type that fits.
Epitomes of int8 are kept as floats too. A file holds their integers and scales.

Tests: tests/export/test_file_size.py
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nes_lab.errors import CheckpointError
from nes_lab.export.outline import named_epitome_layers
from nes_lab.geometry.stored_types import START_TYPES, int8_bytes
from nes_lab.nn.frozen_starts import FrozenStarts
from nes_lab.nn.int8_cells import from_int8

__all__ = ["pack", "stored_integers", "unpack"]


def pack(model: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a model as the file stores them.

    Args:
        model: The model.
        tensors: Its tensors by name, each once; they are not changed.

    Returns:
        The tensors of the file, and for each one in a smaller type the name of the dtype that it has in the model.
    """
    stored, packed = dict(tensors), dict[str, str]()
    for name, parts in stored_integers(model).items():
        if name not in tensors:  # it is shared, and stored under another name
            continue
        packed[name] = str(tensors[name].dtype).removeprefix("torch.")
        stored |= {part: tensor.detach().cpu().contiguous() for part, tensor in parts.items()}
    return stored, packed


def unpack(tensors: Mapping[str, Tensor], packed: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the tensors of a file as the model needs them.

    Args:
        tensors: Tensors of the weights file by name.
        packed: Name of each tensor in a smaller type -> its dtype in the model, from the model's configuration.

    Raises:
        CheckpointError: If the file lacks a tensor that ``packed`` names, or it is not an integer.
    """
    ready = dict(tensors)
    for name, dtype in packed.items():
        kind = str(ready[name].dtype).removeprefix("torch.") if name in ready else "missing"
        scales = ready.pop(f"{name}_scales", None)
        if kind not in (*START_TYPES, "int8") or (scales is None) == (kind == "int8"):
            raise CheckpointError(
                f"{name} is {kind} in the file; it must be int8 with scales, or one of {', '.join(START_TYPES)}"
            )
        exact = getattr(torch, dtype)
        if scales is None:
            ready[name] = ready[name].to(exact)
        else:
            _check_scales(name, ready[name], scales)
            ready[name] = from_int8(ready[name], scales, exact)
    return ready


def _check_scales(name: str, integers: Tensor, scales: Tensor) -> None:
    expected = (int8_bytes(tuple(integers.shape)) - integers.numel()) // 2
    if scales.dtype != torch.bfloat16 or scales.numel() != expected or not bool(scales.isfinite().all()):
        raise CheckpointError(f"{name}_scales must hold {expected} finite numbers of bfloat16")


def stored_integers(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Return what a file stores instead of some tensors, by the name of the tensor: integers, and scales where they have some.

    These tensors are the starts that were rounded to integers, and epitomes of int8.

    Args:
        model: The model.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for name, layer in named_epitome_layers(model):
        starts = layer.routing.stored_integers() if isinstance(layer.routing, FrozenStarts) else {}
        for dot, own in (
            (f"{name}." if name else "", layer.stored_integers()),
            (f"{name}.routing." if name else "routing.", starts),
        ):
            found |= {dot + key: {dot + part: tensor for part, tensor in parts.items()} for key, parts in own.items()}
    return found
