"""Check, before anything of a run changes, that its settings and its data are those with which it was trained.

Tests: tests/experiment/test_same_settings.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nes_lab.config import ExperimentConfig
from nes_lab.config.on_resume import SettingChange
from nes_lab.datasets.registry import load_dataset
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import CheckpointError
from nes_lab.experiment.same_settings import check_settings
from nes_lab.runs import checkpoints
from nes_lab.training.training_state import check_saved_data

__all__ = ["Continued", "check_continued"]


@dataclass(frozen=True)
class Continued:
    """Holds the data and the changed settings of a run that continues from a checkpoint.

    Attributes:
        data: The data, if it was given or loaded; otherwise None.
        changes: Fields of the configuration that have changed and may change.
        unknown: Why the settings could not be compared; empty if they were, or if the run has no checkpoint.
    """

    data: DatasetSpec | None = None
    changes: tuple[SettingChange, ...] = ()
    unknown: str = ""


def check_continued(folder: Path, config: ExperimentConfig, data: DatasetSpec | None) -> Continued:
    """Compare the configuration and the data of a run with those of its newest checkpoint. Nothing is written.

    Args:
        folder: Folder of the run.
        config: Configuration of the run.
        data: The data; None loads it, if there is something to compare it with.

    Raises:
        CheckpointError: If the configuration or the data has changed; the message says how.
        DataError: If the data is missing, incomplete or damaged.
    """
    if not checkpoints.has_any(folder):
        return Continued(data)
    record = checkpoints.latest_settings(folder)
    if record is None:
        return Continued(data, unknown="the checkpoint does not record the configuration; an older version wrote it")
    changes = tuple(check_settings(folder))
    data = load_dataset(config.data, seed=config.seed) if data is None else data
    try:
        check_saved_data(data, record.get("data") or {})
    except CheckpointError as error:
        raise CheckpointError(f"run {folder.name} cannot continue: {error}. The run is unchanged") from error
    return Continued(data, changes)
