"""Start a sweep as a process of its own, stop it and continue it. The caller needs neither torch nor Optuna nor Ray.

Tests: tests/sweeps/test_form.py.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nes_lab.config.sweep import load_sweep
from nes_lab.errors import MissingPackageError, RunError
from nes_lab.packages import PACKAGES, needed_for
from nes_lab.records.options import ExecutorName
from nes_lab.runs import spawn
from nes_lab.runs.files import write_json
from nes_lab.runs.process import Identity
from nes_lab.runs.replace import write_target
from nes_lab.runs.store import RunStore
from nes_lab.sweeps.overview import FILE, LAUNCH, LOG, SweepView, read_sweep, sweep_folder
from nes_lab.sweeps.space import has_grown
from nes_lab.sweeps.sweep import Sweep

with needed_for("a sweep"):
    import yaml

__all__ = ["check_sweep", "launch_sweep", "missing_package", "resume_sweep", "stop_sweep"]


def missing_package(executor: ExecutorName = "local") -> str:
    """Return what to install before a sweep can run, as a sentence; empty if nothing is missing."""
    modules = ("optuna", "sqlalchemy", *(("ray",) if executor == "ray" else ()))
    for module in modules:
        if importlib.util.find_spec(module) is None:
            package, extra = PACKAGES[module]
            return f"A sweep needs {package}, which is not installed. Install it with: pip install 'nes-lab[train,{extra}]'"
    return ""


def check_sweep(tree: Mapping[str, Any], store: RunStore) -> Sweep:
    """Check a sweep and all its trials without writing anything, and return it.

    Raises:
        OptionError: If a field is wrong.
        RunError: If a sweep of this name is running, or has other settings.
    """
    sweep = Sweep(load_sweep(tree), store)
    view = read_sweep(store, sweep.config.name)
    if view is None:
        return sweep
    if view.is_running:
        raise RunError(f"sweep {view.name!r} is running; stop it, or give the new sweep another name")
    now = json.loads(json.dumps(sweep.definition(), default=str))
    then = {name: view.definition[name] for name in now if name in view.definition}
    if then and then != now and not has_grown(then, now):
        raise RunError(f"name {view.name!r} is taken by a sweep with other settings; give the new sweep another name")
    return sweep


def launch_sweep(tree: Mapping[str, Any], store: RunStore, jobs: int = 1, executor: ExecutorName = "local") -> str:
    """Check a sweep and start it as a process that lives on when the caller ends. Return its name.

    Args:
        tree: The configuration of the sweep, as for :func:`nes_lab.run_sweep`.
        store: The store of the runs. The sweep's folder is beside it.
        jobs: Number of trials that train at the same time.
        executor: ``"local"`` or ``"ray"``.

    Raises:
        OptionError: If a field is wrong. Nothing is written.
        RunError: If the sweep is running, or its process cannot be started.
        MissingPackageError: If Optuna or Ray is not installed.
    """
    if missing := missing_package(executor):
        raise MissingPackageError(missing)
    sweep = check_sweep(tree, store)
    folder = sweep.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_target(folder / FILE, yaml.safe_dump(dict(tree), sort_keys=False))
        words = ["-m", "nes_lab.cli", "sweep", str(folder / FILE), "--executor", executor, "--jobs", str(jobs)]
        child = spawn.start_detached(
            words, folder / LOG, environment={"NES_LAB_HOME": str(store.root.parent.absolute())}
        )
    except OSError as error:
        raise RunError(f"sweep {sweep.config.name!r} cannot be started: {error.strerror or error}") from error
    about = {"jobs": jobs, "executor": executor, "planned": sweep.space.planned}
    with contextlib.suppress(RunError):  # it has already ended
        about |= Identity.of(child).to_dict()
    write_json(folder / LAUNCH, about)
    return sweep.config.name


def stop_sweep(store: RunStore, name: str) -> None:
    """Ask a running sweep to stop. Its runs save a checkpoint and can be continued.

    Raises:
        RunError: If the sweep is not running on this machine.
    """
    view = read_sweep(store, name)
    if view is None or not view.is_running or view.pid is None:
        raise RunError(f"sweep {name!r} is not running on this machine")
    with contextlib.suppress(ProcessLookupError):
        os.kill(view.pid, signal.SIGTERM)


def resume_sweep(store: RunStore, name: str) -> str:
    """Continue a sweep that was stopped, with the parallel runs of its last start. Return its name.

    Raises:
        RunError: If there is no such sweep, it is running, or its results are in a database of its own.
    """
    view = read_sweep(store, name)
    if view is None:
        raise RunError(f"there is no sweep {name!r}")
    return launch_sweep(_tree_of(view, sweep_folder(store, name)), store, view.jobs, view.executor)


def _tree_of(view: SweepView, folder: Path) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError):
        return dict(yaml.safe_load((folder / FILE).read_text(encoding="utf-8")))
    if not view.storage.startswith("sqlite"):
        raise RunError(
            f"sweep {view.name!r} keeps its results in {view.storage}; continue it with the command that started it"
        )
    kept = {name: view.definition[name] for name in ("base", "space", "sampler", "seed", "objectives")}
    space = {path: _axis(axis) for path, axis in kept["space"].items()}
    trials = {} if kept["sampler"] == "grid" else {"trials": view.planned}
    return {"name": view.name, **kept, "space": space, **trials}


def _axis(axis: Any) -> Any:
    return {name: value for name, value in axis.items() if value is not None} if isinstance(axis, Mapping) else axis
