"""Train many runs in a few processes of this machine.

Each process is forked from a process that has already loaded torch. It therefore starts quickly.

Tests: tests/experiment/test_demo.py.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

from nes_lab.errors import RunError
from nes_lab.experiment.run_experiment import run_experiment
from nes_lab.progress_bar import OnProgress, ProgressEvent
from nes_lab.runs.store import RunStore

__all__ = ["require_finished", "train_runs"]

POLL_SECONDS = 0.4
MIN_DONE = 0.2
"""Number of runs (a fraction) that must be done before the time left is estimated from the pace so far."""


def train_runs(store: RunStore, runs: Sequence[str], workers: int, on_progress: OnProgress) -> None:
    """Train runs, at most ``workers`` at a time. If a run fails or this process is interrupted, the active runs are stopped.

    Args:
        store: The store of the runs.
        runs: Ids of the runs, in the order in which they start.
        workers: Number of processes that train at the same time.
        on_progress: Function that is called several times a second with a progress event that counts runs.

    Raises:
        RunError: If a run did not finish. The message names the run and the reason.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nes_lab.experiment.run_experiment"])
    waiting, begun = list(runs), time.perf_counter()
    with _stopped_on_error() as active:
        while waiting or active:
            while waiting and len(active) < workers:
                run = waiting.pop(0)
                active[run] = context.Process(target=_train_one, args=(str(store.root), run), daemon=False)
                active[run].start()
            time.sleep(POLL_SECONDS)
            for run in [run for run, process in active.items() if not process.is_alive()]:
                active.pop(run).join()
                require_finished(store, run)
            on_progress(_progress(store, len(runs), len(waiting), active, time.perf_counter() - begun))


@contextmanager
def _stopped_on_error() -> Iterator[dict[str, BaseProcess]]:
    """Yield an empty dict for the training processes that the ``with`` block starts. If the block fails, end them all.

    The ``with`` block adds each process to the dict, under the id of its run.
    """
    active: dict[str, BaseProcess] = {}
    try:
        yield active
    except BaseException:
        for process in active.values():  # SIGTERM: each run saves a checkpoint and ends as cancelled
            process.terminate()
        for process in active.values():
            process.join(30)
        raise


def _train_one(root: str, run: str) -> None:
    """Train one run in this process. Everything that the process prints goes to the run's ``log.txt``."""
    store = RunStore(root)
    with (store.path(run) / "log.txt").open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        run_experiment(store, run)
        sys.stdout.flush()


def require_finished(store: RunStore, run: str) -> None:
    """Check that a run has finished.

    Raises:
        RunError: If the run has not finished. The message names the run, the run's state and the reason.
    """
    info = store.get(run)
    if info.state != "finished":
        raise RunError(f"run {run} ({info.label}) is {info.state}: {info.reason or store.log_tail(run, 5)}")


def _progress(
    store: RunStore, total: int, waiting: int, active: Mapping[str, BaseProcess], seconds: float
) -> ProgressEvent:
    """Return the progress of all runs: the number of runs done, and the estimated time left.

    A run that is half trained counts as 0.5.
    """
    infos = [store.get(run) for run in active]
    finished = total - waiting - len(active)
    done = finished + sum(info.progress for info in infos)
    return {
        "phase": "training",
        "done": done,
        "total": total,
        "label": f"{finished} of {total} runs",
        "running": {info.label: info.progress for info in infos},
        "finished": finished,
        "seconds_left": seconds * (total - done) / done if done > MIN_DONE else None,
    }
