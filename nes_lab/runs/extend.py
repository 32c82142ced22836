"""Give a run more epochs. The run then waits to be resumed, and trains on from its last checkpoint.

First the extension is recorded, then the state is set to ``queued``. If the process is killed in between, the run has the
new number of epochs, its old state, and can be resumed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nes_lab.errors import OptionError, RunError, check_int
from nes_lab.runs import checkpoints, layout
from nes_lab.runs.extensions import Extension, add_extension
from nes_lab.runs.files import write_json
from nes_lab.runs.info import RunInfo, read_info
from nes_lab.runs.lock import hold_lock
from nes_lab.runs.put_back import drop_requests, former_status, queued_status
from nes_lab.runs.store import RunStore

__all__ = ["check_extension", "extend"]


def extend(store: RunStore, run_id: str, epochs: int) -> Extension:
    """Give a run more epochs, and set its state to ``queued``, so that it can be resumed.

    The learning rate follows the schedule of a training with ``epochs`` epochs, from the present step on. It may therefore rise.

    Args:
        store: The store of the run.
        run_id: Id of a run that has ended or was stopped.
        epochs: Number of epochs in total, more than the run has now.

    Raises:
        OptionError: If ``epochs`` is not more than the run has now.
        RunError: If the run trains or waits in the queue, or has no checkpoint to continue from.
        CheckpointError: If all its checkpoints are damaged.
    """
    folder = store.path(run_id)
    check_extension(read_info(folder), epochs)
    with hold_lock(folder):
        info = read_info(folder)  # again, now that no process can write to the run
        planned = check_extension(info, epochs)
        extension = _extension(folder, info, planned, epochs)
        former = former_status(folder)
        add_extension(folder, extension)
        drop_requests(folder, info)
        total = info.total * epochs // planned
        write_json(folder / layout.STATUS, queued_status(info, former, total=total, extended=True))
    return extension


def check_extension(info: RunInfo, epochs: Any) -> int:
    """Check that a run can be given more epochs, and return the number of epochs that it has now.

    Raises:
        OptionError: If ``epochs`` is not an integer above that number.
        RunError: If the run trains or waits in the queue.
    """
    training = info.config.get("training")
    planned = training.get("epochs") if isinstance(training, dict) else None
    if type(planned) is not int or planned < 1:
        raise RunError(f"run {info.id} does not say in its {layout.CONFIG} for how many epochs it trains")
    check_int("epochs", epochs, 1)
    if epochs <= planned:
        how = f"it continues when {info.given_again()}" if info.given else f"nes-lab resume {info.id} continues it"
        unfinished = f"; {how}" if info.is_resumable else ""
        raise OptionError(
            f"epochs={epochs}: run {info.id} already has training.epochs={planned}; give more than that{unfinished}"
        )
    if info.is_active or info.state == "queued":
        raise RunError(f"run {info.id} is {info.state}; it can be given more epochs when it has ended or is cancelled")
    return planned


def _extension(folder: Path, info: RunInfo, planned: int, epochs: int) -> Extension:
    checkpoint = checkpoints.latest(folder)
    if checkpoint is None:
        if info.state == "finished":
            raise RunError(f"run {info.id} has no checkpoint to continue from")
        return Extension(epochs, planned, 0, 0.0)
    if checkpoint.state is None:
        raise RunError(f"the checkpoint of run {info.id} has weights but no state to continue from")
    if not info.total:
        raise RunError(f"run {info.id} does not say how many steps it has; resume it first, then give it more epochs")
    return Extension(epochs, planned, checkpoint.step, round(checkpoint.step * planned / info.total, 2))
