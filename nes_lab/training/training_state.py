"""Hold the network, the data and the state of a training. Return the state as a dict, which checkpoints store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nes_lab.datasets.sampling import stream_seed
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import CheckpointError
from nes_lab.runs.checkpoint_score import Score
from nes_lab.text import list_some
from nes_lab.training import distributed
from nes_lab.training.engine import Engine
from nes_lab.training.networks import build_ema, check_sync_batchnorm
from nes_lab.training.optim import build_optimizer, load_optimizer
from nes_lab.training.precision import Precision
from nes_lab.training.recipe import Recipe
from nes_lab.training.recipe_checks import images_per_step
from nes_lab.training.routing_schedule import RoutingSchedule
from nes_lab.training.running_metrics import RunningMetrics
from nes_lab.training.schedule import build_scheduler
from nes_lab.training.task import CLASSIFICATION, Task

__all__ = ["STATE_SCHEMA", "TrainingState", "check_saved_data"]

STATE_SCHEMA = 1
_MUST_MATCH = ("steps_per_epoch", "total", "seed")


class TrainingState:
    """The network, data, recipe, optimizer, counters and random generators of a training at its current step.

    The subclass :class:`~nes_lab.training.loop.Trainer` adds the training loop. Callbacks and checkpoints use only this class.

    Args:
        model: The network; it is moved to ``device``.
        data: The training split and the validation split.
        recipe: The settings of the training.
        seed: Seed for the order of the images, augmentation and dropout.
        device: The device to train on.
        task: The loss and the metrics.

    Attributes:
        step: Number of training steps done so far.
        total: Number of steps in the complete training.
        validated: Number of epochs that were completed at the latest validation; 0 before the first one.
        last: Metrics of the latest validation; empty before the first one.
        best: Best value so far of the number that decides which checkpoint is the best (``task.decisive``), by name, such as
            ``top1``, and ``ema_top1`` for the moving average; empty before the first validation.
        ema: Moving average of the weights; None: the recipe has no ``ema_decay``.
        rng: What the global random generators are set to when the training starts or continues: at first a seed, later the saved
            states of the generators.
        other_ranks: Random generators and running metrics of the other processes at the time of the last save.

    Raises:
        OptionError: If the device, the data or the network does not allow the recipe.
    """

    def __init__(
        self,
        model: nn.Module,
        data: DatasetSpec,
        recipe: Recipe,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        task: Task = CLASSIFICATION,
    ) -> None:
        if data.batch_size is not None:
            recipe = replace(recipe, batch_size=data.batch_size)
        self.task = task
        self.device = distributed.local_device(torch.device(device))
        self.model, self.data, self.recipe, self.seed = model.to(self.device), data, recipe, seed
        self.precision = Precision(self.device, recipe.amp)
        check_sync_batchnorm(recipe.sync_batchnorm, self.device)
        self.step_batch = images_per_step(recipe, len(data.train), distributed.world_size())
        self.steps_per_epoch = data.steps_per_epoch(self.step_batch)
        self.total = recipe.epochs * self.steps_per_epoch
        if recipe.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.optimizer = build_optimizer(self.model, recipe)
        self.scheduler = build_scheduler(self.optimizer, recipe, self.steps_per_epoch)
        self.engine = Engine(self.device, self.precision, recipe.accumulate, recipe.compile)
        self.ema = build_ema(self.model, recipe)
        networks = [self.model] if self.ema is None else [self.model, self.ema.module]
        self.routing = RoutingSchedule(networks, recipe, self.steps_per_epoch)
        self.metrics = RunningMetrics(self.device, task.metrics)
        self.step, self.validated = 0, 0
        self.last: dict[str, float] = {}
        self.best: dict[str, float] = {}
        key = (seed, -1) if distributed.is_main() else (seed, -1, distributed.rank())
        self.rng: int | dict[str, Any] = stream_seed(*key)
        self.other_ranks: list[dict[str, Any]] = []

    @property
    def epoch(self) -> int:
        """Number of epochs that the training has completed."""
        return self.step // self.steps_per_epoch

    @property
    def best_top1(self) -> float | None:
        """Best top-1 accuracy in validation so far, in percent; None before the first validation, or without ``top1``."""
        return self.best.get("top1")

    def note_best(self, numbers: dict[str, float]) -> bool:
        """Remember the best validation so far, of the network and of its moving average.

        Return True if the latest validation is the best so far for one of the two.

        Args:
            numbers: The numbers of the latest validation.
        """
        names = [name for name in (self.task.decisive, f"ema_{self.task.decisive}") if name in numbers]
        new = {
            n: numbers[n]
            for n in names
            if math.isfinite(numbers[n]) and self.task.is_better(numbers[n], self.best.get(n))
        }
        self.best |= new
        return bool(new)

    def score(self) -> Score | None:
        """Return the deciding metric of the network and of its moving average, from the validation at the present step.

        The result is None if there was no validation at this step.
        """
        if self.step != self.validated * self.steps_per_epoch or not self.last:
            return None
        name = self.task.decisive
        values = [self.last.get(key) for key in (name, f"ema_{name}")]
        return Score(name, self.task.better, *(None if v is None or not math.isfinite(v) else v for v in values))

    def rank_state(self) -> dict[str, Any]:
        """Return the random generators of this process, and its mean loss and accuracy so far, as a dict."""
        rng = self.rng if isinstance(self.rng, dict) else {"seed": self.rng}
        return {"rng": rng, "meter": self.metrics.state_dict()}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a checkpoint stores of the training except the weights, as tensors, numbers, lists and dicts."""
        return {
            "schema_version": STATE_SCHEMA,
            "step": self.step,
            "steps_per_epoch": self.steps_per_epoch,
            "total": self.total,
            "seed": self.seed,
            "processes": distributed.world_size(),
            "data": self.data.identity,
            "validated": self.validated,
            "last": dict(self.last),
            "best": dict(self.best),
            "task": self.task.to_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.engine.scaler_state(),
            "routing": self.routing.state_dict(),
            **self.rank_state(),
            "others": self.other_ranks,
        }

    def match_structure(self, state: dict[str, Any]) -> None:
        """Freeze or round the starting indices if they were frozen or rounded in the saved training.

        Starting indices are the positions at which layers read their epitomes. Frozen indices are no longer learned.
        Call this method before you load the saved weights.

        Args:
            state: The state that :meth:`state_dict` returned for the saved training.

        Raises:
            CheckpointError: If the state has another format version or belongs to other data, or if starting indices
                are frozen or rounded only in this training.
        """
        if state.get("schema_version") != STATE_SCHEMA:
            raise CheckpointError(
                f"the checkpoint has schema_version={state.get('schema_version')!r}; this version reads {STATE_SCHEMA}"
            )
        if isinstance(saved := state.get("data"), dict):  # absent from the checkpoints of older versions
            check_saved_data(self.data, saved)
        routing = state.get("routing", {})
        if not isinstance(routing, dict):
            raise CheckpointError(f"the checkpoint is incomplete or damaged: routing={routing!r}")
        self.routing.restore(routing, self.optimizer)

    def load_state_dict(self, state: dict[str, Any], earlier_epochs: Sequence[int] = ()) -> None:
        """Load the saved state of a training, to continue from it. The weights of the networks are loaded separately.

        Args:
            state: The state that :meth:`state_dict` returned for the saved training.
            earlier_epochs: Numbers of epochs that the recipe had before the training was extended. A state that was saved with
                one of them is accepted too.

        Raises:
            CheckpointError: If the state is damaged, has another format version, or belongs to a training with other data,
                another seed, another length or another number of processes.
        """
        self.match_structure(state)
        self._check_run(state, earlier_epochs)
        self.task.check_saved(state.get("task"))
        try:
            load_optimizer(self.optimizer, state["optimizer"])
            self.engine.load_scaler_state(state["scaler"])
            own = state if distributed.is_main() else state["others"][distributed.rank() - 1]
            self.metrics.load_state_dict(own["meter"])
            self.step, self.validated = int(state["step"]), int(state["validated"])
            self.last, self.best = dict(state["last"]), _saved_best(state)
            rng = own["rng"]
            self.rng = rng.get("seed", rng)
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
            raise CheckpointError(f"the checkpoint is incomplete or damaged: {error!r}") from error

    def _check_run(self, state: dict[str, Any], earlier_epochs: Sequence[int]) -> None:
        earlier_totals = [epochs * self.steps_per_epoch for epochs in earlier_epochs]
        for name in _MUST_MATCH:
            if name == "total" and state.get(name) in earlier_totals:
                continue
            if state.get(name) != getattr(self, name):
                raise CheckpointError(
                    f"the checkpoint is of a run with {name}={state.get(name)}, not {getattr(self, name)}"
                )
        processes = state.get("processes", 1)
        if processes != distributed.world_size():
            raise CheckpointError(
                f"the checkpoint is of a run with processes={processes}, not {distributed.world_size()}; "
                f"resume it with {processes} processes"
            )


