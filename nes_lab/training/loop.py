"""Run the training loop: train step by step, validate after each epoch, and save checkpoints.

A training resumes exactly from a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.datasets.as_dataset import as_dataset
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import DataError, OptionError, RunError
from nes_lab.training import distributed
from nes_lab.training.divergence import DivergenceWatch
from nes_lab.training.evaluate import evaluate_split
from nes_lab.training.hooks import Hooks
from nes_lab.training.metrics import AnyMetric, detached, mean_of
from nes_lab.training.networks import broadcast_buffers, synchronized_norms
from nes_lab.training.objective import Objective
from nes_lab.training.recipe import Recipe
from nes_lab.training.reporter import Reporter
from nes_lab.training.rng import capture_rng, isolated_rng
from nes_lab.training.task import Loss, Task
from nes_lab.training.training_state import TrainingState

__all__ = ["Trainer"]


class Trainer(TrainingState):
    """Trains a network in place.

    A training may be saved, loaded into a new trainer and continued. On the CPU, this gives exactly the same weights as
    an uninterrupted training.

    During training the trainer sets the global random generators, for example for dropout. Afterwards it restores their
    previous states.

    Several processes may train together (see :mod:`nes_lab.training.distributed`). Each process makes its own trainer of the
    same network and calls :meth:`fit`. Each process trains on its part of the images of every step.

    Args:
        model: The network; it is moved to ``device``.
        data: A data set, or a pair (training data, validation data) of map-style data sets or loaders
            (:func:`nes_lab.datasets.as_dataset.as_dataset`). Loaders choose the batch size, and a training on them does not
            resume bit for bit.
        recipe: The settings of the training.
        seed: Seed for the order of the images, augmentation and dropout.
        device: The device to train on.
        hooks: Callbacks; None: nothing is reported, and the training never stops early.
        teacher: Dense network whose outputs ``model`` learns to imitate (distillation). It is needed if ``kd_weight``
            is above 0. It is neither changed nor saved. None: no teacher.
        loss: Function of (outputs, targets) that returns a tensor: the mean loss of the batch, a loss per example, or a pair
            (sum, count). None: cross entropy.
        metrics: Name -> function of (outputs, targets) whose higher values are better; or a pair (function, ``"lower"``); or a
            :class:`~nes_lab.training.metrics.Metric`. The first metric decides which checkpoint is the best. None: top-1 and
            top-5 accuracy for cross entropy. With another loss, None means that the loss decides.

    Raises:
        OptionError: If the device, the data or the network does not allow the recipe, or a loss or metric is not a function.
        DataError: If the data has another form, or is empty.

    Examples:
        >>> from nes_lab.datasets.digits import load_digits
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> trainer = Trainer(net, load_digits(limit=64), Recipe(epochs=1, batch_size=32, lr=0.1))
        >>> trainer.fit(), trainer.step
        (True, 2)
    """

    def __init__(
        self,
        model: nn.Module,
        data: DatasetSpec | tuple[Any, Any],
        recipe: Recipe,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        hooks: Hooks | None = None,
        teacher: nn.Module | None = None,
        loss: Loss | None = None,
        metrics: Mapping[str, AnyMetric] | None = None,
    ) -> None:
        _check_joined()
        data = as_dataset(data)
        _check_splits(data)
        super().__init__(model, data, recipe, seed=seed, device=device, task=Task.of(loss, metrics))
        about = {"teacher": teacher, "task": self.task, "may_have_more": self.data.counted_classes}
        self.objective = Objective(self.recipe, self.data.num_classes, self.precision, **about)
        self.divergence = DivergenceWatch(self)
        self.reporter = Reporter(self, hooks or Hooks())

    @property
    def hooks(self) -> Hooks:
        """The callbacks of the training. You may replace them before you call :meth:`fit`."""
        return self.reporter.hooks

    @hooks.setter
    def hooks(self, hooks: Hooks) -> None:
        self.reporter.hooks = hooks

    def fit(self) -> bool:
        """Train to the end, or until ``hooks.should_stop`` returns True.

        Returns:
            True if the training reached its end, False if it was stopped. A stopped training has been saved through
            ``hooks.checkpoint`` and can continue.

        Raises:
            DivergedError: If a loss or a weight is not finite. Nothing is saved then.
            RunError: If another process of the training failed; the message includes the error message of that process.
        """
        broadcast_buffers(*self.routing.networks, with_parameters=True)
        with ExitStack() as stack:
            stack.enter_context(synchronized_norms(self.model, self.recipe.sync_batchnorm))
            stack.enter_context(self.engine.running(self.model, self.optimizer))
            stack.enter_context(self.routing.restored_momentum())
            stack.enter_context(isolated_rng(self.rng))
            try:
                return self._run()
            finally:
                self.rng = capture_rng()

    def _run(self) -> bool:
        if self.validated < self.epoch and not self._finish_epoch():
            return self._stop()
        while self.step < self.total:
            self.reporter.clock.restart()
            self.engine.train()
            for images, labels in self._batches():
                self._train_step(images, labels)
                self._report()
                if self._should_stop():
                    return self._stop()
                if self._is_time_to_save():
                    self._save()
            if not self._finish_epoch():
                return self._stop()
        return True

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        start, shard = self.step % self.steps_per_epoch, (distributed.rank(), distributed.world_size())
        read = self.data.train.train_batches
        batches = iter(
            read(self.step_batch, self.seed, self.epoch, start, **({} if shard == (0, 1) else {"shard": shard}))
        )
        while (batch := distributed.next_on_all_ranks(batches)) is not None:
            yield batch

    def _should_stop(self) -> bool:
        return any(distributed.max_over_ranks(self.hooks.should_stop()))

    def _stop(self) -> bool:
        self._save()
        return False

    def _is_time_to_save(self) -> bool:
        """Return True if a checkpoint is due at this step, within an epoch. Checkpoints at the end of an epoch do not count."""
        every = self.recipe.checkpoint_every_steps
        # at the end of an epoch _finish_epoch saves
        return every is not None and self.step % every == 0 and self.step % self.steps_per_epoch != 0

    def _train_step(self, images: Tensor, labels: Tensor) -> None:
        """Train on the images of one step, and update the weights once."""
        self.scheduler.step_update(self.step)
        self.routing.before_step(self.step, self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.recipe.accumulate
        results = [self._add_gradients(*part) for part in zip(images.chunk(parts), labels.chunk(parts), strict=True)]
        self.divergence.before_update()
        self.engine.update(self.recipe.clip_grad)
        self.step += 1
        if self.ema is not None:
            self.ema.update(self.model, step=self.step)
        for result in results:
            self.reporter.count(*result)

    def _add_gradients(self, images: Tensor, labels: Tensor) -> tuple[Any, Any, Tensor]:
        """Run the forward and backward pass of one batch, and return the loss, the outputs and the labels for metrics.

        The gradients of the batch are added to the gradients of earlier batches.
        """
        with self.engine.accumulating():
            images, labels = self.objective.inputs(images, labels)
            outputs = self.engine.forward(images)
            value = self.objective.loss(outputs, images, labels)
            loss = mean_of(self.task.loss_name, value)
            self._check_gradient(loss)
            self.divergence.watch(loss)
            self.engine.backward(loss)
        return detached(value), detached(outputs), self.objective.unmixed(labels)

    def _check_gradient(self, loss: Tensor) -> None:
        if loss.requires_grad:
            return
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            raise OptionError("no parameter of the network requires gradients; there is nothing to train")
        raise OptionError(
            f"{self.task.loss_name} returned a tensor without gradients; compute it from the outputs with torch's functions, "
            "without detach(), item() or numpy()"
        )

    def _report(self) -> None:
        if self.reporter.is_row_due():
            self.divergence.raise_if_bad()
            self.reporter.train_row()
        if self.reporter.clock.is_due():
            self.reporter.progress()

    def _finish_epoch(self) -> bool:
        """Validate at the end of an epoch, and save if a checkpoint is due. Return False if the training is stopped.

        Before the validation, the starting indices are frozen or rounded if the settings of the training ask for it.
        Starting indices are the positions at which layers read their epitomes.
        """
        self._freeze_and_snap()
        numbers = self._validate()
        if numbers is None:
            return False
        self.last, self.validated = numbers, self.epoch
        is_best = self.note_best(numbers)
        self.reporter.row("val", numbers)
        if distributed.is_main():
            self.hooks.epoch_end(self)
        if is_best or self.epoch % self.recipe.checkpoint_every_epochs == 0 or self.step >= self.total:
            self._save()
        if self.step >= self.total or self.reporter.clock.is_due():
            self.reporter.progress()
        return True

    def _freeze_and_snap(self) -> None:
        events = self.routing.freeze_and_snap(self.epoch)
        for event in events:
            self.reporter.event(event)
        if events:
            self.routing.drop_from(self.optimizer)
            self.engine.prepare(self.model, self.optimizer)

    def _validate(self) -> dict[str, float] | None:
        broadcast_buffers(*self.routing.networks)
        # on a CPU small batches are faster, because they fit into its caches
        size = 64 if self.device.type == "cpu" else max(256, self.recipe.batch_size)
        options = {"batch_size": size, "device": self.device, "amp": self.recipe.amp, "all_ranks": True}
        options |= {"should_stop": self.hooks.should_stop, "channels_last": self.recipe.channels_last}
        if self.task.own_loss is None:
            options["head"] = self.objective.head
        numbers = evaluate_split(self.model, self.data.val, self.task, **options)
        if numbers is not None and not math.isfinite(numbers["loss"]):
            self.divergence.stop("the validation loss", numbers["loss"], self.step)
        if numbers is None or self.ema is None:
            return numbers
        averages = evaluate_split(self.ema.module, self.data.val, self.task, **options)
        return None if averages is None else numbers | {f"ema_{name}": value for name, value in averages.items()}

    def _save(self) -> None:
        """Call the callback that saves the training. Raise an error instead if a loss or a weight is not finite."""
        self.divergence.raise_if_spoiled()
        self.rng = capture_rng()
        self.other_ranks = distributed.gather(self.rank_state())[1:]
        if distributed.is_main():
            self.hooks.checkpoint(self)


def _check_splits(data: DatasetSpec) -> None:
    """Raise an error if a data set has only one split. Training needs one split to learn from, and another to evaluate on."""
    if data.only_split:
        raise DataError(f"data set {data.name!r} has only the split {data.only_split!r}; training needs train and val")


def _check_joined() -> None:
    """Raise an error if this process should train together with others and is not connected to them.

    Raises:
        RunError: If this process is not connected to the others.
    """
    if distributed.is_launched() and not distributed.is_joined():
        raise RunError("this process is one of several (RANK is set); train inside `with distributed.joined():`")
