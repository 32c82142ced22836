"""Write and read snapshots of a training: safetensors files with the starts of all layers.

Starts are the positions at which a layer reads its epitome. The first and the latest snapshot of a run also contain the
epitomes, as a tensor ``<layer>/epitome``. Up to :data:`STEPS_WITH_EPITOMES` snapshots between them contain rounded ones, as
a tensor ``<layer>/epitome8`` of 8-bit integers and a factor in the metadata. If the run keeps gradients of the epitomes, the
same snapshots contain them, rounded, as a tensor ``<layer>/gradient8``. The file has a tensor ``<layer>/starts.<axis>``
for each axis of the weight that has starts. An epitome that several layers read is kept once, under the name of the first
of them. The factors of the windows of a flat epitome are a tensor ``<layer>/alpha``, of half precision where epitomes are
rounded. The metadata of the file describes the shapes and options of each layer as JSON. This module needs numpy but not torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from nes_lab.errors import RunError
from nes_lab.geometry.layer_snapshot import LayerSnapshot
from nes_lab.runs.files import write_bytes

__all__ = [
    "Epitomes",
    "add_snapshot",
    "read_snapshot",
    "snapshot_path",
    "snapshot_steps",
    "weight_shapes",
    "write_snapshot",
]

Epitomes = Literal["exact", "rounded", "none"]
"""How a snapshot file holds the epitomes of the layers."""

STEPS_WITH_EPITOMES = 10
"""Largest number of snapshots between the first and the latest that keep rounded epitomes."""

MOST_BYTES = 2 * 2**20
"""Largest number of bytes of all rounded epitomes, their factors and gradients of a run. Large networks keep fewer of them, or none."""

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


def write_snapshot(path: Path, layers: Mapping[str, LayerSnapshot], epitomes: Epitomes = "exact") -> None:
    """Write the starts of all layers, and their epitomes if asked, to one snapshot file.

    Starts are the positions at which a layer reads its epitome. A crash never leaves an incomplete snapshot.

    Args:
        path: The file.
        layers: Starts and epitome of each layer, by the layer's name.
        epitomes: How the epitomes are written: ``"exact"``, ``"rounded"`` to 8 bits, or ``"none"``. Gradients are written rounded,
            or with ``"none"`` not at all.

    Raises:
        RunError: If the file cannot be written.
    """
    tensors: dict[str, np.ndarray] = {}
    metadata = {"format": "nes-lab-snapshot-1", "layers": json.dumps(list(layers))}
    for name, layer in layers.items():
        axes = [axis for axis, starts in enumerate(layer.starts) if starts is not None]
        about: dict[str, Any] = {key: [int(size) for size in getattr(layer, key)] for key in _SHAPES}
        about |= {key: getattr(layer, key) for key in _OPTIONS} | {"axes": len(layer.starts)}
        for axis in axes:
            tensors[f"{name}/starts.{axis}"] = np.ascontiguousarray(layer.starts[axis])
        about |= {"windows": layer.windows, "reads": layer.reads} if layer.scope == "flat" else {}
        if layer.alpha is not None and epitomes != "none":
            kind = np.float32 if epitomes == "exact" else np.float16
            tensors[f"{name}/alpha"] = np.ascontiguousarray(layer.alpha, dtype=kind)
        metadata[_PREFIX + name] = json.dumps(about)
        if layer.reads not in ("", name):
            continue
        if layer.epitome is not None and epitomes == "exact":
            tensors[f"{name}/epitome"] = np.ascontiguousarray(layer.epitome, dtype=np.float32)
        elif layer.epitome is not None and epitomes == "rounded":
            tensors[f"{name}/epitome8"], about["epitome_factor"] = _rounded(layer.epitome)
        if layer.gradient is not None and epitomes != "none":
            tensors[f"{name}/gradient8"], about["gradient_factor"] = _rounded(layer.gradient)
        metadata[_PREFIX + name] = json.dumps(about)
    write_bytes(path, save(tensors, metadata=metadata))


def _rounded(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Return 8-bit integers and the factor that turns them into the values, up to half of the factor."""
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    factor = float(np.abs(finite).max(initial=0.0)) / 127 or 1.0
    return np.rint(finite / factor).astype(np.int8), factor


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


def weight_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of the weight of each layer in a snapshot file. Only the head of the file is read.

    Raises:
        RunError: If the file is missing, damaged or not a snapshot.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        names = json.loads(metadata["layers"])
        return {name: tuple(json.loads(metadata[_PREFIX + name])["weight_shape"]) for name in names}
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise RunError(f"snapshot {path} is damaged: {error}") from error


