"""Train a run once: from its start or from a checkpoint, until it is finished or stopped.

First the network and the data are built. During training, metrics, checkpoints and snapshots of the epitomes are written. At the
end of a finished run, the summary is written.

Tests: tests/experiment/test_run_experiment.py.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nes_lab.config import ExperimentConfig
from nes_lab.cost.count import count
from nes_lab.cost.measure import measure_latency
from nes_lab.datasets.loaders import NOT_RESUMABLE
from nes_lab.errors import CheckpointError
from nes_lab.experiment.build import Built, build, recipe_of
from nes_lab.experiment.initial_network import load_initial
from nes_lab.experiment.machine import MachineMeter
from nes_lab.experiment.same_data import Continued
from nes_lab.experiment.same_settings import settings_record
from nes_lab.experiment.weights_notes import notes_on_weights
from nes_lab.nn.inspect import snapshot_layers
from nes_lab.progress_bar import OnProgress, ProgressEvent
from nes_lab.records.compression_plan import CompressionPlan
from nes_lab.runs import layout
from nes_lab.runs.checkpoints import Checkpoint
from nes_lab.runs.extensions import extension_text, read_extensions
from nes_lab.runs.files import read_json, write_json
from nes_lab.runs.writer import RunWriter
from nes_lab.surgery.for_inference import for_inference
from nes_lab.training import distributed
from nes_lab.training.checkpoint import load_training, save_training
from nes_lab.training.device import pick_device
from nes_lab.training.hooks import Hooks
from nes_lab.training.loop import Trainer
from nes_lab.training.signals import StopSignals
from nes_lab.training.task import CLASSIFICATION, Task
from nes_lab.training.trackers import Trackers
from nes_lab.training.training_notes import notes_on_training
from nes_lab.training.training_state import TrainingState

__all__ = ["Attempt", "make_trainer"]

logger = logging.getLogger(__name__)
MAX_SNAPSHOTS = 60
LATENCY_ROUNDS = 20
TRACKERS_FOLDER = "trackers"
SECONDS_BETWEEN_REPORTS = 0.2


def make_trainer(config: ExperimentConfig, built: Built, hooks: Hooks, task: Task = CLASSIFICATION) -> Trainer:
    """Return a trainer for the network, data and teacher in ``built``, on the device that the config names.

    Args:
        config: The run's configuration.
        built: The network, data and teacher.
        hooks: Callbacks of the training.
        task: The loss and the metrics.
    """
    device = pick_device(config.training.device)
    options: dict[str, Any] = {"seed": config.seed, "device": device, "hooks": hooks, "teacher": built.teacher}
    options |= {"loss": task.own_loss, "metrics": task.metrics}
    return Trainer(built.model, built.data, recipe_of(config), **options)


class Attempt:
    """Trains a run from its latest checkpoint, or from the start, and writes metrics, checkpoints and summary into its files.

    Args:
        writer: Writer of the run's files, inside its ``with`` block.
        config: The run's configuration.
        signals: Object that records whether SIGTERM or Ctrl-C has asked this process to stop.
        on_progress: Function that is called with each progress event.
        continued: The data, and the fields of the configuration that have changed since the latest checkpoint.
        network: The network that was given in memory when the run was created; None: the run's files can make it.
        task: The loss and the metrics.
    """

    def __init__(
        self,
        writer: RunWriter,
        config: ExperimentConfig,
        signals: StopSignals,
        on_progress: OnProgress,
        continued: Continued,
        network: nn.Module | None = None,
        task: Task = CLASSIFICATION,
    ) -> None:
        self.writer, self.config, self.signals, self.on_progress = writer, config, signals, on_progress
        self.continued, self.network, self.task = continued, network, task
        self.extensions = read_extensions(writer.folder)
        self.trackers: Trackers | None = None
        self.machine: MachineMeter | None = None
        self.reported = ("", 0.0)
        self.begun, self.seconds_before = time.perf_counter(), 0.0
        self.stride = -(-config.training.epochs // (MAX_SNAPSHOTS - 1))

    def run(self) -> dict[str, Any]:
        """Build the network and the data, train the network, and write the run's summary.

        Returns:
            A dict. For a finished run it has the entry ``state`` and the entries of the summary. For a cancelled run it has the
            entries ``state``, ``step`` (number of steps done) and ``total`` (number of steps of a complete run).

        Raises:
            CheckpointError: If the latest checkpoint cannot be resumed from, because it has weights but no training state.
        """
        checkpoint = self.writer.latest_checkpoint()
        if checkpoint is not None and checkpoint.state is None:
            raise CheckpointError(f"the checkpoint of step {checkpoint.step} has weights but no state to resume from")
        self._say_changed()
        built = self._build(checkpoint)
        self.record = settings_record(self._first_config(), built.data.identity)
        trainer = make_trainer(self.config, built, self._hooks(), self.task)
        if checkpoint is None:
            self._record(built)
            self._snapshot(trainer)
        else:
            self._restore(trainer, checkpoint)
        note = "" if built.data.resumable else NOT_RESUMABLE
        self.writer.status(step=trainer.step, total=trainer.total, resume_note=note, stage={})
        self.machine = MachineMeter(trainer.device)
        if not self._fit(trainer):
            asked = self.writer.cancel_requested()  # whoever asks also sends a signal, to wake the process
            reason = "cancelled on request" if asked else f"{self.signals.received or 'a signal'} received"
            self.writer.status("cancelled", step=trainer.step, reason=reason)
            return {"state": "cancelled", "step": trainer.step, "total": trainer.total}
        summary = self._summary(built, trainer)
        notes = self._notes(trainer)
        if notes or self.writer.store.get(self.writer.run_id).summary.get("note"):
            summary["note"] = "; ".join(notes)
        self.writer.summary(**summary)
        for note in notes:
            logger.warning("run %s: %s", self.writer.run_id, note)
        self.writer.status("finished", step=trainer.step, reason="; ".join(notes))
        return {"state": "finished", **summary}

    def _notes(self, trainer: Trainer) -> tuple[str, ...]:
        """Return sentences for the user if the results of the run mean little, or if it has no best checkpoint."""
        rows = self.writer.store.metrics(self.writer.run_id)
        unknown = () if trainer.best else (f"no validation gave a finite number for {trainer.task.decisive}",)
        return (*notes_on_training(trainer, rows), *unknown)

    def _build(self, checkpoint: Checkpoint | None) -> Built:
        """Build the network and the data in the first process of the training, then send the plan to the other processes.

        The other processes build the same network from this plan.
        """
        plan = None if checkpoint is None else self._stored_plan()
        info = self.writer.store.get(self.writer.run_id)
        start = load_initial(self.writer.folder, info, self.config, self.network)
        built = build(self.config, plan, self.continued.data, start, self._prepare)
        if distributed.world_size() == 1:
            return built
        distributed.broadcast(
            {
                "plan": None if built.plan is None else built.plan.to_dict(),
                "weights": None if checkpoint is None else str(checkpoint.weights),
                "state": None if checkpoint is None else str(checkpoint.state),
                "earlier_epochs": self._earlier_epochs(),
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
            self.writer.store.root.parent / TRACKERS_FOLDER,
            self.writer.run_id,
            self._first_config().to_dict(),
            on_failure=lambda name, reason: self.writer.event("tracker_failed", tracker=name, reason=reason),
            first_step=trainer.step + 1,
        )
        try:
            return trainer.fit()
        finally:
            self.trackers.finish()

    def _say_changed(self) -> None:
        """Say in the run's events which fields of the configuration have changed since the latest checkpoint."""
        changes, unknown = self.continued.changes, self.continued.unknown
        if changes:
            about = {change.path: {"before": change.before, "now": change.now} for change in changes}
            self.writer.event("settings_changed", fields=about)
        if unknown:
            self.writer.event("settings_not_compared", reason=unknown)

    def _first_config(self) -> ExperimentConfig:
        """Return the configuration as it was before any extension.

        Trackers refuse settings that change, and the run's ``config.json`` keeps the number of epochs.
        """
        if not self.extensions:
            return self.config
        training = self.config.training.model_copy(update={"epochs": self.extensions[0].planned})
        return self.config.model_copy(update={"training": training})

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
        machine = self.machine.read() if self.machine is not None and row["split"] == "train" else {}
        self.writer.metric(**row, **machine)
        if self.trackers is not None:
            self.trackers.log(row)

    def _stored_plan(self) -> CompressionPlan | None:
        try:
            return CompressionPlan.from_dict(read_json(self.writer.folder / layout.PLAN))
        except FileNotFoundError:
            return None

    def _record(self, built: Built) -> None:
        """Write into the run's files what is known before the first training step.

        The files get the compression plan, the params and multiply-adds, the numbers of images and classes, and how closely
        the epitomes match the dense weights.
        """
        if built.plan is not None:
            self.writer.plan_json(built.plan.to_json())
        self._record_cost(built)
        self.writer.summary(**_costs(built))
        self.writer.event("task", **self.task.to_dict())
        if (fit := built.fit) is not None:
            about = {"residual": fit.residual, "residual_before": fit.residual_before, "seconds": fit.seconds}
            same = {"agreement": fit.agreement, "output_error": fit.output_error, "comparison": fit.comparison}
            self.writer.event("fit", starts=fit.starts, calibration_batches=fit.calibration_batches, **about, **same)
            self.writer.summary(
                **{f"fit_{name}": same[name] for name in ("agreement", "output_error") if same[name] is not None}
            )
            logger.info("fitted: %s", fit.comparison)
        if self.config.start is not None:
            self.writer.event("start_from", start=self.config.start)
        data = built.data
        sizes = {"train": len(data.train), "val": len(data.val), "classes": data.num_classes}
        shape = {"input_shape": list(data.input_shape), "in_channels": data.in_channels}
        dtype = str(data.dtype).removeprefix("torch.")
        notes = [*data.notes, *notes_on_weights(self.config, data, built.model)]
        names: dict[str, Any] = {"class_names": [str(name) for name in data.classes]}
        names |= {"preprocessing": None if data.preprocessing is None else data.preprocessing.to_dict()}
        self.writer.event("data", name=data.name, **sizes, **shape, dtype=dtype, notes=notes, **names)

    def _record_cost(self, built: Built) -> None:
        self.writer.cost({"dense": built.dense_cost.to_dict(), "cost": built.cost.to_dict()})

    def _restore(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        assert checkpoint.state is not None  # run() has checked it
        state = load_training(trainer, checkpoint.weights, checkpoint.state, self._earlier_epochs())
        self.seconds_before = float(state.get("seconds", 0.0))
        if state["total"] != trainer.total:
            self._say_extended(trainer, float(state["optimizer"]["param_groups"][0]["lr"]))

    def _earlier_epochs(self) -> list[int]:
        return [extension.planned for extension in self.extensions]

    def _say_extended(self, trainer: Trainer, rate_before: float) -> None:
        """Say in the run's events and log that the training goes on with more epochs, and how its learning rate changes."""
        trainer.scheduler.step_update(trainer.step)  # the next step sets it again
        rate = trainer.optimizer.param_groups[0]["lr"]
        about = {"step": trainer.step, "epochs": self.config.training.epochs, "from": extension_text(self.extensions)}
        self.writer.event("extended", **about, lr_before=rate_before, lr=rate)
        logger.warning(
            "run %s is extended to %d epochs at step %d. Its learning rate follows the schedule of %d epochs from here on: "
            "it was %.4g and is now %.4g.",
            self.writer.run_id, about["epochs"], trainer.step, about["epochs"], rate_before, rate,
        )  # fmt: skip

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.begun

    def _checkpoint(self, trainer: TrainingState) -> None:
        weights, state = self.writer.checkpoint_paths(trainer.step)
        save_training(trainer, weights, state, seconds=self._seconds())
        settings, keep = weights.with_suffix(".json"), self.config.training.keep_checkpoints
        write_json(settings, self.record)
        self.writer.commit_checkpoint(trainer.step, [weights, state, settings], keep, trainer.score())

    def _epoch_end(self, trainer: TrainingState) -> None:
        if trainer.epoch % self.stride == 0 or trainer.step >= trainer.total:
            self._snapshot(trainer)

    def _snapshot(self, trainer: TrainingState) -> None:
        layers = snapshot_layers(trainer.model, gradients=self.config.training.keep_gradients)
        if layers:
            self.writer.snapshot(trainer.step, layers)

    def _prepare(self, event: ProgressEvent) -> None:
        """Report the progress of the work before the first training step, at most five times a second and in each phase."""
        now = time.perf_counter()
        if event["phase"] == self.reported[0] and now - self.reported[1] < SECONDS_BETWEEN_REPORTS:
            return
        self.reported = event["phase"], now
        self.writer.status(stage=event)
        self.on_progress(event)

    def _progress(self, event: ProgressEvent) -> None:
        self.writer.status(step=int(event["done"]))
        self.on_progress(event)

    def _routing(self, built: Built) -> dict[str, str]:
        """Return the routing and the scope of a network that was compressed before the run.

        For any other network the result is empty. If the run compresses the network, the configuration names both.
        """
        if built.plan is None or self.config.compression is not None:
            return {}
        layer = next(iter(built.plan.layers.values()))
        return {"routing": layer.routing, "scope": layer.scope}

    def _summary(self, built: Built, trainer: Trainer) -> dict[str, Any]:
        example = built.data.example_input(trainer.device)
        if trainer.routing.snapped:  # starts on whole cells need no blending, so the network costs less now
            built = replace(built, cost=count(trainer.model, example))
            self._record_cost(built)
        latency = measure_latency({"model": for_inference(trainer.model)}, example, pairs=LATENCY_ROUNDS)["model"]
        measured = {name: value for name, value in trainer.last.items() if math.isfinite(value)}
        loss = (
            {"val_loss": measured["loss"]} if "loss" in measured else {}
        )  # so that runs can be compared by their loss
        if trainer.task.metrics:  # otherwise the loss says how good the network is
            measured = {name: value for name, value in measured.items() if name not in ("loss", "ema_loss")}
        return {
            **_costs(built),
            **self._routing(built),
            **measured,
            **loss,
            **{f"best_{name}": value for name, value in trainer.best.items()},
            "latency_ms": latency.median_ms,
            "latency_p90_ms": latency.p90_ms,
            "threads": latency.threads,
            "epochs": self.config.training.epochs,
            **({"extended_from": place} if (place := extension_text(self.extensions)) else {}),
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
        "stored_bytes": built.cost.stored_bytes,
        "dense_params": built.dense_cost.params,
        "dense_madds": built.dense_cost.madds,
    }
