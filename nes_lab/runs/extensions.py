"""Record that a run was given more epochs than it was planned with, and read these records.

Each record is called an extension. The file ``extensions.json`` of a run lists its extensions, oldest first. The file
``config.json`` stays as it was. When the configuration of the run is read, it gets the number of epochs of the last
extension.

Tests: tests/runs/test_extend.py.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nes_lab.errors import RunError
from nes_lab.runs import layout
from nes_lab.runs.files import read_json, remove, write_json
from nes_lab.text import format_value

__all__ = ["Extension", "add_extension", "drop_extension", "extended_config", "extension_text", "read_extensions"]


@dataclass(frozen=True)
class Extension:
    """One extension of a run: the new number of epochs, and how far the training was when it was set.

    Attributes:
        epochs: Number of epochs in total after the extension.
        planned: Number of epochs in total before the extension.
        from_step: Training steps that were done when the run was extended; 0 if the training had not started.
        from_epoch: Epochs that were done; not whole if the run was stopped within an epoch.
    """

    epochs: int
    planned: int
    from_step: int
    from_epoch: float


def read_extensions(folder: Path) -> tuple[Extension, ...]:
    """Read the extensions of a run, oldest first. An extension gives a run more epochs than planned. Most runs have none.

    Args:
        folder: Folder of the run.

    Raises:
        RunError: If ``extensions.json`` is damaged.
    """
    path = folder / layout.EXTENSIONS
    try:
        entries = read_json(path).get("extensions")
    except FileNotFoundError:
        return ()
    if not isinstance(entries, list) or not all(_is_valid(entry) for entry in entries):
        raise RunError(f"{path} is damaged: it should list extensions with epochs, planned, from_step and from_epoch")
    return tuple(Extension(**{name: entry[name] for name in Extension.__dataclass_fields__}) for entry in entries)


def _is_valid(entry: object) -> bool:
    if not isinstance(entry, Mapping):
        return False
    whole = all(type(entry.get(name)) is int and entry[name] >= 0 for name in ("epochs", "planned", "from_step"))
    return whole and type(entry.get("from_epoch")) in (int, float)


def add_extension(folder: Path, extension: Extension) -> None:
    """Add one extension (more epochs than planned) to the file ``extensions.json`` of a run, in one step.

    Raises:
        RunError: If the file cannot be written, or is damaged.
    """
    earlier = read_json(folder / layout.EXTENSIONS)["extensions"] if read_extensions(folder) else []
    entries = [*earlier, asdict(extension) | {"time": time.time()}]
    write_json(folder / layout.EXTENSIONS, {"schema_version": layout.SCHEMA_VERSION, "extensions": entries})


def drop_extension(folder: Path) -> None:
    """Remove the latest extension from the file ``extensions.json`` of a run. Without extensions, the file is removed too.

    Raises:
        RunError: If the file cannot be written, or is damaged.
    """
    entries = read_json(folder / layout.EXTENSIONS)["extensions"][:-1]
    if entries:
        write_json(folder / layout.EXTENSIONS, {"schema_version": layout.SCHEMA_VERSION, "extensions": entries})
    else:
        remove(folder / layout.EXTENSIONS)


def extended_config(config: Mapping[str, Any], extensions: Sequence[Extension]) -> dict[str, Any]:
    """Return the configuration of a run with the number of epochs of its last extension.

    Examples:
        >>> extended_config({"training": {"epochs": 20, "lr": 0.1}}, [Extension(40, 20, 600, 20.0)])
        {'training': {'epochs': 40, 'lr': 0.1}}
    """
    if not extensions:
        return dict(config)
    training = config.get("training")
    known = training if isinstance(training, Mapping) else {}
    return {**config, "training": {**known, "epochs": extensions[-1].epochs}}


def extension_text(extensions: Sequence[Extension]) -> str:
    """Return a text that lists the epochs at which a run was given more epochs than planned; empty if there are none.

    An extension before the first training step does not count, because it does not change how the run trains.

    Examples:
        >>> extension_text([Extension(40, 20, 600, 20.0), Extension(60, 40, 1200, 40.0)]), extension_text([])
        ('epochs 20, 40', '')
    """
    epochs = [format_value(extension.from_epoch) for extension in extensions if extension.from_step > 0]
    return f"epoch{'s' * (len(epochs) > 1)} {', '.join(epochs)}" if epochs else ""