def _layer(name: str, metadata: Mapping[str, str], keys: set[str], file: Any) -> LayerSnapshot:
    about = json.loads(metadata[_PREFIX + name])
    starts = [f"{name}/starts.{axis}" for axis in range(about["axes"])]
    kept = about.get("reads") or name
    rounded = f"{kept}/epitome8" in keys
    factors = about if kept == name else json.loads(metadata[_PREFIX + kept])

    def unrounded(kind: str) -> np.ndarray | None:
        if f"{kept}/{kind}8" not in keys:
            return None
        return file.get_tensor(f"{kept}/{kind}8").astype(np.float32) * np.float32(factors[f"{kind}_factor"])

    epitome = file.get_tensor(f"{kept}/epitome") if f"{kept}/epitome" in keys else unrounded("epitome")
    return LayerSnapshot(
        name=name,
        epitome=epitome,
        is_rounded=rounded,
        gradient=unrounded("gradient"),
        windows=about.get("windows", 1),
        alpha=file.get_tensor(f"{name}/alpha").astype(np.float32) if f"{name}/alpha" in keys else None,
        reads=about.get("reads", ""),
        starts=tuple(file.get_tensor(key) if key in keys else None for key in starts),
        **{key: tuple(about[key]) for key in _SHAPES},
        **{key: about[key] for key in _OPTIONS},
    )


def add_snapshot(folder: Path, step: int, layers: Mapping[str, LayerSnapshot]) -> Path:
    """Save the starts and epitomes of all layers as the latest snapshot of a run, and return the path of the file.

    Starts are the positions at which a layer reads its epitome.

    The first and the latest snapshot keep exact epitomes, and some between them rounded ones. If the run was resumed at an
    earlier step, there may be snapshots of later steps than this one. They are deleted.
    """
    folder.mkdir(exist_ok=True)
    path = snapshot_path(folder, step)
    layers = _with_small_gradients(layers)
    write_snapshot(path, layers)
    steps = snapshot_steps(folder)
    # Later steps exist if the run was resumed at an earlier step.
    for late in (item for item in steps if item > step):
        snapshot_path(folder, late).unlink(missing_ok=True)
    earlier = [item for item in steps if item < step]
    if len(earlier) > 1:
        _shrink(snapshot_path(folder, earlier[-1]), "rounded" if _most_steps(layers) else "none")
        _thin_out(folder, earlier[1:], _most_steps(layers))
    return path


def _most_steps(layers: Mapping[str, LayerSnapshot]) -> int:
    """Return how many snapshots between the first and the latest may keep rounded epitomes, and their gradients if there are any."""
    cells = sum(
        layer.epitome.size for name, layer in layers.items() if layer.epitome is not None and _keeps(name, layer)
    )
    factors = 2 * sum(layer.alpha.size for layer in layers.values() if layer.alpha is not None)
    gradients = _cells_of_gradients(layers)
    return min(STEPS_WITH_EPITOMES, (MOST_BYTES - gradients) // max(cells + factors + gradients, 1))


def _cells_of_gradients(layers: Mapping[str, LayerSnapshot]) -> int:
    return sum(
        layer.gradient.size for name, layer in layers.items() if layer.gradient is not None and _keeps(name, layer)
    )


def _keeps(name: str, layer: LayerSnapshot) -> bool:
    """Return True if the epitome that a layer reads is kept under the name of this layer."""
    return layer.reads in ("", name)


def _with_small_gradients(layers: Mapping[str, LayerSnapshot]) -> Mapping[str, LayerSnapshot]:
    """Return the layers without their gradients if those of one step are larger than what a run may keep."""
    if _cells_of_gradients(layers) <= MOST_BYTES:
        return layers
    return {name: replace(layer, gradient=None) for name, layer in layers.items()}


def _shrink(path: Path, epitomes: Epitomes) -> None:
    """Write a snapshot again with rounded epitomes or without epitomes."""
    write_snapshot(path, read_snapshot(path), epitomes)


def _thin_out(folder: Path, steps: list[int], most: int) -> None:
    """Remove epitomes from snapshots until at most ``most`` have one, where they are closest together.

    Args:
        folder: Folder of the snapshots.
        steps: Training steps between the first and the latest snapshot, in increasing order.
        most: Largest number of snapshots that keep their epitomes.
    """
    kept = [step for step in steps if _has_epitomes(snapshot_path(folder, step))]
    while len(kept) > most:
        gaps = [after - before for before, after in zip([0, *kept[:-1]], [*kept[1:], kept[-1] + 1], strict=True)]
        closest = kept[gaps.index(min(gaps))]
        _shrink(snapshot_path(folder, closest), "none")
        kept.remove(closest)


def _has_epitomes(path: Path) -> bool:
    try:
        with safe_open(path, framework="numpy") as file:
            return any(key.endswith(("/epitome", "/epitome8")) for key in file.keys())  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError):  # a damaged picture of an earlier step must not end a training
        return False