def _saved_best(state: dict[str, Any]) -> dict[str, float]:
    if "best" in state:
        return dict(state["best"])
    top1 = state["best_top1"]  # of older versions, which forgot the moving average's
    return {} if top1 is None else {"top1": float(top1)}


def check_saved_data(data: DatasetSpec, saved: dict[str, Any]) -> None:
    """Raise an error if the data of a training has changed since the training was saved.

    Args:
        data: The data of the training.
        saved: What a checkpoint stores of the data.

    Raises:
        CheckpointError: If the data has changed; the message says how.
    """
    changed = [
        _describe_change(name, saved[name], now)
        for name, now in data.identity.items()
        if name in saved and now != saved[name]  # older versions saved fewer properties
    ]
    if changed:
        raise CheckpointError(
            f"the data has changed since the checkpoint ({'; '.join(changed)}); restore the old data, or start a new run"
        )


def _describe_change(name: str, before: object, now: object) -> str:
    """Return a text such as ``classes: cat, now dog``, which gives a property of the data before and after a change.

    If the property is a list, the text gives only the entries that were removed and added.
    """
    if name.startswith("content of"):
        return f"{name}: other files, sizes or numbers"
    if name == "preparation":
        return f"images were prepared with {before}, now with {now}"
    if isinstance(before, list) and isinstance(now, list):
        if sorted(before) == sorted(now):
            return f"{name}: another order ({list_some(before)}, now {list_some(now)})"
        gone = [entry for entry in before if entry not in now]
        new = [entry for entry in now if entry not in before]
        return f"{name}: {list_some(gone) or 'none'}, now {list_some(new) or 'none'}"
    return f"{name}: {str(before)[:8]}, now {str(now)[:8]}"
