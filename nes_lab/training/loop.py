"""The training loop: epochs of steps, a validation after each, and a state from which it resumes exactly."""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from nes_lab.datasets.sampling import stream_seed
from nes_lab.datasets.spec import DatasetSpec
from nes_lab.errors import CheckpointError, RunError
from nes_lab.training.checkpoint import load_optimizer
from nes_lab.training.clock import Clock
from nes_lab.training.evaluate import evaluate
from nes_lab.training.hooks import Hooks
from nes_lab.training.losses import classification_loss
from nes_lab.training.metrics import Meter
from nes_lab.training.optim import build_optimizer, build_scheduler, step_optimizer
from nes_lab.training.precision import Precision
from nes_lab.training.recipe import Recipe
from nes_lab.training.rng import capture_rng, isolated_rng

__all__ = ["STATE_SCHEMA", "DivergedError", "Trainer"]

STATE_SCHEMA = 1
_ADVICE = "try a lower lr, a longer warmup_epochs, or clip_grad=1"


class DivergedError(RunError):
    """The training left the finite numbers; says at which step and what to try."""


class Trainer:
    """Trains a network in place.

    Law: on CPU, N steps equal k steps, a save, a load into a new trainer, and N-k steps, bit for bit, wherever k lies.

    The global random generators (dropout uses them) are the trainer's own while it runs; the caller's are given back.

    Args:
        model: The network; it is moved to ``device``.
        data: What to learn from and to be judged by.
        recipe: How.
        seed: Of order, augmentation and dropout.
        device: Where to train.
        hooks: Whom to tell, and whether to stop.

    Attributes:
        step: Steps done.
        total: Steps in all.
        last: The latest validation's numbers; empty before the first.
        best_top1: The best validation top-1 so far, in percent; None before the first.

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
    ) -> None:
        self.device = torch.device(device)
        self.model, self.data, self.recipe, self.seed = model.to(self.device), data, recipe, seed
        self.hooks = hooks or Hooks()
        self.steps_per_epoch = data.steps_per_epoch(recipe.batch_size)
        self.total = recipe.epochs * self.steps_per_epoch
        self.optimizer = build_optimizer(self.model, recipe)
        self.scheduler = build_scheduler(self.optimizer, recipe, self.steps_per_epoch)
        self.precision = Precision(self.device, recipe.amp)
        decay = recipe.ema_decay
        self.ema = None if decay is None else ModelEmaV3(self.model, decay=decay, use_warmup=True)
        self.step, self.last, self.best_top1 = 0, {}, None
        self._validated = 0
        self._loss = classification_loss(recipe.label_smoothing)
        self._meter, self._clock = Meter(self.device), Clock()
        self._recent_loss: float | None = None
        self._bad_step = torch.full((), -1, dtype=torch.long, device=self.device)
        self._rng: int | dict[str, Any] = stream_seed(seed, -1)

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
        """
        with isolated_rng(self._rng):
            try:
                done = self._run()
            finally:
                self._rng = capture_rng()
        return done

    def _run(self) -> bool:
        if self._validated < self.epoch and not self._finish_epoch():
            return self._stop()
        while self.step < self.total:
            self._clock.restart()
            start = self.step % self.steps_per_epoch
            batches = self.data.train.train_batches(self.recipe.batch_size, self.seed, self.epoch, start)
            self.model.train()
            for images, labels in batches:
                self._train_step(images, labels)
                self._report()
                if self.hooks.should_stop():
                    return self._stop()
            if not self._finish_epoch():
                return self._stop()
        return True

    def _stop(self) -> bool:
        self._save()
        return False

    def _train_step(self, images: Tensor, labels: Tensor) -> None:
        images = images.to(self.device, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        self.scheduler.step_update(self.step)
        with self.precision.autocast():
            logits = self.model(images)
            loss = self._loss(logits, labels)
        self._watch(loss)
        self.optimizer.zero_grad(set_to_none=True)
        self.precision.backward(loss)
        if self.recipe.clip_grad is not None:
            self._clip(self.recipe.clip_grad)
        step_optimizer(self.optimizer, self.precision.scaler)
        self.step += 1
        if self.ema is not None:
            self.ema.update(self.model, step=self.step)
        self._meter.update(loss, logits, labels)
        self._clock.count(len(labels))

    def _clip(self, largest: float) -> None:
        if self.precision.scaler is not None:
            self.precision.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), largest)

    def _watch(self, loss: Tensor) -> None:
        """Note the first step whose loss is not finite; at once on CPU, at the next row of metrics elsewhere."""
        if self.device.type != "cpu":
            is_first = ~loss.detach().isfinite() & (self._bad_step < 0)
            self._bad_step.masked_fill_(is_first, self.step + 1)
            return
        self._recent_loss = value = loss.item()
        if not math.isfinite(value):
            self._diverged("the training loss", value, self.step + 1)

    def _diverged(self, what: str, value: float, step: int) -> None:
        lr = self.optimizer.param_groups[0]["lr"]
        raise DivergedError(f"{what} is {value} at step {step} (lr {lr:.3g}); the last checkpoint is kept; {_ADVICE}")

    def _report(self) -> None:
        if self.step % self.recipe.log_every_steps == 0 or self.step % self.steps_per_epoch == 0:
            self._raise_if_bad()
            means = self._meter.means()
            self._recent_loss = means["loss"]
            speed = self._clock.images_per_s()
            lr = self.optimizer.param_groups[0]["lr"]
            self.hooks.metric(self._row("train", self.step, means) | {"lr": lr, "images_per_s": speed})
            self._meter.reset()
        if self._clock.is_due():
            self._show_progress()

    def _row(self, split: str, step: int, numbers: dict[str, float]) -> dict[str, Any]:
        return {"step": step, "epoch": -(-step // self.steps_per_epoch), "split": split, **numbers}

    def _raise_if_bad(self) -> None:
        if self.device.type != "cpu" and int(self._bad_step) >= 0:
            self._diverged("the training loss", math.nan, int(self._bad_step))

    def _show_progress(self) -> None:
        self.hooks.progress(
            {
                "step": self.step,
                "total": self.total,
                "epoch": min(self.step // self.steps_per_epoch + 1, self.recipe.epochs),
                "epochs": self.recipe.epochs,
                "images_per_s": self._clock.images_per_s() or None,  # none yet when resumed at an epoch's end
                "eta_s": self._clock.eta(self.step, self.total),
                "loss": self._recent_loss,
                "top1": self.last.get("top1"),
            }
        )

    def _finish_epoch(self) -> bool:
        """Validate the epoch just trained and save if it is time; False when stopped on the way."""
        numbers = self._validate()
        if numbers is None:
            return False
        self.last, self._validated = numbers, self.epoch
        self.best_top1 = max(numbers["top1"], -math.inf if self.best_top1 is None else self.best_top1)
        self.hooks.metric(self._row("val", self.step, numbers))
        self.hooks.epoch_end(self)
        if self.epoch % self.recipe.checkpoint_every_epochs == 0 or self.step >= self.total:
            self._save()
        if self.step >= self.total or self._clock.is_due():
            self._show_progress()
        return True

    def _validate(self) -> dict[str, float] | None:
        options = {"device": self.device, "amp": self.recipe.amp, "should_stop": self.hooks.should_stop}
        size = (
            64 if self.device.type == "cpu" else max(256, self.recipe.batch_size)
        )  # a CPU's caches like small batches
        numbers = evaluate(self.model, self.data.val, batch_size=size, **options)
        if numbers is not None and not math.isfinite(numbers["loss"]):
            self._diverged("the validation loss", numbers["loss"], self.step)
        if numbers is None or self.ema is None:
            return numbers
        averaged = evaluate(self.ema.module, self.data.val, batch_size=size, **options)
        return None if averaged is None else numbers | {f"ema_{name}": value for name, value in averaged.items()}

    def _save(self) -> None:
        """Hand over to the checkpoint hook, unless that would replace a good checkpoint by a spoiled one."""
        self._raise_if_bad()
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                self._diverged(name, math.nan, self.step)
        self._rng = capture_rng()
        self.hooks.checkpoint(self)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is not in the networks' state dicts, as plain tensors, numbers, lists and dicts."""
        return {
            "schema_version": STATE_SCHEMA,
            "step": self.step,
            "steps_per_epoch": self.steps_per_epoch,
            "total": self.total,
            "seed": self.seed,
            "validated": self._validated,
            "last": dict(self.last),
            "best_top1": self.best_top1,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.state_dict(),
            "meter": self._meter.state_dict(),
            "rng": self._rng if isinstance(self._rng, dict) else {"seed": self._rng},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a saved state was; the networks' weights are loaded apart.

        Raises:
            CheckpointError: If the state is of another schema, or of a run with other data, seed or length.
        """
        if state.get("schema_version") != STATE_SCHEMA:
            raise CheckpointError(f"the state has schema_version={state.get('schema_version')!r}; want {STATE_SCHEMA}")
        for name in ("steps_per_epoch", "total", "seed"):
            if state.get(name) != getattr(self, name):
                raise CheckpointError(f"the state is of a run with {name}={state.get(name)}, not {getattr(self, name)}")
        try:
            load_optimizer(self.optimizer, state["optimizer"])
            self.precision.load_state_dict(state["scaler"])
            self._meter.load_state_dict(state["meter"])
            self.step, self._validated = int(state["step"]), int(state["validated"])
            self.last, self.best_top1 = dict(state["last"]), state["best_top1"]
            rng = state["rng"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"the state is incomplete or damaged: {error!r}") from error
        self._rng = rng.get("seed", rng)
