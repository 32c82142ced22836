"""Checkpoint files: weights as safetensors, the rest as plain tensors and numbers that ``weights_only`` accepts.

In the weights file the network's own entries have their state-dict names; those of the averaged network begin with
``ema/``. Nothing here is ever unpickled beyond tensors, numbers, text, lists and dicts.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nes_lab.errors import CheckpointError

if TYPE_CHECKING:
    from nes_lab.training.loop import Trainer

__all__ = [
    "EMA_PREFIX",
    "load_into",
    "load_optimizer",
    "load_state",
    "load_training",
    "load_weights",
    "save_state",
    "save_training",
    "save_weights",
]

EMA_PREFIX = "ema/"
_SHAPED = {"momentum_buffer", "exp_avg", "square_avg"}  # what has a parameter's shape in every optimizer that keeps it


def save_weights(path: Path, model: nn.Module, ema: nn.Module | None = None) -> None:
    """Write a network's state dict, and that of its moving average; tied entries are written each."""
    tensors = dict(model.state_dict())
    if ema is not None:
        tensors |= {EMA_PREFIX + name: tensor for name, tensor in ema.state_dict().items()}
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        save_file(whole, path, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"weights cannot be written to {path}: {error}") from error


def load_weights(path: Path, ema: bool = False) -> dict[str, Tensor]:
    """Read a state dict: the network's, or its moving average's.

    Raises:
        CheckpointError: If the file is missing or damaged, or holds no moving average.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"weights {path} cannot be read: {error}") from error
    averaged = {k.removeprefix(EMA_PREFIX): v for k, v in tensors.items() if k.startswith(EMA_PREFIX)}
    if ema and not averaged:
        raise CheckpointError(f"{path} holds no averaged weights; it was trained with ema_decay empty")
    return averaged if ema else {k: v for k, v in tensors.items() if not k.startswith(EMA_PREFIX)}


def load_into(model: nn.Module, weights: Mapping[str, Tensor], origin: Path) -> None:
    """Load a state dict into a network it fits exactly.

    Raises:
        CheckpointError: Naming entries that are missing, unknown or of another shape.
    """
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{origin} does not fit this network: {' '.join(str(error).split())[:800]}") from error


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the rest of a training: plain tensors, numbers, text, lists and dicts only."""
    try:
        torch.save(dict(state), path)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"state cannot be written to {path}: {error}") from error


def load_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote; anything that would run code is refused.

    Raises:
        CheckpointError: If the file is missing, damaged or holds more than plain values.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"state {path} cannot be read: {' '.join(str(error).split())[:400]}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"state {path} holds a {type(state).__name__}, not a dict")
    return state


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load an optimizer's state after comparing shapes, which torch itself does not.

    Raises:
        CheckpointError: If groups, counts or shapes differ.
    """
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"the optimizer's state does not fit: {error}") from error
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor) and name in _SHAPED and value.shape != parameter.shape:
                raise CheckpointError(
                    f"the optimizer's {name} has shape {tuple(value.shape)} where {tuple(parameter.shape)} is needed"
                )


def save_training(trainer: Trainer, weights: Path, state: Path, **extra: float | int | str) -> None:
    """Write all from which a training resumes: the networks to ``weights``, the rest and ``extra`` to ``state``."""
    save_weights(weights, trainer.model, None if trainer.ema is None else trainer.ema.module)
    save_state(state, trainer.state_dict() | extra)


def load_training(trainer: Trainer, weights: Path, state: Path) -> dict[str, Any]:
    """Put a fresh trainer where a saved one was, and return the saved state with its extras.

    Raises:
        CheckpointError: If a file is damaged, or is of another network, recipe or seed.
    """
    found = load_state(state)
    trainer.match_structure(found)
    load_into(trainer.model, load_weights(weights), weights)
    if trainer.ema is not None:
        load_into(trainer.ema.module, load_weights(weights, ema=True), weights)
    trainer.load_state_dict(found)
    return found
