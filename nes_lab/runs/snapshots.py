"""Write and read snapshots of a training: safetensors files with the starts of all layers.

Starts are the positions at which a layer reads its epitome. Only the first and the latest snapshot of a run also contain
the epitomes. The file has a tensor ``<layer>/epitome``, and a tensor ``<layer>/starts.<axis>`` for each axis of the weight
that has starts. The metadata of the file describes the shapes and options of each layer as JSON. This module needs
numpy but not torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from nes_lab.errors import RunError
from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.runs.files import write_bytes

__all__ = ["add_snapshot", "read_snapshot", "snapshot_path", "snapshot_steps", "write_snapshot"]

_NAME = re.compile(r"step-(\d{8,12})\.safetensors")
_PREFIX = "layer:"
_SHAPES = ("weight_shape", "epitome_shape", "patch_shape")
_OPTIONS = ("scope", "boundary", "routing")


def snapshot_path(folder: Path, step: int) -> Path:
    """Return the path of the snapshot file of one training step.

    A snapshot holds the starts of all layers: the positions at which a layer reads its epitome.
    """
    return folder / f"step-{step:08d}.safetensors"


def snapshot_steps(folder: Path) -> list[int]:
    """Return the training steps that have a snapshot file in the folder, in increasing order.

    A snapshot holds the starts of all layers: the positions at which a layer reads its epitome.
    """
    matches = (_NAME.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(int(match[1]) for match in matches if match)


def write_snapshot(path: Path, layers: Mapping[str, LayerSnapshot], with_epitomes: bool = True) -> None:
    """Write the starts of all layers, and their epitomes if asked, to one snapshot file.

    Starts are the positions at which a layer reads its epitome. A crash never leaves an incomplete snapshot.

    Args:
        path: The file.
        layers: Starts and epitome of each layer, by the layer's name.
        with_epitomes: Whether to write the epitomes too.

    Raises:
        RunError: If the file cannot be written.
    """
    tensors: dict[str, np.ndarray] = {}
    metadata = {"format": "nes-lab-snapshot-1", "layers": json.dumps(list(layers))}
    for name, layer in layers.items():
        axes = [axis for axis, starts in enumerate(layer.starts) if starts is not None]
        about: dict[str, Any] = {key: [int(size) for size in getattr(layer, key)] for key in _SHAPES}
        about |= {key: getattr(layer, key) for key in _OPTIONS} | {"axes": len(layer.starts)}
        metadata[_PREFIX + name] = json.dumps(about)
        for axis in axes:
            tensors[f"{name}/starts.{axis}"] = np.ascontiguousarray(layer.starts[axis])
        if with_epitomes and layer.epitome is not None:
            tensors[f"{name}/epitome"] = np.ascontiguousarray(layer.epitome, dtype=np.float32)
    write_bytes(path, save(tensors, metadata=metadata))


def read_snapshot(path: Path) -> dict[str, LayerSnapshot]:
    """Read a snapshot file. Return the saved starts and epitome of each layer, by the layer's name.

    Starts are the positions at which a layer reads its epitome. An epitome that was not saved is None. The layers are
    in the order in which they were written. Each entry also has the shapes of weight, epitome and patches, and the options.

    Raises:
        RunError: If the file is missing, damaged or not a snapshot.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            keys = set(file.keys())
            return {name: _layer(name, metadata, keys, file) for name in json.loads(metadata["layers"])}
    except FileNotFoundError as error:
        raise RunError(f"there is no snapshot {path.name} in {path.parent}") from error
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise RunError(f"snapshot {path} is damaged: {error}") from error


def _layer(name: str, metadata: Mapping[str, str], keys: set[str], file: Any) -> LayerSnapshot:
    about = json.loads(metadata[_PREFIX + name])
    starts = [f"{name}/starts.{axis}" for axis in range(about["axes"])]
    return LayerSnapshot(
        name=name,
        epitome=file.get_tensor(f"{name}/epitome") if f"{name}/epitome" in keys else None,
        starts=tuple(file.get_tensor(key) if key in keys else None for key in starts),
        **{key: tuple(about[key]) for key in _SHAPES},
        **{key: about[key] for key in _OPTIONS},
    )


def add_snapshot(folder: Path, step: int, layers: Mapping[str, LayerSnapshot]) -> Path:
    """Save the starts and epitomes of all layers as the latest snapshot of a run, and return the path of the file.

    Starts are the positions at which a layer reads its epitome.

    Only the first and the latest snapshot keep the epitomes. If the run was resumed at an earlier step, there may be snapshots of
    later steps than this one. They are deleted.
    """
    folder.mkdir(exist_ok=True)
    path = snapshot_path(folder, step)
    write_snapshot(path, layers, with_epitomes=True)
    steps = snapshot_steps(folder)
    # Later steps exist if the run was resumed at an earlier step.
    for late in (item for item in steps if item > step):
        snapshot_path(folder, late).unlink(missing_ok=True)
    earlier = [item for item in steps if item < step]
    if len(earlier) > 1:
        before = snapshot_path(folder, earlier[-1])
        write_snapshot(before, read_snapshot(before), with_epitomes=False)
    return path
