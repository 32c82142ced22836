"""Store tensors of a saved model in smaller types, and read them back as they were.

Starts that were rounded to integers are kept as floats while a network runs. A file holds them in the smallest type that fits.

Tests: tests/export/test_file_size.py
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nes_lab.errors import CheckpointError
from nes_lab.export.outline import named_epitome_layers
from nes_lab.geometry.stored_types import START_TYPES
from nes_lab.nn.starts import FrozenStarts

__all__ = ["pack", "stored_integers", "unpack"]


def pack(model: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a model as the file stores them.

    Args:
        model: The model.
        tensors: Its tensors by name, each once; they are not changed.

    Returns:
        The tensors of the file, and for each one in a smaller type the name of the dtype that it has in the model.
    """
    # a tensor that is shared is stored under one of its names
    smaller = {name: tensor for name, tensor in stored_integers(model).items() if name in tensors}
    stored = dict(tensors) | {name: tensor.detach().cpu().contiguous() for name, tensor in smaller.items()}
    return stored, {name: str(tensors[name].dtype).removeprefix("torch.") for name in smaller}


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
        if kind not in START_TYPES:
            raise CheckpointError(f"{name} is {kind} in the file; it must be one of {', '.join(START_TYPES)}")
        ready[name] = ready[name].to(getattr(torch, dtype))
    return ready


def stored_integers(model: nn.Module) -> dict[str, Tensor]:
    """Return each tensor that a file stores in a smaller type, by name, in that type: the starts that were rounded to integers.

    Args:
        model: The model.
    """
    return {
        f"{name}.routing.{own}" if name else f"routing.{own}": tensor
        for name, layer in named_epitome_layers(model)
        if isinstance(layer.routing, FrozenStarts)
        for own, tensor in layer.routing.stored_integers().items()
    }
