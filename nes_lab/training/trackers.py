"""Mirrors of a run's metrics in other people's tools, through Accelerate; what counts stays in metrics.jsonl."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nes_lab.errors import OptionError, one_of
from nes_lab.training.engine import own_accelerate_state

__all__ = ["TRACKERS", "Trackers", "check_trackers"]

TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")


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
        one_of("training.trackers", name, TRACKERS)
        if find_spec(name) is None:
            raise OptionError(f"training.trackers: {name!r} is not installed here: pip install {name}")


class Trackers:
    """Sends every row of metrics to the trackers chosen; one that fails is told of once, and training goes on.

    Args:
        names: Of :data:`TRACKERS`.
        folder: Where they put their files.
        title: What they call the run.
        config: What they show of it.
        failed: Gets the name and the reason of a tracker that is given up.

    Raises:
        OptionError: If one is unknown or not installed.
    """

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        title: str,
        config: Mapping[str, Any],
        failed: Callable[[str, str], None],
    ) -> None:
        check_trackers(names)
        self._failed, self._live = failed, {}
        for name in dict.fromkeys(names):
            self._do(name, lambda name=name: self._start(name, folder, title, dict(config)))

    def _start(self, name: str, folder: Path, title: str, config: dict[str, Any]) -> None:
        from accelerate import tracking

        folder.mkdir(parents=True, exist_ok=True)
        if name == "tensorboard":
            tracker: Any = tracking.TensorBoardTracker(name, folder)
        elif name == "mlflow":
            os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
            tracker = tracking.MLflowTracker("nes-lab", logging_dir=(folder / name).as_uri(), run_name=title)
        elif name == "wandb":
            tracker = tracking.WandBTracker("nes-lab", dir=str(folder), name=title)
        else:
            os.environ.setdefault("TRACKIO_DIR", str(folder / name))
            tracker = tracking.TrackioTracker("nes-lab", name=title)
        tracker.start()
        if name != "tensorboard":  # which would add a folder of its own for them; config.json is beside it
            tracker.store_init_configuration(_flat(config))
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
            with own_accelerate_state():
                from accelerate.state import PartialState

                PartialState(cpu=True)  # else it would look for a GPU
                action()
        except Exception as error:  # noqa: BLE001  whatever a foreign tool raises must not end a training
            self._live.pop(name, None)
            self._failed(name, f"{type(error).__name__}: {error}"[:500])


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Write nested settings as dotted names with plain values."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
