"""The one recipe: config -> data, backbone, compress, train, evaluate, summary; all that is written goes to a run.

Under torchrun every process calls :func:`run_experiment` with the same run: the first plans and writes, the others get the
plan and the checkpoint's place from it and only train. All of them must see the run's folder (a shared file system).
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nes_lab.config import ExperimentConfig, load_config
from nes_lab.cost.count import count
from nes_lab.cost.measure import measure_latency
from nes_lab.errors import CheckpointError, NesLabError, RunError
from nes_lab.experiment.build import Built, build, check, recipe_of
from nes_lab.nn.inspect import snapshot_layers
from nes_lab.progress_bar import OnProgress, ProgressEvent, progress_reporter
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.renamed import progress_or_old_callback, renamed_arguments
from nes_lab.runs import layout
from nes_lab.runs.checkpoints import Checkpoint
from nes_lab.runs.files import read_json
from nes_lab.runs.writer import RunWriter
from nes_lab.training import distributed
from nes_lab.training.checkpoint import load_training, save_training
from nes_lab.training.device import cpu_threads, pick_device
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from nes_lab.training.signals import StopSignals
from nes_lab.training.trackers import Trackers, check_trackers
from nes_lab.training.training_state import TrainingState

if TYPE_CHECKING:
    from nes_lab.datasets.spec import DatasetSpec
    from nes_lab.runs.store import RunStore

__all__ = ["Built", "build", "check", "resume", "run_experiment"]

MOST_SNAPSHOTS = 60
TRACKED = "trackers"
_LATENCY_ROUNDS = 20


@renamed_arguments(progress=progress_or_old_callback)
def run_experiment(
    store: RunStore,
    run_id: str,
    on_progress: OnProgress | None = None,
    data: DatasetSpec | None = None,
    *,
    progress: bool = False,
) -> dict[str, Any]:
    """Train a run to its end, from its latest checkpoint if it has one.

    SIGTERM, Ctrl-C (in the main thread) and a cancel request end it after the step at hand, with a checkpoint and the
    state ``cancelled``. Whatever goes wrong ends it as ``failed``, with the reason, and is raised.

    Args:
        store: Where the run is.
        run_id: Which one; its ``config.json`` says what to do.
        on_progress: Called at most five times a second with a :class:`~nes_lab.progress_bar.ProgressEvent` whose unit is
            the training step.
        data: What :func:`check` returned for the run's config, so that it is not read again.
        progress: Show a bar on standard error.

    Returns:
        The run's ``state`` (finished or cancelled) and its summary.

    Raises:
        RunError: If another process writes to the run, or the training diverged.
        NesLabError: If the config, the data or a checkpoint is wrong.

    Examples:
        >>> import tempfile
        >>> from nes_lab.runs.store import RunStore
        >>> store = RunStore(tempfile.mkdtemp())
        >>> config = load_config({"data": {"limit": 64}, "training": {"epochs": 1, "threads": 1}})
        >>> run_experiment(store, store.create(config.to_dict()))["state"]
        'finished'
    """
    with distributed.joined(), StopSignals() as signals:
        config = load_config(store.get(run_id).config)
        if not distributed.is_main():
            with cpu_threads(config.training.threads):
                return _follow(config, signals)
        check_trackers(config.training.trackers)
        with RunWriter(store, run_id) as writer:
            try:
                with cpu_threads(config.training.threads), progress_reporter(progress, on_progress, "run") as report:
                    return _Experiment(writer, config, signals, report, data).run()
            except torch.OutOfMemoryError as error:
                reason = _too_much(config, error)
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
    """Go on with a run that was cancelled, failed or lost, from its latest whole checkpoint.

    Raises:
        RunError: If the run is finished, or another process writes to it.
    """
    if store.get(run_id).state == "finished":
        raise RunError(f"run {run_id} is finished; there is nothing left to do")
    return run_experiment(store, run_id, on_progress, progress=progress)


def _too_much(config: ExperimentConfig, error: Exception) -> str:
    """Say which batch to try, and how a step keeps its images."""
    size, parts = config.data.batch_size, config.training.accumulate
    half = max(1, size // 2)
    keep = f" (with training.accumulate={2 * parts} a step keeps its images)" if half < size else ""
    return f"out of memory at data.batch_size={size}; try {half}{keep}. {error}"[:2000]


def _follow(config: ExperimentConfig, signals: StopSignals) -> dict[str, Any]:
    """Train along with the process that writes."""
    begin = distributed.broadcast()
    plan = None if begin["plan"] is None else CompressionPlan.from_dict(begin["plan"])
    built = _built(config, plan)
    hooks = Hooks(should_stop=lambda: bool(signals.received))
    trainer = _trainer(config, built, hooks)
    if begin["weights"] is not None:
        load_training(trainer, Path(begin["weights"]), Path(begin["state"]))
    finished = trainer.fit()
    state = "finished" if finished else "cancelled"
    return {"state": state, "step": trainer.step, "total": trainer.total}


def _built(config: ExperimentConfig, plan: CompressionPlan | None) -> Built:
    """Build, and fail in all processes when one cannot."""
    built, error = None, None
    try:
        built = build(config, plan)
    except (NesLabError, OSError, RuntimeError) as problem:
        error = problem
    distributed.raise_on_all_ranks(error)
    assert built is not None  # else it has been raised
    return built


def _trainer(config: ExperimentConfig, built: Built, hooks: Hooks) -> Trainer:
    device = pick_device(config.training.device)
    options: dict[str, Any] = {"seed": config.seed, "device": device, "hooks": hooks, "teacher": built.teacher}
    return Trainer(built.model, built.data, recipe_of(config), **options)


class _Experiment:
    """One attempt at a run: everything between the config and the files."""

    def __init__(
        self,
        writer: RunWriter,
        config: ExperimentConfig,
        signals: StopSignals,
        on_progress: OnProgress,
        data: DatasetSpec | None,
    ) -> None:
        self.writer, self.config, self.signals, self.on_progress = writer, config, signals, on_progress
        self.data = data
        self.trackers: Trackers | None = None
        self.begun, self.seconds_before = time.perf_counter(), 0.0
        self.stride = -(-config.training.epochs // (MOST_SNAPSHOTS - 1))

    def run(self) -> dict[str, Any]:
        checkpoint = self.writer.latest_checkpoint()
        if checkpoint is not None and checkpoint.state is None:
            raise CheckpointError(f"the checkpoint of step {checkpoint.step} has weights but no state to resume from")
        built = self._build(checkpoint)
        trainer = _trainer(self.config, built, self._hooks())
        if checkpoint is None:
            self._record(built)
            self._snapshot(trainer)
        else:
            self._restore(trainer, checkpoint)
        self.writer.status(step=trainer.step, total=trainer.total)
        if not self._fit(trainer):
            asked = self.writer.cancel_requested()  # whoever asks also sends a signal, to wake the process
            reason = "cancelled on request" if asked else f"{self.signals.received or 'a signal'} received"
            self.writer.status("cancelled", step=trainer.step, reason=reason)
            return {"state": "cancelled", "step": trainer.step, "total": trainer.total}
        summary = self._summary(built, trainer)
        self.writer.summary(**summary)
        self.writer.status("finished", step=trainer.step)
        return {"state": "finished", **summary}

    def _build(self, checkpoint: Checkpoint | None) -> Built:
        """Build here first: what is downloaded or planned is then there for the other processes."""
        plan = None if checkpoint is None else self._stored_plan()
        built = build(self.config, plan, self.data)
        if distributed.world_size() == 1:
            return built
        distributed.broadcast(
            {
                "plan": None if built.plan is None else built.plan.to_dict(),
                "weights": None if checkpoint is None else str(checkpoint.weights),
                "state": None if checkpoint is None else str(checkpoint.state),
            }
        )
        distributed.raise_on_all_ranks(None)
        return built

    def _fit(self, trainer: Trainer) -> bool:
        config = self.config
        if not config.training.trackers:
            return trainer.fit()
        self.trackers = Trackers(
            config.training.trackers,
            self.writer.store.root.parent / TRACKED,
            self.writer.run_id,
            config.to_dict(),
            on_failure=lambda name, reason: self.writer.event("tracker_failed", tracker=name, reason=reason),
        )
        try:
            return trainer.fit()
        finally:
            self.trackers.finish()

    def _hooks(self) -> Hooks:
        return Hooks(
            metric=self._metric,
            epoch_end=self._epoch_end,
            checkpoint=self._checkpoint,
            on_progress=self._progress,
            event=lambda about: self.writer.event(**about),
            should_stop=lambda: bool(self.signals.received) or self.writer.cancel_requested(),
        )

    def _metric(self, row: dict[str, Any]) -> None:
        self.writer.metric(**row)
        if self.trackers is not None:
            self.trackers.log(row)

    def _stored_plan(self) -> CompressionPlan | None:
        try:
            return CompressionPlan.from_dict(read_json(self.writer.folder / layout.PLAN))
        except FileNotFoundError:
            return None

    def _record(self, built: Built) -> None:
        """Store what is known before the first step: plan, costs, and how many images there are."""
        if built.plan is not None:
            self.writer.plan_json(built.plan.to_json())
        self._record_cost(built)
        self.writer.summary(**_costs(built))
        if (found := built.fit) is not None:
            about = {"residual": found.residual, "residual_before": found.residual_before, "seconds": found.seconds}
            self.writer.event("fit", starts=found.starts, calibration_batches=found.calibration_batches, **about)
        train, val, notes = len(built.data.train), len(built.data.val), list(built.data.notes)
        self.writer.event(
            "data", name=built.data.name, train=train, val=val, classes=built.data.num_classes, notes=notes
        )

    def _record_cost(self, built: Built) -> None:
        self.writer.cost({"dense": built.dense_cost.to_dict(), "cost": built.cost.to_dict()})

    def _restore(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        assert checkpoint.state is not None  # run() has checked
        state = load_training(trainer, checkpoint.weights, checkpoint.state)
        self.seconds_before = float(state.get("seconds", 0.0))

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.begun

    def _checkpoint(self, trainer: TrainingState) -> None:
        weights, state = self.writer.checkpoint_paths(trainer.step)
        save_training(trainer, weights, state, seconds=self._seconds())
        validated = trainer.step == trainer.validated * trainer.steps_per_epoch  # not in the middle of an epoch
        top1 = trainer.last.get("top1") if validated else None
        self.writer.commit_checkpoint(trainer.step, [weights, state], self.config.training.keep_checkpoints, top1)

    def _epoch_end(self, trainer: TrainingState) -> None:
        if trainer.epoch % self.stride == 0 or trainer.step >= trainer.total:
            self._snapshot(trainer)

    def _snapshot(self, trainer: TrainingState) -> None:
        layers = snapshot_layers(trainer.model)
        if layers:
            self.writer.snapshot(trainer.step, layers)

    def _progress(self, event: ProgressEvent) -> None:
        self.writer.status(step=int(event["done"]))
        self.on_progress(event)

    def _summary(self, built: Built, trainer: Trainer) -> dict[str, Any]:
        example = torch.zeros(1, *built.data.input_shape, device=trainer.device)
        if trainer.routing.snapped:  # starts on whole cells need no blending: the network became cheaper
            built = replace(built, cost=count(trainer.model, example))
            self._record_cost(built)
        latency = measure_latency({"model": trainer.model}, example, pairs=_LATENCY_ROUNDS)["model"]
        accuracy = {name: value for name, value in trainer.last.items() if not name.endswith("loss")}
        return {
            **_costs(built),
            **accuracy,
            "best_top1": trainer.best_top1,
            "latency_ms": latency.median_ms,
            "latency_p90_ms": latency.p90_ms,
            "threads": latency.threads,
            "epochs": self.config.training.epochs,
            "seconds": self._seconds(),
            "device": latency.device,
            "precision": trainer.precision.name,
            "processes": distributed.world_size(),
            "torch": torch.__version__,
            "seed": self.config.seed,
        }


def _costs(built: Built) -> dict[str, int]:
    return {
        "params": built.cost.params,
        "learner_params": built.cost.learner_params,
        "madds": built.cost.madds,
        "dense_params": built.dense_cost.params,
        "dense_madds": built.dense_cost.madds,
    }
