"""Save and find the checkpoints of a run. A damaged checkpoint is never used.

``manifest.json`` lists the checkpoints of a run and the SHA-256 of each file. :func:`commit` adds a checkpoint in four
steps:

1. Give the written files their final names.
2. Write ``manifest.json``.
3. Write ``latest.json``, a copy of the newest entry of ``manifest.json``.
4. Delete the files of checkpoints that are too old.

The earlier checkpoints stay complete if the process is killed during these steps.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nes_lab.errors import CheckpointError, RunError
from nes_lab.runs import layout
from nes_lab.runs.checkpoint_score import Score, best_of
from nes_lab.runs.files import explain, read_json, sha256_of, write_json
from nes_lab.runs.replace import TEMPORARY, sync

__all__ = [
    "Checkpoint",
    "best",
    "commit",
    "drop_unfinished",
    "empty_manifest",
    "file_name",
    "has_any",
    "latest",
    "latest_settings",
]

_KINDS = {".safetensors": "weights", ".pt": "state", ".json": "settings"}
_ENDINGS = {"weights": ".safetensors", "state": ".state.pt", "settings": ".json"}


@dataclass(frozen=True)
class Checkpoint:
    """Holds the paths of the files of an undamaged checkpoint.

    The SHA-256 of each file equals the stored SHA-256.

    Attributes:
        step: Training steps done.
        weights: The safetensors file with the weights.
        state: The ``.pt`` file with the states of optimizer, schedule and random generators; None if there is no such file.
        note: Why newer checkpoints were skipped; empty if this checkpoint is the newest.
        averaged: True: use the averaged weights in the file. False: use the weights that the optimizer trained.
        score: How good the checkpoint is in validation; None if it was not validated, or if this was not looked up.
    """

    step: int
    weights: Path
    state: Path | None
    note: str = ""
    averaged: bool = False
    score: Score | None = None

    @property
    def value(self) -> float | None:
        """Value of the metric; None if it is not known.

        If :attr:`averaged` is True, it is the value of the network with averaged weights. Otherwise it is the value of the
        network that the optimizer trained.
        """
        return None if self.score is None else self.score.value(self.averaged)

    def text(self) -> str:
        """Return a text that names the network of this checkpoint, with the value of its metric if that is known.

        Examples:
            >>> score = Score("top1", "higher", plain=49.4, averaged=60.3)
            >>> Checkpoint(40, Path("w.safetensors"), None, averaged=True, score=score).text()
            'averaged weights of step 40, top1 60.3'
        """
        what = f"{'averaged weights' if self.averaged else 'weights'} of step {self.step}"
        return what if self.value is None or self.score is None else f"{what}, {self.score.metric} {self.value:.4g}"


def empty_manifest(run: Path) -> None:
    """Create the folder for the checkpoints of a new run, and in it ``manifest.json`` with an empty list.

    Every run has this file. A run without the file is damaged.
    """
    folder = run / layout.CHECKPOINTS
    folder.mkdir()
    write_json(folder / layout.MANIFEST, {"schema_version": layout.SCHEMA_VERSION, "checkpoints": []})


def file_name(step: int, attempt: int, kind: str) -> str:
    """Return the name of one file of a checkpoint. It contains the training step and the attempt.

    Args:
        step: Training steps done.
        attempt: 1 before the run was resumed, 2 after the first resume, and so on.
        kind: ``weights``, ``state`` for the file with the optimizer's state, or ``settings`` for the file that says with what
            configuration and data the run was trained.
    """
    return f"step-{step:08d}-a{attempt:02d}{_ENDINGS[kind]}"


def commit(
    run: Path, step: int, attempt: int, files: Iterable[Path], keep: int, score: Score | None = None
) -> dict[str, Any]:
    """Make files that were just written the latest checkpoint of a run, and delete old checkpoints.

    Three kinds of checkpoints are kept: the newest ones, the one with the best weights that the optimizer trained, and the one
    with the best averaged weights.

    Args:
        run: Folder of the run.
        step: Training steps done.
        attempt: 1 if the files were written before the run was resumed, 2 after the first resume, and so on.
        files: One ``.safetensors`` file, and at most one ``.pt`` file and one ``.json`` file, all in the folder of checkpoints.
        keep: How many of the newest checkpoints are kept.
        score: How good this checkpoint is in validation; None if it was not validated.

    Returns:
        The entry of the new checkpoint in ``manifest.json``.

    Raises:
        CheckpointError: If a file is missing, in another folder or of a wrong kind, or ``manifest.json`` is damaged.
    """
    folder = run / layout.CHECKPOINTS
    entry: dict[str, Any] = {"step": step, "attempt": attempt, "time": time.time(), "files": {}}
    for path in files:
        kind = _KINDS.get(path.suffix)
        if kind is None or kind in entry["files"] or path.parent.resolve() != folder.resolve():
            raise CheckpointError(
                f"{path} cannot be committed: give one .safetensors, one .pt and one .json file in {folder}"
            )
        entry["files"][kind] = _settle(path, folder / file_name(step, attempt, kind))
    if "weights" not in entry["files"]:
        raise CheckpointError(f"the checkpoint of step {step} has no .safetensors file")
    same = (step, attempt)
    entries = [item for item in _entries(folder, run) if (item.get("step"), item.get("attempt")) != same]
    if score is not None:
        entry["score"] = asdict(score)
    entries = _kept([*entries, entry], max(1, keep))
    sync(folder)
    write_json(folder / layout.MANIFEST, {"schema_version": layout.SCHEMA_VERSION, "checkpoints": entries})
    write_json(run / layout.LATEST, {"schema_version": layout.SCHEMA_VERSION, "checkpoint": entry})
    _sweep(folder, entries)
    return entry


def _kept(entries: list[dict[str, Any]], keep: int) -> list[dict[str, Any]]:
    """Return the entries of the checkpoints to keep, oldest first.

    These are the newest checkpoints (as many as the number ``keep``), the one with the best weights that the optimizer trained,
    and the one with the best averaged weights.
    """
    tops = [best_of(entries), best_of(entries, averaged=True)]
    return [item for item in entries[:-keep] if any(item is top for top in tops)] + entries[-keep:]


def drop_unfinished(run: Path, attempt: int) -> None:
    """Delete the temporary files of checkpoints that were never completed.

    Args:
        run: Folder of the run.
        attempt: 1 if the files were written before the run was resumed, 2 after the first resume, and so on.
    """
    for path in (run / layout.CHECKPOINTS).glob(f".saving-*-a{attempt:02d}.*"):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _settle(path: Path, final: Path) -> dict[str, Any]:
    try:
        sync(path)
        about = {"name": final.name, "sha256": sha256_of(path), "size": path.stat().st_size}
        path.replace(final)
    except OSError as error:
        raise CheckpointError(f"checkpoint file {path} cannot be committed: {explain(error)}") from error
    return about


def _sweep(folder: Path, entries: list[dict[str, Any]]) -> None:
    """Delete the checkpoint files that ``manifest.json`` does not list."""
    named = {about["name"] for entry in entries for about in entry["files"].values()} | {layout.MANIFEST}
    for path in folder.iterdir():
        if path.name not in named and (path.name.startswith((TEMPORARY, "step-", ".saving-"))):
            path.unlink(missing_ok=True)


def _entries(folder: Path, run: Path) -> list[dict[str, Any]]:
    """Return the entries of ``manifest.json``, the list of a run's checkpoints, oldest first.

    If ``manifest.json`` is missing or damaged, return the one entry in ``latest.json``.

    Raises:
        CheckpointError: If both files are missing or damaged.
    """
    try:
        entries = read_json(folder / layout.MANIFEST).get("checkpoints")
        if isinstance(entries, list) and all(isinstance(item, dict) for item in entries):
            return entries
    except (FileNotFoundError, RunError):
        pass
    try:
        return [dict(read_json(run / layout.LATEST)["checkpoint"])]
    except (FileNotFoundError, RunError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoints of run {run.name} cannot be trusted: {layout.MANIFEST} is missing or damaged and "
            f"{layout.LATEST} does not help ({error}); start a new run from its {layout.CONFIG}"
        ) from error


def latest(run: Path) -> Checkpoint | None:
    """Return the newest undamaged checkpoint of a run.

    The SHA-256 of each file is computed and compared with the stored one.

    Returns:
        The checkpoint, or None if the run never saved one. The attribute ``note`` of the checkpoint says
        why newer ones were skipped.

    Raises:
        CheckpointError: If all checkpoints of the run are damaged.
    """
    folder = run / layout.CHECKPOINTS
    problems: list[str] = []
    entries = _entries(folder, run)
    if not _is_readable(folder / layout.MANIFEST):
        problems.append(f"{layout.MANIFEST} is missing or damaged")
    for entry in reversed(entries):
        problem = _why_broken(folder, entry)
        if problem:
            problems.append(f"step {entry.get('step')}: {problem}")
            continue
        note = f"resuming from step {entry['step']} ({'; '.join(problems)})" if problems else ""
        return _opened(folder, entry, note)
    if problems or (run / layout.LATEST).exists():
        raise CheckpointError(
            f"all checkpoints of run {run.name} are damaged ({'; '.join(problems) or 'the manifest is empty'}); "
            f"start a new run from its {layout.CONFIG}"
        )
    return None


def has_any(run: Path) -> bool:
    """Return True if a run has saved a checkpoint, even if it is damaged.

    Raises:
        CheckpointError: If the list of checkpoints cannot be read.
    """
    return bool(_entries(run / layout.CHECKPOINTS, run))


def latest_settings(run: Path) -> dict[str, Any] | None:
    """Return the configuration and the data with which a run was trained, as its newest checkpoint records them.

    Only the small file that records them is read. Its SHA-256 is compared with the stored one.

    Returns:
        The content of the file; None if the run has no checkpoint, or if older versions wrote its checkpoints.

    Raises:
        CheckpointError: If the list of checkpoints cannot be read.
    """
    folder = run / layout.CHECKPOINTS
    for entry in reversed(_entries(folder, run)):
        files = entry.get("files")
        about = files.get("settings") if isinstance(files, dict) else None
        if about is not None and not _why_file_broken(folder, about):
            with contextlib.suppress(FileNotFoundError, RunError):
                return read_json(folder / about["name"])
    return None


def best(run: Path, averaged: bool | None = False) -> Checkpoint | None:
    """Return the checkpoint of a run with the best validation.

    The SHA-256 of each file is computed and compared with the stored one.

    Args:
        run: Folder of the run.
        averaged: False: compare the networks that the optimizer trained; True: those with averaged weights; None: both, and the
            attribute ``averaged`` of the checkpoint says which one is better.

    Returns:
        The checkpoint, or None if no checkpoint was validated.

    Raises:
        CheckpointError: If the files of this checkpoint are damaged, or the list of checkpoints cannot be read.
    """
    folder = run / layout.CHECKPOINTS
    entries = _entries(folder, run)
    plain, mean = best_of(entries), best_of(entries, averaged=True)
    if averaged is None:
        averaged = mean is not None and (plain is None or _beats(mean, plain))
    entry = mean or plain if averaged else plain  # older versions wrote only the value of the plain network
    if entry is None:
        return None
    if problem := _why_broken(folder, entry):
        raise CheckpointError(f"the best checkpoint of run {run.name}, step {entry.get('step')}, is damaged: {problem}")
    return replace(_opened(folder, entry), averaged=averaged, score=Score.of(entry))


def _beats(mean: dict[str, Any], plain: dict[str, Any]) -> bool:
    """Return True if the averaged network of one checkpoint is better than the plain network of another one."""
    score, rival = Score.of(mean), Score.of(plain)
    assert score is not None and rival is not None  # best_of returns scored entries
    assert score.averaged is not None and rival.plain is not None
    return score.is_better(score.averaged, rival.plain)


def _opened(folder: Path, entry: dict[str, Any], note: str = "") -> Checkpoint:
    paths = {kind: folder / about["name"] for kind, about in entry["files"].items()}
    return Checkpoint(entry["step"], paths["weights"], paths.get("state"), note)


def _is_readable(path: Path) -> bool:
    try:
        return isinstance(read_json(path).get("checkpoints"), list)
    except (FileNotFoundError, RunError):
        return False


def _why_broken(folder: Path, entry: dict[str, Any]) -> str:
    files = entry.get("files")
    if type(entry.get("step")) is not int or not isinstance(files, dict) or "weights" not in files:
        return "its entry in the manifest is damaged"
    return next(filter(None, (_why_file_broken(folder, about) for about in files.values())), "")


def _why_file_broken(folder: Path, about: object) -> str:
    name = about.get("name") if isinstance(about, dict) else None
    if not isinstance(about, dict) or not isinstance(name, str) or Path(name).name != name:
        return "its entry in the manifest is damaged"
    if (folder / name).is_symlink():
        return "its entry in the manifest is damaged"
    try:
        if (folder / name).stat().st_size != about.get("size"):
            return f"{name} has the wrong size"
        if sha256_of(folder / name) != about.get("sha256"):
            return f"{name} was altered (its SHA-256 differs)"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror or error})"
    return ""
