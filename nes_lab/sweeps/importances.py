"""Ask Optuna which of the varied settings mattered most for the results of a sweep.

Tests: tests/sweeps/test_form.py.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from nes_lab.errors import RunError
from nes_lab.packages import need
from nes_lab.runs.store import RunStore
from nes_lab.sweeps.overview import read_sweep, sweep_folder
from nes_lab.sweeps.result import SweepResult

__all__ = ["LEAST_TRIALS", "importances", "sweep_importances"]

LEAST_TRIALS = 4
"""With fewer finished trials, importances say nothing."""


def importances(store: RunStore, name: str, objective: str) -> dict[str, float]:
    """Return how much each varied setting explains of the differences of one objective, as shares of 1, largest first.

    They are what Optuna's ``get_param_importances`` returns for the finished trials: how much a setting decides whether a trial is a
    good one.

    Args:
        store: The store of the runs.
        name: Name of the sweep.
        objective: Name of an objective, such as ``"top1"``.

    Raises:
        RunError: If there is no such sweep or objective, or too few trials are finished.
        MissingPackageError: If Optuna is not installed.
    """
    view = read_sweep(store, name)
    if view is None or objective not in view.objectives:
        raise RunError(f"there is no sweep {name!r} with the objective {objective!r}")
    url = (
        view.storage if not view.storage.startswith("sqlite") else f"sqlite:///{sweep_folder(store, name) / 'study.db'}"
    )
    optuna = need("optuna", "a sweep")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=name, storage=url)
    done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(done) < LEAST_TRIALS:
        raise RunError(f"{len(done)} trials are finished; importances need at least {LEAST_TRIALS}")
    place = view.objectives.index(objective)
    if len({trial.values[place] for trial in done}) < 2:
        raise RunError(f"all finished trials have the same {objective}, so no setting matters for it")
    sign = -1 if view.definition["objectives"][objective] == "maximize" else 1  # Optuna takes low values for good ones
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study, target=lambda trial: sign * trial.values[place])
    return {path: float(share) for path, share in found.items()}


def sweep_importances(
    sweep: SweepResult | str, objective: str = "top1", *, root: str | Path | None = None
) -> dict[str, float]:
    """Return how much each varied setting of a sweep explains of the differences of one objective.

    The shares are those of Optuna's ``get_param_importances`` for the finished trials. If the seed varies, it has a share, too: it
    is what chance decides.

    Args:
        sweep: Name of the sweep, or what :func:`nes_lab.run_sweep` returned.
        objective: Name of an objective of the sweep, such as ``"top1"`` or ``"madds"``.
        root: The folder of all runs; None takes ``$NES_LAB_HOME/runs``, or ``data/runs`` if that variable is not set.

    Returns:
        A dict with one entry per varied field, largest first: its dotted path, and its share. The shares add up to 1.

    Raises:
        RunError: If there is no such sweep or objective, if fewer than four trials are finished, or if all have the same result.
        MissingPackageError: If Optuna is not installed.

    Examples:
        >>> import nes_lab, tempfile
        >>> nes_lab.sweep_importances("front", root=tempfile.mkdtemp())
        Traceback (most recent call last):
        nes_lab.errors.RunError: there is no sweep 'front' with the objective 'top1'
    """
    name = sweep.name if isinstance(sweep, SweepResult) else sweep
    return importances(RunStore(root), name, objective)
