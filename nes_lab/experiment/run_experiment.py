"""Train a run from its config to its summary: data, backbone, compression, training, evaluation.

Under torchrun several processes train one run together, and each calls :func:`run_experiment` with the id of this run. The
first process makes the plan and writes the run's files. It sends the plan and the path of the checkpoint to the other
processes. All processes must see the run's folder, so several machines need a shared file system.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nes_lab.config import ExperimentConfig, load_config
from nes_lab.errors import NesLabError, RunError
from nes_lab.experiment.attempt import Attempt, make_trainer
from nes_lab.experiment.build import Built, build
from nes_lab.experiment.initial_network import load_initial
from nes_lab.experiment.same_data import Continued, check_continued
from nes_lab.progress_bar import OnProgress, progress_reporter
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.renamed import progress_or_old_callback, renamed_arguments
from nes_lab.runs.imports import imports_of_run
from nes_lab.runs.info import refuse_finished
from nes_lab.runs.writer import RunWriter
from nes_lab.training import distributed
from nes_lab.training.checkpoint import load_training
from nes_lab.training.device import cpu_threads
from nes_lab.training.hooks import Hooks
from nes_lab.training.metrics import AnyMetric
from nes_lab.training.signals import StopSignals
from nes_lab.training.task import Loss, Task
from nes_lab.training.trackers import check_trackers

if TYPE_CHECKING:
    from nes_lab.datasets.spec import DatasetSpec
    from nes_lab.runs.store import RunStore

__all__ = ["resume", "run_experiment"]


@renamed_arguments(progress=progress_or_old_callback)
def run_experiment(
    store: RunStore,
    run_id: str,
    on_progress: OnProgress | None = None,
    data: DatasetSpec | None = None,
    *,
    network: nn.Module | None = None,
    loss: Loss | None = None,
    metrics: Mapping[str, AnyMetric] | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Train a run to its end, from its latest checkpoint if it has one.

    SIGTERM, Ctrl-C (in the main thread) and a request to cancel stop the run after the current step. Then the run has a
    checkpoint and the state ``cancelled``. After an error the run has the state ``failed`` with the reason, and the error is
    raised again.

    Args:
        store: The store that holds the run.
        run_id: Id of the run. The run's ``config.json`` describes the experiment.
        on_progress: Function that is called at most five times a second with a
            :class:`~nes_lab.progress_bar.ProgressEvent` that counts training steps (phase ``training``), and before them with
            events of the plan and the fit.
        data: The data that :func:`nes_lab.experiment.build.check` returned for the run's config; None loads the data.
        network: The network that was given in memory when the run was created; None: the run's files can make it.
        loss: Function of (outputs, targets) that returns the mean loss of a batch. None: cross entropy.
        metrics: Name -> function of (outputs, targets) whose higher values are better; or a pair (function, ``"lower"``); or a
            :class:`nes_lab.Metric`. The first metric decides which checkpoint is the best. None: top-1 and top-5 accuracy for
            cross entropy. With another loss, None means that the loss decides.
        progress: Show a bar on standard error.

    Returns:
        ``state`` (finished or cancelled) and, if the run is finished, the entries of its summary.

    Raises:
        RunError: If another process trains the run, the training diverged, or there was not enough memory.
        CheckpointError: If a checkpoint is not valid, or the configuration or the data has changed since. If they have changed,
            the run stays as it was.
        NesLabError: If the config or the data is not valid.

    Examples:
        >>> import tempfile
        >>> from nes_lab.runs.store import RunStore
        >>> store = RunStore(tempfile.mkdtemp())
        >>> config = load_config({"data": {"limit": 64}, "training": {"epochs": 1, "threads": 1}})
        >>> run_experiment(store, store.create(config.to_dict()))["state"]
        'finished'
    """
    task = Task.of(loss, metrics)
    with imports_of_run(store.path(run_id)), distributed.joined(), StopSignals() as signals:
        config = load_config(store.get(run_id).config)
        if not distributed.is_main():
            with cpu_threads(config.training.threads):
                return _follow(store, run_id, config, signals, data, task)
        check_trackers(config.training.trackers)
        continued = Continued(data)

        def check() -> None:
            nonlocal continued
            error = None
            try:
                continued = check_continued(store.path(run_id), config, data)
            except (NesLabError, OSError, RuntimeError) as problem:
                error = problem
            distributed.raise_on_all_ranks(error)

        with RunWriter(store, run_id, check) as writer:
            try:
                with cpu_threads(config.training.threads), progress_reporter(progress, on_progress, "run") as report:
                    return Attempt(writer, config, signals, report, continued, network, task).run()
            except torch.OutOfMemoryError as error:
                reason = _out_of_memory(config, error)
                writer.status("failed", reason=reason)
                raise RunError(reason) from error
            except NesLabError as error:
                writer.status("failed", reason=str(error)[:2000])
                raise
            except RuntimeError as error:
                if not distributed.is_connection_lost(error):
                    raise
                reason = f"another process of this training is gone; resume it from its last checkpoint ({error})"[
                    :2000
                ]
                writer.status("failed", reason=reason)
                raise RunError(reason) from error


