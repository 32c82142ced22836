"""The training loop: epochs of steps, a validation after each, and a state from which it resumes exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from nes_lab.datasets.sampling import stream_seed
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import RunError
from nes_lab.training import distributed
from nes_lab.training.check import images_of_a_step
from nes_lab.training.engine import Engine
from nes_lab.training.evaluate import evaluate
from nes_lab.training.hooks import Hooks
from nes_lab.training.networks import averaged, check_norms, share, synchronized_norms
from nes_lab.training.objective import Lesson
from nes_lab.training.optim import build_optimizer
from nes_lab.training.precision import Precision
from nes_lab.training.progress import DivergedError, Progress
from nes_lab.training.recipe import Recipe
from nes_lab.training.rng import capture_rng, isolated_rng
from nes_lab.training.routing_schedule import RoutingSchedule
from nes_lab.training.schedule import build_scheduler
from nes_lab.training.state import STATE_SCHEMA, match_structure, own_state, restore, state_of

__all__ = ["STATE_SCHEMA", "DivergedError", "Trainer"]


class Trainer:
    """Trains a network in place.

    Law: on CPU, N steps equal k steps, a save, a load into a new trainer, and N-k steps, bit for bit, wherever k lies.

    The global random generators (dropout uses them) are the trainer's own while it runs; the caller's are given back. With
    several processes (see :mod:`nes_lab.training.distributed`) each makes a trainer of the same network and calls
    :meth:`fit`; each takes its share of every step's images.

    Args:
        model: The network; it is moved to ``device``.
        data: What to learn from and to be judged by.
        recipe: How.
        seed: Of order, augmentation and dropout.
        device: Where to train.
        hooks: Whom to tell, and whether to stop.
        teacher: The dense network to distil from, where ``kd_weight`` is above 0; never changed, never saved.

    Attributes:
        step: Steps done.
        total: Steps in all.
        last: The latest validation's numbers; empty before the first.
        best_top1: The best validation top-1 so far, in percent; None before the first.

    Raises:
        OptionError: If the recipe asks for what the device, the data or the network does not have.

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
        data: DatasetSpec,
        recipe: Recipe,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        hooks: Hooks | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        self.device = distributed.place(torch.device(device))
        self.model, self.data, self.recipe, self.seed = model.to(self.device), data, recipe, seed
        self.hooks = hooks or Hooks()
        self.precision = Precision(self.device, recipe.amp)
        check_norms(recipe.sync_batchnorm, self.device)
        _check_joined()
        self.step_batch = images_of_a_step(recipe, len(data.train), distributed.world_size())
        self.steps_per_epoch = data.steps_per_epoch(self.step_batch)
        self.total = recipe.epochs * self.steps_per_epoch
        if recipe.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self._lesson = Lesson(recipe, data.num_classes, self.precision, teacher)
        self.optimizer = build_optimizer(self.model, recipe)
        self.scheduler = build_scheduler(self.optimizer, recipe, self.steps_per_epoch)
        self.engine = Engine(self.device, self.precision, recipe.accumulate, recipe.compile)
        self.ema = averaged(self.model, recipe)
        networks = [self.model] if self.ema is None else [self.model, self.ema.module]
        self.routing = RoutingSchedule(networks, recipe, self.steps_per_epoch)
        self.step, self.last, self.best_top1 = 0, {}, None
        self.validated = 0
        self.progress = Progress(self)
        chance = (seed, -1) if distributed.is_main() else (seed, -1, distributed.rank())
        self.rng: int | dict[str, Any] = stream_seed(*chance)
        self.others: list[dict[str, Any]] = []

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return self.step // self.steps_per_epoch

    def fit(self) -> bool:
        """Train to the end, or until ``hooks.should_stop`` says so.

        Returns:
            Whether the end was reached. If not, the trainer was handed to ``hooks.checkpoint`` and can go on.

        Raises:
            DivergedError: If a loss or a weight is no longer finite; nothing is saved then.
            RunError: If another process of the training failed; with its message.
        """
        share(*self.routing.networks, parameters=True)
        with ExitStack() as stack:
            stack.enter_context(synchronized_norms(self.model, self.recipe.sync_batchnorm))
            stack.enter_context(self.engine.running(self.model, self.optimizer))
            stack.enter_context(self.routing.momentum_given_back())
            stack.enter_context(isolated_rng(self.rng))
            try:
                return self._run()
            finally:
                self.rng = capture_rng()

    def _run(self) -> bool:
        if self.validated < self.epoch and not self._finish_epoch():
            return self._stop()
        while self.step < self.total:
            self.progress.clock.restart()
            self.engine.train()
            for images, labels in self._batches():
                self._train_step(images, labels)
                self.progress.report()
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
        while (batch := distributed.next_together(batches)) is not None:
            yield batch

    def _should_stop(self) -> bool:
        return any(distributed.agree(self.hooks.should_stop()))

    def _stop(self) -> bool:
        self._save()
        return False

    def _is_time_to_save(self) -> bool:
        """Whether this step is one of those to save besides epochs' ends, which save by themselves."""
        every = self.recipe.checkpoint_every_steps
        return every is not None and self.step % every == 0 and self.step % self.steps_per_epoch != 0

    def _train_step(self, images: Tensor, labels: Tensor) -> None:
        """Update the weights once."""
        self.scheduler.step_update(self.step)
        self.routing.before_step(self.step, self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.recipe.accumulate
        answers = [self._learn(*part) for part in zip(images.chunk(parts), labels.chunk(parts), strict=True)]
        self.progress.before_update()
        self.engine.update(self.recipe.clip_grad)
        self.step += 1
        if self.ema is not None:
            self.ema.update(self.model, step=self.step)
        for answer in answers:
            self.progress.count(*answer)

    def _learn(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Add one batch's gradients, and return its loss, logits and labels."""
        with self.engine.accumulating():
            images, labels = self._lesson.inputs(images, labels)
            logits = self.engine.forward(images)
            loss = self._lesson.loss(logits, images, labels)
            self.progress.watch(loss)
            self.engine.backward(loss)
        return loss.detach(), logits.detach(), labels

    def _finish_epoch(self) -> bool:
        """Let starts rest if it is time, validate the epoch just trained and save; False when stopped on the way."""
        self._let_starts_rest()
        numbers = self._validate()
        if numbers is None:
            return False
        self.last, self.validated = numbers, self.epoch
        self.best_top1 = max(numbers["top1"], -math.inf if self.best_top1 is None else self.best_top1)
        self.progress.row("val", numbers)
        if distributed.is_main():
            self.hooks.epoch_end(self)
        if self.epoch % self.recipe.checkpoint_every_epochs == 0 or self.step >= self.total:
            self._save()
        if self.step >= self.total or self.progress.clock.is_due():
            self.progress.show()
        return True

    def _let_starts_rest(self) -> None:
        events = self.routing.rest(self.epoch)
        for event in events:
            self.progress.event(event)
        if events:
            self.routing.drop_from(self.optimizer)
            self.engine.prepare(self.model, self.optimizer)

    def _validate(self) -> dict[str, float] | None:
        share(*self.routing.networks)
        # a CPU's caches like small batches
        size = 64 if self.device.type == "cpu" else max(256, self.recipe.batch_size)
        options = {"batch_size": size, "device": self.device, "amp": self.recipe.amp, "together": True}
        options |= {"should_stop": self.hooks.should_stop, "channels_last": self.recipe.channels_last}
        numbers = evaluate(self.model, self.data.val, **options)
        if numbers is not None and not math.isfinite(numbers["loss"]):
            self.progress.diverged("the validation loss", numbers["loss"], self.step)
        if numbers is None or self.ema is None:
            return numbers
        averages = evaluate(self.ema.module, self.data.val, **options)
        return None if averages is None else numbers | {f"ema_{name}": value for name, value in averages.items()}

    def _save(self) -> None:
        """Hand over to the checkpoint hook, unless that would replace a good checkpoint by a spoiled one."""
        self.progress.raise_if_bad()
        floating = ((name, t) for name, t in self.model.state_dict().items() if t.is_floating_point())
        spoiled = next((name for name, tensor in floating if not bool(tensor.isfinite().all())), None)
        if (spoiled := distributed.broadcast(spoiled)) is not None:
            self.progress.diverged(spoiled, math.nan, self.step)
        self.rng = capture_rng()
        self.others = distributed.gather(own_state(self))[1:]
        if distributed.is_main():
            self.hooks.checkpoint(self)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is not in the networks' state dicts, as plain tensors, numbers, lists and dicts."""
        return state_of(self)

    def match_structure(self, state: dict[str, Any]) -> None:
        """Exchange modules as those of a saved training were, before its weights are loaded."""
        match_structure(self, state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a saved state was; the networks' weights are loaded apart.

        Raises:
            CheckpointError: If the state is of another schema, or of a run with other data, seed, length or processes.
        """
        restore(self, state)


def _check_joined() -> None:
    """Refuse to train alone as one of several processes.

    Raises:
        RunError: If this process was started as one of several that have not joined.
    """
    if distributed.is_launched() and not distributed.is_joined():
        raise RunError("this process is one of several (RANK is set); train inside `with distributed.joined():`")
