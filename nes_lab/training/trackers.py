"""Copy the metrics of a run to TensorBoard, MLflow, Weights & Biases or Trackio, through Accelerate.

NES Lab itself reads only the run's file ``metrics.jsonl``, never the trackers. A run has the same name in each tracker,
and keeps this name when it is resumed.

Tests: tests/experiment/test_trackers.py
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nes_lab.errors import OptionError, check_choice
from nes_lab.training.engine import isolated_accelerate_state

__all__ = ["TRACKERS", "Trackers", "check_trackers"]

TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")
_PROJECT, _TAG = "nes-lab", "nes_lab.run"


def check_trackers(names: Sequence[str]) -> None:
    """Raise an error if a tracker is unknown, or if its Python package is not installed.

    Raises:
        OptionError: If a tracker is unknown or not installed. The message says how to install the package, or gives the
            closest known name.

    Examples:
        >>> check_trackers(["tensorbord"])
        Traceback (most recent call last):
        nes_lab.errors.OptionError: ... Did you mean 'tensorboard'?...
    """
    for name in names:
        check_choice("training.trackers", name, TRACKERS)
        if find_spec(name) is None:
            raise OptionError(f"training.trackers: {name!r} is not installed here: pip install {name}")


class Trackers:
    """Sends every row of metrics of a run to the chosen trackers.

    If a tracker fails, it gets no more rows, and the training continues.

    Args:
        names: Names of the trackers, from :data:`TRACKERS`.
        folder: Folder for the trackers' files. All runs share this folder. If the environment variable
            ``MLFLOW_TRACKING_URI`` or ``TRACKIO_DIR`` is set, MLflow or Trackio writes there instead.
        run: Name of the run in the trackers. If a tracker already has a run of this name, that run is continued.
        config: Settings of the run, which the trackers show.
        on_failure: Function called when a tracker fails, with the name of the tracker and the reason.
        first_step: Number of the first step whose rows are sent. If the run was resumed, an earlier attempt may already have sent
            rows of this step and later ones. TensorBoard then drops the earlier rows, and MLflow and Trackio show both. Weights
            & Biases shows only the earlier rows.

    Raises:
        OptionError: If a tracker is unknown or not installed.
    """

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        run: str,
        config: Mapping[str, Any],
        on_failure: Callable[[str, str], None],
        first_step: int = 1,
    ) -> None:
        check_trackers(names)
        self._on_failure, self._live = on_failure, {}
        self._folder, self._run, self._first_step = folder.resolve(), run, first_step
        for name in dict.fromkeys(names):
            self._guarded(name, lambda name=name: self._start(name, _flat(config)))

    def _start(self, name: str, config: dict[str, Any]) -> None:
        from accelerate import tracking

        self._folder.mkdir(parents=True, exist_ok=True)
        if name == "tensorboard":
            tracker: Any = tracking.TensorBoardTracker(self._run, self._folder / name, purge_step=self._first_step)
        elif name == "mlflow":
            files = (self._folder / name).as_uri()
            about = {"run_name": self._run, "tags": {_TAG: self._run}}
            tracker = tracking.MLflowTracker(_PROJECT, logging_dir=files, run_id=_mlflow_id(self._run), **about)
        elif name == "wandb":
            tracker = tracking.WandBTracker(
                _PROJECT, dir=str(self._folder), id=self._run, name=self._run, resume="allow"
            )
        else:
            tracker = tracking.TrackioTracker(_PROJECT, name=self._run, resume="allow", embed=False)
        tracker.start()
        if name != "tensorboard":  # TensorBoard would add a separate folder for the settings
            tracker.store_init_configuration(config)
        self._live[name] = tracker

    def log(self, row: Mapping[str, Any]) -> None:
        """Send a row of metrics to the trackers, with the row's step. Each metric is named ``split/name``, such as ``val/top1``."""
        about = {"step", "split", "epoch"}
        values = {f"{row['split']}/{name}": value for name, value in row.items() if name not in about}
        values["epoch"] = row["epoch"]
        for name, tracker in list(self._live.items()):
            self._guarded(name, lambda tracker=tracker: tracker.log(values, step=row["step"]))

    def finish(self) -> None:
        """Close all trackers of the run."""
        for name, tracker in list(self._live.items()):
            self._guarded(name, tracker.finish)
        self._live.clear()

    def _guarded(self, name: str, action: Callable[[], None]) -> None:
        try:
            with isolated_accelerate_state(), self._environment():
                from accelerate.state import PartialState

                PartialState(cpu=True)  # without cpu=True, Accelerate would look for a GPU
                action()
        except Exception as error:  # noqa: BLE001  an error of a tracker must not end a training
            self._live.pop(name, None)
            self._on_failure(name, f"{type(error).__name__}: {error}"[:500])

    @contextlib.contextmanager
    def _environment(self) -> Iterator[None]:
        """Set the folders of MLflow and Trackio by environment variables inside the ``with`` block.

        Variables that the user has set are not changed.
        """
        folders = {
            "MLFLOW_TRACKING_URI": f"sqlite:///{self._folder / 'mlflow.db'}",
            "TRACKIO_DIR": str(self._folder / "trackio"),
        }
        missing = {name: value for name, value in folders.items() if name not in os.environ}
        os.environ.update(missing)
        try:
            yield
        finally:
            for name in missing:
                os.environ.pop(name, None)


def _mlflow_id(run: str) -> str | None:
    """Return the id of the run with this name in MLflow, or None if MLflow has no such run."""
    import mlflow  # pyright: ignore[reportMissingImports]

    runs = mlflow.search_runs(
        experiment_names=[os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)],
        filter_string=f"tags.`{_TAG}` = '{run}'",
        output_format="list",
    )
    return runs[0].info.run_id if runs else None


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one flat dict of plain values, with dotted names such as ``training.lr``."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat
