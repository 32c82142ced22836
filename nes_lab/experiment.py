"""The one recipe: config -> data, backbone, compress, train, evaluate, summary; all that is written goes to a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from nes_lab.compress.compression_plan import CompressionPlan
from nes_lab.config import ExperimentConfig, load_config
from nes_lab.cost.measure import measure_latency
from nes_lab.errors import CheckpointError, NesLabError, RunError
from nes_lab.experiment_build import Built, build, check
from nes_lab.nn.inspect import snapshot_layers
from nes_lab.runs import layout
from nes_lab.runs.checkpoints import Checkpoint
from nes_lab.runs.files import read_json
from nes_lab.runs.writer import RunWriter
from nes_lab.training.checkpoint import load_training, save_training
from nes_lab.training.device import cpu_threads, pick_device
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from nes_lab.training.recipe import Recipe
from nes_lab.training.signals import StopSignals

if TYPE_CHECKING:
    from nes_lab.runs.store import RunStore

__all__ = ["Built", "build", "check", "resume", "run_experiment"]

Progress = Callable[[dict[str, Any]], None]
MOST_SNAPSHOTS = 60
NOT_THE_RECIPES = {"keep_checkpoints", "threads", "device", "processes", "trackers", "kd_checkpoint"}
_LATENCY_ROUNDS = 20


def run_experiment(store: RunStore, run_id: str, progress: Progress | None = None) -> dict[str, Any]:
    """Train a run to its end, from its latest checkpoint if it has one.

    SIGTERM, Ctrl-C (in the main thread) and a cancel request end it after the step at hand, with a checkpoint and the
    state ``cancelled``. Whatever goes wrong ends it as ``failed``, with the reason, and is raised.

    Args:
        store: Where the run is.
        run_id: Which one; its ``config.json`` says what to do.
        progress: Called at most five times a second with step, total, epoch, epochs, images_per_s, eta_s, loss, top1.

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
    with RunWriter(store, run_id) as writer, StopSignals() as signals:
        try:
            config = load_config(store.get(run_id).config)
            with cpu_threads(config.training.threads):
                return _Experiment(writer, config, signals, progress).run()
        except torch.OutOfMemoryError as error:
            half = max(1, config.data.batch_size // 2)
            reason = f"out of memory at data.batch_size={config.data.batch_size}; try {half}. {error}"
            writer.status("failed", reason=reason[:2000])
            raise RunError(reason) from error
        except NesLabError as error:
            writer.status("failed", reason=str(error)[:2000])
            raise


def resume(store: RunStore, run_id: str, progress: Progress | None = None) -> dict[str, Any]:
    """Go on with a run that was cancelled, failed or lost, from its latest whole checkpoint.

    Raises:
        RunError: If the run is finished, or another process writes to it.
    """
    if store.get(run_id).state == "finished":
        raise RunError(f"run {run_id} is finished; there is nothing left to do")
    return run_experiment(store, run_id, progress)


class _Experiment:
    """One attempt at a run: everything between the config and the files."""

    def __init__(
        self, writer: RunWriter, config: ExperimentConfig, signals: StopSignals, progress: Progress | None
    ) -> None:
        self.writer, self.config, self.signals, self.progress = writer, config, signals, progress
        self.device = pick_device(config.training.device)
        self.begun, self.seconds_before = time.perf_counter(), 0.0
        self.stride = -(-config.training.epochs // (MOST_SNAPSHOTS - 1))

    def run(self) -> dict[str, Any]:
        checkpoint = self.writer.latest_checkpoint()
        built = build(self.config, None if checkpoint is None else self._stored_plan())
        trainer = self._trainer(built)
        if checkpoint is None:
            self._record(built)
            self._snapshot(trainer)
        else:
            self._restore(trainer, checkpoint)
        self.writer.status(step=trainer.step, total=trainer.total)
        if not trainer.fit():
            asked = self.writer.cancel_requested()  # whoever asks also sends a signal, to wake the process
            reason = "cancelled on request" if asked else f"{self.signals.received} received"
            self.writer.status("cancelled", step=trainer.step, reason=reason)
            return {"state": "cancelled", "step": trainer.step, "total": trainer.total}
        summary = self._summary(built, trainer)
        self.writer.summary(**summary)
        self.writer.status("finished", step=trainer.step)
        return {"state": "finished", **summary}

    def _trainer(self, built: Built) -> Trainer:
        wanted = self.config.training.model_dump(exclude=NOT_THE_RECIPES)
        hooks = Hooks(
            metric=lambda row: self.writer.metric(**row),
            epoch_end=self._epoch_end,
            checkpoint=self._checkpoint,
            progress=self._show,
            should_stop=lambda: bool(self.signals.received) or self.writer.cancel_requested(),
        )
        recipe = Recipe(batch_size=self.config.data.batch_size, **wanted)
        return Trainer(built.model, built.data, recipe, seed=self.config.seed, device=self.device, hooks=hooks)

    def _stored_plan(self) -> CompressionPlan | None:
        try:
            return CompressionPlan.from_dict(read_json(self.writer.folder / layout.PLAN))
        except FileNotFoundError:
            return None

    def _record(self, built: Built) -> None:
        """Store what is known before the first step: plan, costs, and how many images there are."""
        if built.plan is not None:
            self.writer.plan_json(built.plan.to_json())
        self.writer.cost({"dense": built.dense_cost.to_dict(), "cost": built.cost.to_dict()})
        self.writer.summary(**_costs(built))
        train, val, notes = len(built.data.train), len(built.data.val), list(built.data.notes)
        self.writer.event(
            "data", name=built.data.name, train=train, val=val, classes=built.data.num_classes, notes=notes
        )

    def _restore(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        if checkpoint.state is None:
            raise CheckpointError(f"the checkpoint of step {checkpoint.step} has weights but no state to resume from")
        state = load_training(trainer, checkpoint.weights, checkpoint.state)
        self.seconds_before = float(state.get("seconds", 0.0))

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.begun

    def _checkpoint(self, trainer: Trainer) -> None:
        weights, state = self.writer.checkpoint_paths(trainer.step)
        save_training(trainer, weights, state, seconds=self._seconds())
        self.writer.commit_checkpoint(trainer.step, [weights, state], keep=self.config.training.keep_checkpoints)

    def _epoch_end(self, trainer: Trainer) -> None:
        if trainer.epoch % self.stride == 0 or trainer.step >= trainer.total:
            self._snapshot(trainer)

    def _snapshot(self, trainer: Trainer) -> None:
        layers = snapshot_layers(trainer.model)
        if layers:
            self.writer.snapshot(trainer.step, layers)

    def _show(self, news: dict[str, Any]) -> None:
        self.writer.status(step=news["step"])
        if self.progress is not None:
            self.progress(news)

    def _summary(self, built: Built, trainer: Trainer) -> dict[str, Any]:
        example = torch.zeros(1, *built.data.input_shape, device=self.device)
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
