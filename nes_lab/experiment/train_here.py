"""Train a run in this process, or in as many processes as its configuration asks for, and write how it ended.

Nothing here imports torch before the training begins.

Tests: tests/cli/test_train.py, tests/experiment/test_ranks.py.
"""

from __future__ import annotations

from nes_lab.errors import NesLabError
from nes_lab.experiment.memory import Memory
from nes_lab.experiment.ranks import is_first, is_rank, processes_of, train_as_rank, train_in_ranks
from nes_lab.progress_bar import OnProgress
from nes_lab.runs.launcher import settle
from nes_lab.runs.put_back import put_back
from nes_lab.runs.store import RunStore

__all__ = ["train_here"]


def train_here(store: RunStore, run_id: str, memory: Memory, on_progress: OnProgress) -> None:
    """Train a queued run until it ends.

    Args:
        store: The store of the run.
        run_id: Id of the run.
        memory: What the run needs and only this process has.
        on_progress: Function that is called with progress events.

    Raises:
        NesLabError: If the training fails. The run is marked as failed. If it is refused before it begins, it keeps the state that
            it had before it was queued.
        KeyboardInterrupt: After Ctrl-C in one of several processes that torchrun has started.
    """
    try:
        if is_rank():
            train_as_rank(store, run_id, on_progress)
        elif (processes := processes_of(store, run_id)) > 1:
            train_in_ranks(store, run_id, processes)
        else:
            from nes_lab.experiment.run_experiment import run_experiment

            run_experiment(store, run_id, on_progress=on_progress, **memory.arguments())
    except KeyboardInterrupt:
        if is_rank():
            raise
        settle(store, run_id, "cancelled", "interrupted before training began")
    except (NesLabError, OSError, ImportError, RuntimeError) as error:
        if is_first() and not put_back(store, run_id):
            settle(store, run_id, "failed", f"{type(error).__name__}: {error}"[:2000])
        raise
