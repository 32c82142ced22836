"""Create a run that starts from a saved network or from another run, and start its training in the background.

Such a network is read before the run is created, which needs torch; the app's own process does not import it.

Tests: tests/worker/test_launches.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from nes_lab.experiment.train import StartWarning, train
from nes_lab.progress_bar import OnProgress

__all__ = ["launch_run"]


def launch_run(question: Mapping[str, Any], on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Check an experiment, create its run, start it in the background, and return its id.

    Args:
        question: ``config``, an experiment as a mapping, and ``root``, the folder of all runs.
        on_progress: Called once before the work. An error that it raises ends the work before there is a run.

    Raises:
        NesLabError: If the experiment is wrong. No run is created then.
    """
    if on_progress is not None:
        on_progress({"phase": "check", "done": 0, "total": 1, "label": "the network to start from"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StartWarning)  # they are the run's notes, which its page shows
        run = train(question["config"], detach=True, progress=False, root=question["root"])
    return {"id": run.id}
