"""Record with which configuration and data a run is trained, and compare both with those of a run that is to be resumed.

Each checkpoint holds the record, so the configuration is part of the saved state. Nothing here imports torch.

Tests: tests/experiment/test_same_settings.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nes_lab.config import ExperimentConfig, load_config
from nes_lab.config.on_resume import SettingChange, on_resume, setting_changes
from nes_lab.errors import CheckpointError, OptionError
from nes_lab.runs import checkpoints, layout
from nes_lab.runs.files import sha256_of
from nes_lab.runs.info import read_config

__all__ = ["check_settings", "settings_record", "trained_config"]

RECORD_SCHEMA = 1
HASHED = ("backbone.checkpoint", "training.kd_checkpoint")
"""Fields that name a file with weights. The file may move, but its SHA-256 must stay the same."""


def settings_record(config: ExperimentConfig, data: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a configuration and a data set, for the checkpoints of a run, as plain JSON values.

    Args:
        config: The configuration in the run's ``config.json``, with the number of epochs before any extension.
        data: Properties of the data that must stay the same (``DatasetSpec.identity``).
    """
    files = {path: sha256_of(file) for path, file in _files(config).items() if file.is_file()}
    return {"schema_version": RECORD_SCHEMA, "config": config.to_dict(), "files": files, "data": data}


def _files(config: ExperimentConfig) -> dict[str, Path]:
    """Return the files that a configuration names, by the dotted path of the field."""
    tree = config.model_dump()
    found = {path: tree[path.split(".")[0]][path.split(".")[1]] for path in HASHED}
    return {path: file for path, file in found.items() if file is not None}


def trained_config(folder: Path) -> ExperimentConfig | None:
    """Return the configuration with which a run was trained, with the number of epochs before any extension.

    Args:
        folder: Folder of the run.

    Returns:
        The configuration that the newest checkpoint records. None if there is no checkpoint, if an older version wrote it, or if
        this version does not know a field of it.
    """
    record = checkpoints.latest_settings(folder) or {}
    try:
        return load_config(record["config"]) if isinstance(record.get("config"), dict) else None
    except OptionError:
        return None


def check_settings(folder: Path) -> list[SettingChange]:
    """Check that the configuration of a run is still the one with which the run was trained. Nothing is written.

    Args:
        folder: Folder of the run.

    Returns:
        The fields that have changed and may change. Empty if there are none, or if the run has no record to compare with.

    Raises:
        OptionError: If ``config.json`` is not valid; the message names the field.
        CheckpointError: If a field has changed that decides the training, or the content of a file that the configuration
            names. The message gives the path of each field, its old value and its new one.
    """
    before = trained_config(folder)
    if before is None:
        return []
    now = load_config(read_config(folder))  # without the epochs of an extension
    changes = setting_changes(before, now)
    refused = [change.text() for change in changes if on_resume(change.path) == "decides"]
    refused += _changed_files(folder, now)
    if not refused:
        return changes
    raise CheckpointError(
        f"run {folder.name} cannot continue with other settings than it was trained with: {'; '.join(refused)}. "
        f"{_about_epochs(folder.name, before.training.epochs, now.training.epochs)}Put back what {folder / layout.CONFIG} said. "
        f"Or start a new run from it: nes-lab train CONFIG --from {folder.name}. The run is unchanged"
    )


def _about_epochs(run_id: str, before: int, now: int) -> str:
    """Return what to do instead of an edit of ``training.epochs``."""
    if now == before:
        return ""
    if now < before:
        return "A run cannot be made shorter. "
    return (
        f"To train it longer: nes-lab resume {run_id} --epochs {now}, or in Python run.extend({now}); "
        f"training.epochs stays {before}. "
    )


def _changed_files(folder: Path, config: ExperimentConfig) -> list[str]:
    saved = (checkpoints.latest_settings(folder) or {}).get("files")
    found = []
    for path, file in _files(config).items():
        if not isinstance(saved, dict) or path not in saved:
            continue
        if not file.is_file():
            found.append(f"{path}={str(file)!r} is missing")
        elif sha256_of(file) != saved[path]:
            found.append(f"{path}={str(file)!r} has another content than before")
    return found
