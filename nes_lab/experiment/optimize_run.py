"""Find the fastest exact form of the network that a run has trained.

Tests: tests/worker/test_exports.py, tests/cli/test_optimize.py
"""

from __future__ import annotations

from torch import nn

from nes_lab.errors import OptionError, check_int
from nes_lab.experiment.kept_answers import needed_objects
from nes_lab.experiment.run import Run, Which
from nes_lab.experiment.trained import trained_network
from nes_lab.models.optimize import optimize
from nes_lab.progress_bar import OnProgress
from nes_lab.records.optimize_report import OptimizeReport
from nes_lab.training.device import pick_device

__all__ = ["optimize_run"]


def optimize_run(
    run: Run,
    which: Which = "last",
    *,
    batch: int = 1,
    seconds: float = 60.0,
    keep_madds: bool = True,
    input_shape: tuple[int, ...] | None = None,
    progress: bool = False,
    on_progress: OnProgress | None = None,
) -> tuple[nn.Module, OptimizeReport]:
    """Find the fastest exact form of a run's network, on the GPU if there is one. The run is not changed.

    Args:
        run: The run.
        which: Which network, as for :meth:`nes_lab.Run.network`.
        batch: Number of examples in a call.
        seconds: About how long tuning and timing may take.
        keep_madds: True: choose only among forms within the planned multiply-adds.
        input_shape: Shape of one input without the batch axis; None: that of the run's data.
        progress: Show a progress bar on standard error.
        on_progress: Called as the work goes on. An error that it raises ends the work.

    Returns:
        The network in its fastest form, and the report, as :func:`nes_lab.optimize` returns them.

    Raises:
        OptionError: If the network was given in memory, or an option is wrong.
        NesLabError: If the run has no checkpoint.
    """
    if reason := needed_objects(run, "network"):
        raise OptionError(reason)
    check_int("batch", batch, 1)
    trained = trained_network(run.store, run.id, averaged=True if "averaged" in which else None, best="best" in which)
    device = pick_device("auto")
    one = trained.example(input_shape)
    example = one.repeat(batch, *[1] * (one.ndim - 1)).to(device)
    return optimize(
        trained.network.to(device), example, keep_madds, seconds=seconds, progress=progress, on_progress=on_progress
    )
