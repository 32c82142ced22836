"""Keep what a worker found out about a run in the run's folder, so that it is there after a restart. Imports no torch.

Tests: tests/worker/test_predictions.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nes_lab.errors import ExportError, NesLabError
from nes_lab.runs.bundled import is_read_only
from nes_lab.runs.files import read_json, write_json
from nes_lab.runs.handle import RunHandle
from nes_lab.runs.layout import default_root

__all__ = ["FOLDER", "answers_folder", "exported_file", "keep_answer", "kept_answer", "needed_objects"]

FOLDER = "exports"
"""Name of the folder that holds what was exported and measured of a run."""


def answers_folder(run: RunHandle) -> Path:
    """Return the folder for what is exported and measured of a run: in its own folder, or beside the runs if it can only be read."""
    if is_read_only(run.store.root):
        return default_root().absolute().parent / FOLDER / run.id
    return run.folder / FOLDER


def keep_answer(run: RunHandle, name: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Write an answer into the run's folder, and return it with the training step of the run.

    Args:
        run: The run.
        name: Name of the file, without its ending.
        answer: The answer, as data for JSON.

    Raises:
        ExportError: If the folder cannot be made.
        RunError: If the file cannot be written.
    """
    folder = answers_folder(run)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{folder} cannot be made: {error.strerror or error}") from error
    kept = answer | {"step": run.info.step}
    write_json(folder / f"{name}.json", kept, durable=False)
    return kept


def kept_answer(run: RunHandle, name: str) -> dict[str, Any] | None:
    """Return the answer with this name; None if there is none, it cannot be read, or the run has trained further since."""
    try:
        answer = read_json(answers_folder(run) / f"{name}.json")
    except (FileNotFoundError, NesLabError):
        return None
    return answer if isinstance(answer, dict) and answer.get("step") == run.info.step else None


def exported_file(run: RunHandle, answer: Mapping[str, Any]) -> Path:
    """Return the path of the file that an answer about an export names. The run may have been moved since, with its files.

    Args:
        run: The run.
        answer: The answer, with ``path``.
    """
    return answers_folder(run) / Path(answer["path"]).name


def needed_objects(run: RunHandle, *names: str) -> str:
    """Return a sentence that says what was given in memory, so that a worker cannot load it again; empty if nothing was.

    Args:
        run: The run.
        names: What is needed: ``"network"`` or ``"data"``.
    """
    given = [name for name in names if name in run.info.given]
    if not given:
        return ""
    what = " and the ".join(given)
    return (
        f"The {what} of this run was given as an object in Python, which the run's files do not hold. Open the run in Python "
        f"instead: nes_lab.open_run({run.info.id!r})."
    )
