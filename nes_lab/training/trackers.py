"""Mirrors of a run's metrics in other people's tools, through Accelerate; what counts stays in metrics.jsonl.

In each tool a run has the name it has here, and a resumed one goes on under it instead of becoming a second one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nes_lab.errors import OptionError, check_choice
from nes_lab.training.engine import own_accelerate_state

__all__ = ["TRACKERS", "Trackers", "check_trackers"]

TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")
_PROJECT, _TAG = "nes-lab", "nes_lab.run"


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are unknown, or whose package is not installed.

    Raises:
        OptionError: With how to install it.

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
    """Sends every row of metrics to the trackers chosen; one that fails is told of once, and training goes on.

    Args:
        names: Of :data:`TRACKERS`.
        folder: Where they put their files, one folder for all runs, so that they can be compared. Where ``MLFLOW_TRACKING_URI``
            or ``TRACKIO_DIR`` is set, that is where these two write.
        run: What they call the run; the same again resumes it.
        config: What they show of it.
        failed: Gets the name and the reason of a tracker that is given up.

    Raises:
        OptionError: If one is unknown or not installed.
    """

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        run: str,
        config: Mapping[str, Any],
        failed: Callable[[str, str], None],
    ) -> None:
        check_trackers(names)
        self._failed, self._live = failed, {}
        self._folder, self._run = folder.resolve(), run
        for name in dict.fromkeys(names):
            self._do(name, lambda name=name: self._start(name, _flat(config)))

    def _start(self, name: str, config: dict[str, Any]) -> None:
        from accelerate import tracking

        self._folder.mkdir(parents=True, exist_ok=True)
        if name == "tensorboard":
            tracker: Any = tracking.TensorBoardTracker(self._run, self._folder / name)
        elif name == "mlflow":
            files = (self._folder / name).as_uri()
            about = {"run_name": self._run, "tags": {_TAG: self._run}}
            tracker = tracking.MLflowTracker(_PROJECT, logging_dir=files, run_id=_in_mlflow(self._run), **about)
        elif name == "wandb":
            tracker = tracking.WandBTracker(
                _PROJECT, dir=str(self._folder), id=self._run, name=self._run, resume="allow"
            )
        else:
            tracker = tracking.TrackioTracker(_PROJECT, name=self._run, resume="allow", embed=False)
        tracker.start()
        if name != "tensorboard":  # which would add a folder of its own for them; config.json is in the run's
            tracker.store_init_configuration(config)
        self._live[name] = tracker

    def log(self, row: Mapping[str, Any]) -> None:
        """Send a row: ``split/name`` for each number, at its step."""
        about = {"step", "split", "epoch"}
        values = {f"{row['split']}/{name}": value for name, value in row.items() if name not in about}
        values["epoch"] = row["epoch"]
        for name, tracker in list(self._live.items()):
            self._do(name, lambda tracker=tracker: tracker.log(values, step=row["step"]))

    def finish(self) -> None:
        """Close all of them."""
        for name, tracker in list(self._live.items()):
            self._do(name, tracker.finish)
        self._live.clear()

    def _do(self, name: str, action: Callable[[], None]) -> None:
        try:
            with own_accelerate_state(), self._places():
                from accelerate.state import PartialState

                PartialState(cpu=True)  # else it would look for a GPU
                action()
        except Exception as error:  # noqa: BLE001  whatever a foreign tool raises must not end a training
            self._live.pop(name, None)
            self._failed(name, f"{type(error).__name__}: {error}"[:500])

    @contextlib.contextmanager
    def _places(self) -> Iterator[None]:
        """Tell those who ask the environment where to write, for as long as one of them is at work."""
        places = {
            "MLFLOW_TRACKING_URI": f"sqlite:///{self._folder / 'mlflow.db'}",
            "TRACKIO_DIR": str(self._folder / "trackio"),
        }
        ours = {name: place for name, place in places.items() if name not in os.environ}
        os.environ.update(ours)
        try:
            yield
        finally:
            for name in ours:
                os.environ.pop(name, None)


def _in_mlflow(run: str) -> str | None:
    """Find the id that mlflow gave to a run in an attempt before."""
    import mlflow  # pyright: ignore[reportMissingImports]

    found = mlflow.search_runs(
        experiment_names=[os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)],
        filter_string=f"tags.`{_TAG}` = '{run}'",
        output_format="list",
    )
    return found[0].info.run_id if found else None


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Write nested settings as dotted names with plain values."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
