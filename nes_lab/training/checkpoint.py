"""Save a training to two files, a weights file and a state file, and load it from them.

The weights file has the safetensors format. It holds the network's tensors under their state-dict names. If the training keeps
a moving average of the weights, the file also holds the tensors of this average, with ``ema/`` before each name.

The state file holds everything else (optimizer, counters, random generators). It contains only tensors, numbers, text,
lists and dicts. It is read by ``torch.load(weights_only=True)``, which never runs code from the file.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nes_lab.errors import CheckpointError
from nes_lab.training.training_state import TrainingState

__all__ = [
    "EMA_PREFIX",
    "load_into",
    "load_state",
    "load_training",
    "load_weights",
    "save_state",
    "save_training",
    "save_weights",
]

EMA_PREFIX = "ema/"


def save_weights(path: Path, model: nn.Module, ema: nn.Module | None = None) -> None:
    """Write the state dict of a network to a safetensors file.

    The moving average of the weights may be written to the same file. A tensor with several names in the network is
    written under each name.

    Args:
        path: The file to write.
        model: The network.
        ema: A network that holds the moving average; None: only ``model`` is written.

    Raises:
        CheckpointError: If the file cannot be written.
    """
    tensors = dict(model.state_dict())
    if ema is not None:
        tensors |= {EMA_PREFIX + name: tensor for name, tensor in ema.state_dict().items()}
    on_cpu = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        save_file(on_cpu, path, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"weights cannot be written to {path}: {error}") from error


def load_weights(path: Path, ema: bool = False) -> dict[str, Tensor]:
    """Read the state dict of a network, or of the moving average of its weights, from a file.

    Args:
        path: The file, written by :func:`save_weights`.
        ema: True: read the moving average of the weights; False: read the network.

    Raises:
        CheckpointError: If the file is missing or damaged, or ``ema`` is True and the file holds no moving average.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"weights {path} cannot be read: {error}") from error
    averaged = {k.removeprefix(EMA_PREFIX): v for k, v in tensors.items() if k.startswith(EMA_PREFIX)}
    if ema and not averaged:
        raise CheckpointError(f"{path} holds no averaged weights: the run was trained without ema_decay")
    return averaged if ema else {k: v for k, v in tensors.items() if not k.startswith(EMA_PREFIX)}


def load_into(model: nn.Module, weights: Mapping[str, Tensor], origin: Path) -> None:
    """Load a state dict into a network that has exactly the same tensor names and shapes.

    Args:
        model: The network.
        weights: The state dict.
        origin: The file that holds the state dict, to be named in error messages.

    Raises:
        CheckpointError: If names or shapes differ; the message lists the tensors that are missing, unknown or of another shape.
    """
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{origin} does not fit this network: {' '.join(str(error).split())[:800]}") from error


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a training to a checkpoint file.

    The state consists of tensors, numbers, text, lists and dicts.

    Raises:
        CheckpointError: If the file cannot be written.
    """
    try:
        torch.save(dict(state), path)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"state cannot be written to {path}: {error}") from error


def load_state(path: Path) -> dict[str, Any]:
    """Read the state of a training that :func:`save_state` wrote. Code in the file is never run.

    Raises:
        CheckpointError: If the file is missing or damaged, or holds anything but tensors, numbers, text, lists and dicts.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"state {path} cannot be read: {' '.join(str(error).split())[:400]}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"state {path} holds a {type(state).__name__}, not a dict")
    return state


def save_training(training: TrainingState, weights: Path, state: Path, **extra: float | int | str) -> None:
    """Write everything that is needed to resume a training to two files.

    Args:
        training: The training to save.
        weights: The file to write the network and its moving average to.
        state: The file to write everything else to, such as the optimizer and the random generators.
        extra: Your own values to store in the ``state`` file; :func:`load_training` returns them.

    Raises:
        CheckpointError: If a file cannot be written.
    """
    save_weights(weights, training.model, None if training.ema is None else training.ema.module)
    save_state(state, training.state_dict() | extra)


def load_training(
    training: TrainingState, weights: Path, state: Path, earlier_epochs: Sequence[int] = ()
) -> dict[str, Any]:
    """Load a saved training into a new training. The new one then continues where the saved one stopped.

    Args:
        training: A new training with the same network, recipe, seed and data. The saved values are loaded into it.
        weights: The file of the network and its moving average.
        state: The file of everything else.
        earlier_epochs: Numbers of epochs that the recipe had before the training was extended. A training that was saved with one
            of them is accepted too.

    Returns:
        The content of the ``state`` file, with the extra values that were given to :func:`save_training`.

    Raises:
        CheckpointError: If a file is damaged, or belongs to a training with another network, recipe, seed or data set.
    """
    saved = load_state(state)
    training.match_structure(saved)
    load_into(training.model, load_weights(weights), weights)
    if training.ema is not None:
        load_into(training.ema.module, load_weights(weights, ema=True), weights)
    training.load_state_dict(saved, earlier_epochs)
    return saved