@renamed_arguments(progress=progress_or_old_callback)
def resume(
    store: RunStore, run_id: str, on_progress: OnProgress | None = None, *, progress: bool = False
) -> dict[str, Any]:
    """Resume a run from its latest complete checkpoint, after it was cancelled, it failed, or its process died.

    Args:
        store: The store that holds the run.
        run_id: Id of the run.
        on_progress: Function that is called at most five times a second with a progress event that counts training steps.
        progress: Show a bar on standard error.

    Returns:
        ``state`` (finished or cancelled) and, if the run is finished, the entries of its summary.

    Raises:
        RunError: If the run is finished already, or another process trains it.
    """
    refuse_finished(store.get(run_id))
    return run_experiment(store, run_id, on_progress, progress=progress)


def _out_of_memory(config: ExperimentConfig, error: Exception) -> str:
    """Return the message for a run that is out of memory. It suggests a smaller batch size and more batches per step."""
    size, parts = config.data.batch_size, config.training.accumulate
    half = max(1, size // 2)
    keep = f" (with training.accumulate={2 * parts} a step keeps its images)" if half < size else ""
    return f"out of memory at data.batch_size={size}; try {half}{keep}. {error}"[:2000]


def _follow(
    store: RunStore, run_id: str, config: ExperimentConfig, signals: StopSignals, data: DatasetSpec | None, task: Task
) -> dict[str, Any]:
    """Train a run in a process other than the first one.

    The first process sends the plan and the checkpoint, and it writes all files.
    """
    distributed.raise_on_all_ranks(None)  # the first process may refuse to continue the run
    begin = distributed.broadcast()
    plan = None if begin["plan"] is None else CompressionPlan.from_dict(begin["plan"])
    built = _built(store, run_id, config, plan, data)
    hooks = Hooks(should_stop=lambda: bool(signals.received))
    trainer = make_trainer(config, built, hooks, task)
    if begin["weights"] is not None:
        load_training(trainer, Path(begin["weights"]), Path(begin["state"]), begin["earlier_epochs"])
    finished = trainer.fit()
    state = "finished" if finished else "cancelled"
    return {"state": state, "step": trainer.step, "total": trainer.total}


def _built(
    store: RunStore, run_id: str, config: ExperimentConfig, plan: CompressionPlan | None, data: DatasetSpec | None
) -> Built:
    """Build the network and the data in this process.

    If one process of the training cannot build them, all processes raise an error.
    """
    built, error = None, None
    try:
        start = load_initial(store.path(run_id), store.get(run_id), config)
        built = build(config, plan, data, start)
    except (NesLabError, OSError, RuntimeError) as problem:
        error = problem
    distributed.raise_on_all_ranks(error)
    assert built is not None  # otherwise the line above has raised the error
    return built
